//! The traffic of both directions: how it begins, and how it comes to its end.

use std::io;
use std::iter::zip;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::background::SWEEP;
use crate::capture::Capture;
use crate::config::egress::Unknown;
use crate::config::recorder::Recorder;
use crate::config::sidecar::Config;
use crate::egress::Routes;
use crate::lifetime::Lifetime;
use crate::listeners::{Door, Way};
use crate::patience;
use crate::pinned::HeadFields;
use crate::proxy::{self, Entry, Route, Terms};
use crate::tls::Tls;

/// What is cut off gets this long to say so.
const CUT_WAIT: Duration = Duration::from_secs(2);

/// The connections of both directions.
pub(crate) struct Traffic {
    inbound: Lifetime,
    egress: Lifetime,
}

impl Traffic {
    /// Begins to accept.
    pub(crate) fn begin(
        capture: &Arc<Capture>,
        config: &Config,
        tls: Vec<Option<Tls>>,
        listeners: (Door, Vec<Door>),
        own: &[SocketAddr],
    ) -> io::Result<Self> {
        let terms = terms(capture, config);
        let beat = terms.patience.beat();
        let (inbound, egress) = (Lifetime::begin(beat), Lifetime::begin(beat));
        let routes: Vec<Route> = zip(&config.upstreams, tls)
            .map(|(upstream, tls)| Route::to_upstream(capture, &config.recorder, upstream, tls))
            .collect();
        let to_any =
            |unknown| Entry::Many(Arc::new(shared_routes(config, &routes, unknown, own, &terms)));
        let (clients, others) = listeners;
        for door in std::iter::once(clients).chain(others) {
            let entry = match door.way {
                Way::Clients => Entry::One(Route::to_service(capture, &config.recorder)),
                Way::Upstream(place) => Entry::One(routes[place].clone()),
                Way::ByHost => to_any(None),
                Way::Proxy => to_any(Some(config.egress.unknown)),
                Way::Admin => continue,
            };
            let lifetime = if door.way == Way::Clients { &inbound } else { &egress };
            let (name, door) = (door.name.clone(), door.open()?);
            let serve = proxy::serve(door, entry, terms.clone(), lifetime.clone());
            lifetime.tasks.spawn(Arc::clone(&capture.health).watch(name, serve));
        }
        Ok(Self { inbound, egress })
    }

    /// Lets what has begun come to its end, for as long as the grace lasts; returns how many exchanges were cut off after it.
    pub(crate) async fn drain(
        &self,
        capture: &Arc<Capture>,
        config: &Config,
        is_handed_over: bool,
        now: &CancellationToken,
    ) -> u64 {
        let Self { inbound, egress } = self;
        let until = Instant::now() + config.recorder.grace;
        inbound.end();
        inbound.tasks.close();
        let stop_egress = || {
            egress.end();
            egress.tasks.close();
        };
        if is_handed_over {
            // A call that arrived here for an exchange of the next recorder would find no exchange.
            stop_egress();
        }
        let finished = async {
            inbound.tasks.wait().await;
            // The service may still post what it owes for the last answers.
            all_closed(capture).await;
        };
        let in_time = tokio::select! {
            () = finished => true,
            () = sleep_until(until) => false,
            () = now.cancelled() => false,
        };
        stop_egress();
        let mut cut_off = 0;
        if !in_time {
            cut_off = capture.in_progress_count() as u64;
            tracing::warn!(exchanges = cut_off, "what is in progress is cut off");
            capture.cut();
            inbound.cut.cancel();
            egress.cut.cancel();
        }
        tokio::select! {
            () = egress.tasks.wait() => {}
            () = sleep_until(until.max(Instant::now() + CUT_WAIT)) => {}
            () = now.cancelled() => {}
        }
        capture.cut();
        egress.cut.cancel();
        let _ = timeout(CUT_WAIT, all_closed(capture)).await;
        capture.give_up_all();
        cut_off
    }
}

fn terms(capture: &Capture, config: &Config) -> Terms {
    let Recorder { head_timeout, stall_timeout, head_fields_max, connections_max, .. } =
        config.recorder;
    Terms {
        metrics: capture.metrics.clone(),
        patience: patience::Limits { head_timeout, stall_timeout },
        head_fields: HeadFields { max: head_fields_max },
        connections_max,
    }
}

fn shared_routes(
    config: &Config,
    routes: &[Route],
    unknown: Option<Unknown>,
    own: &[SocketAddr],
    terms: &Terms,
) -> Routes {
    let by_host = zip(&config.upstreams, routes).flat_map(|(upstream, route)| {
        upstream.hosts.iter().map(|host| (host.clone(), route.clone()))
    });
    Routes {
        by_host: by_host.collect(),
        unknown,
        connect_timeout: config.recorder.connect_timeout,
        head_fields: terms.head_fields,
        own: own.to_vec(),
        metrics: terms.metrics.clone(),
        named: Mutex::default(),
    }
}

async fn all_closed(capture: &Capture) {
    while capture.open_count() > 0 {
        tokio::time::sleep(SWEEP).await;
    }
}
