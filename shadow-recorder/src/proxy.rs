//! The proxy: the stack of each direction, and the loop that accepts connections for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::account::Reason;
use crate::capture::Capture;
use crate::config::recorder::Recorder;
use crate::config::upstream::Upstream;
use crate::connection::{Connection, Inner};
use crate::egress::{Egress, Routes};
use crate::forward::{Forward, Host};
use crate::front::Front;
use crate::hop_by_hop::HopByHop;
use crate::lifetime::Lifetime;
use crate::link::Link;
use crate::listeners::OpenDoor;
use crate::metrics::Metrics;
use crate::patience;
use crate::pinned::{Drivers, HeadFields, Peer, Pinned};
use crate::record::{Record, Side};
use crate::tls::Tls;

/// After a failed accept, as when the process is out of file descriptors: others must close some first.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Both directions are built alike.
pub(crate) type Stack = Record<HopByHop<Forward>>;

/// A client's connection and those to services that belong to it.
#[derive(Clone, Default)]
pub(crate) struct Pair {
    pub(crate) link: Arc<Link>,
    pub(crate) drivers: Arc<Drivers>,
}

/// From one side of the service to one peer.
#[derive(Clone)]
pub(crate) struct Route {
    side: Side,
    peer: Peer,
    host: Host,
    capture: Arc<Capture>,
}

impl Route {
    /// From clients to the service.
    pub(crate) fn to_service(capture: &Arc<Capture>, recorder: &Recorder) -> Self {
        let (host, port) = recorder.forward_to.host_port();
        let connect_timeout = recorder.connect_timeout;
        let head_fields = HeadFields { max: recorder.head_fields_max };
        Self {
            side: Side::Clients,
            peer: Peer { host, port, tls: None, connect_timeout, head_fields },
            host: Host::Kept,
            capture: Arc::clone(capture),
        }
    }

    /// From the service to an upstream.
    pub(crate) fn to_upstream(
        capture: &Arc<Capture>,
        recorder: &Recorder,
        upstream: &Upstream,
        tls: Option<Tls>,
    ) -> Self {
        let (host, port) = upstream.forward_to.host_port();
        let connect_timeout = recorder.connect_timeout;
        let head_fields = HeadFields { max: recorder.head_fields_max };
        Self {
            side: Side::Upstream(upstream.name.as_str().into()),
            peer: Peer { host, port, tls, connect_timeout, head_fields },
            host: Host::Own(upstream.forward_to.authority.clone()),
            capture: Arc::clone(capture),
        }
    }

    /// Builds the stack of one connection. A request is copied as it was sent, named in its trace context or given to its exchange; rid of what
    /// belongs to its connection; and sent on. The answer takes the same way back.
    pub(crate) fn stack(&self, pair: &Pair, unrecorded: Option<Reason>) -> Stack {
        let pinned = Pinned::new(self.peer.clone(), pair.clone());
        ServiceBuilder::new()
            .layer(layer_fn(|inner| Record {
                inner,
                side: self.side.clone(),
                capture: Arc::clone(&self.capture),
                unrecorded,
            }))
            .layer(layer_fn(|inner| HopByHop { inner }))
            .service(Forward::new(pinned, Arc::clone(&pair.link), self.host.clone()))
    }
}

/// What a listener does with a connection.
#[derive(Clone)]
pub(crate) enum Entry {
    /// All its requests go one way.
    One(Route),
    /// Each says where it goes.
    Many(Arc<Routes>),
}

/// What the connections of all listeners have in common.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) metrics: Metrics,
    pub(crate) patience: patience::Limits,
    pub(crate) head_fields: HeadFields,
    /// Connections beyond pass unrecorded.
    pub(crate) connections_max: usize,
}

/// Accepts connections until the stop, those included that wait in the listener's backlog then.
pub(crate) async fn serve(door: OpenDoor, entry: Entry, terms: Terms, lifetime: Lifetime) {
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = lifetime.stop.cancelled() => break,
        };
        match accepted {
            Ok(stream) => connect(stream, &entry, &terms, &lifetime),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    door.close(|stream| connect(stream, &entry, &terms, &lifetime)).await;
}

/// Begins a connection. What goes wrong on it is its client's to see, and the exchange's record says how it ended.
fn connect(stream: TcpStream, entry: &Entry, terms: &Terms, lifetime: &Lifetime) {
    let pair = Pair::default();
    let is_over = lifetime.tasks.len() > terms.connections_max;
    let unrecorded = is_over.then_some(Reason::ConnectionsMax);
    match entry {
        Entry::One(route) => {
            let stack = route.stack(&pair, unrecorded);
            terms.begin(stream, pair, stack, false, lifetime);
        }
        Entry::Many(routes) => {
            let egress = Egress::new(Arc::clone(routes), pair.clone(), unrecorded);
            let tunnels = routes.unknown.is_some();
            terms.begin(stream, pair, egress, tunnels, lifetime);
        }
    }
}

impl Terms {
    fn begin(
        &self,
        stream: TcpStream,
        pair: Pair,
        inner: impl Inner,
        tunnels: bool,
        lifetime: &Lifetime,
    ) {
        let link = Arc::clone(&pair.link);
        let requests_refused = self.metrics.requests_refused.clone();
        let service = Front { inner, tunnels, link, requests_refused: requests_refused.clone() };
        let connection = Connection {
            stream,
            pair,
            service,
            patience: self.patience,
            head_fields: self.head_fields,
            requests_refused,
        };
        let lifetime_of_it = lifetime.clone();
        lifetime.tasks.spawn(async move { connection.run(&lifetime_of_it).await });
    }
}
