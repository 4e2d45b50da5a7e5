//! The traffic of both directions: how it begins, and how it comes to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::background::SWEEP;
use crate::capture::Capture;
use crate::config::sidecar::Config;
use crate::listeners::Door;
use crate::proxy::{self, Lifetime};

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
        clients: Door,
        upstreams: Vec<Door>,
    ) -> io::Result<Self> {
        let (inbound, egress) = (Lifetime::new(), Lifetime::new());
        let head_timeout = config.recorder.head_timeout;
        let watch = |name: String, task| Arc::clone(&capture.health).watch(name, task);
        let stack = proxy::clients_stack(capture, &config.recorder);
        let (name, door) = (clients.name.clone(), clients.open()?);
        let serve = proxy::serve(door, stack, head_timeout, inbound.clone());
        inbound.tasks.spawn(watch(name, serve));
        for (upstream, door) in config.upstreams.iter().zip(upstreams) {
            let stack = proxy::upstream_stack(capture, &config.recorder, upstream);
            let (name, door) = (door.name.clone(), door.open()?);
            let serve = proxy::serve(door, stack, head_timeout, egress.clone());
            egress.tasks.spawn(watch(name, serve));
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
        inbound.stop.cancel();
        inbound.tasks.close();
        let stop_egress = || {
            egress.stop.cancel();
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
        capture.give_up();
        cut_off
    }
}

async fn all_closed(capture: &Capture) {
    while capture.open_count() > 0 {
        tokio::time::sleep(SWEEP).await;
    }
}
