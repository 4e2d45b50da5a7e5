//! The proxy: the stack of each direction, and the loop that accepts connections for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::capture::Capture;
use crate::config::recorder::{Recorder, Upstream};
use crate::connection::Connection;
use crate::forward::{Forward, Host};
use crate::front::Front;
use crate::hop_by_hop::HopByHop;
use crate::link::Link;
use crate::patience;
use crate::pinned::{Drivers, Peer, Pinned};
use crate::record::{Record, Side};

/// After a failed accept, as when the process is out of file descriptors: others must close some first.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Both directions are built alike.
pub(crate) type Stack = Record<HopByHop<Forward>>;

/// What the stacks of a listener's connections are made of.
#[derive(Clone)]
pub(crate) struct Route {
    side: Side,
    peer: Peer,
    host: Host,
    capture: Arc<Capture>,
    patience: patience::Limits,
}

impl Route {
    /// From clients to the service.
    pub(crate) fn to_service(capture: &Arc<Capture>, recorder: &Recorder) -> Self {
        Self {
            side: Side::Clients,
            peer: peer(&recorder.forward_to, recorder),
            host: Host::Kept,
            capture: Arc::clone(capture),
            patience: patience_of(recorder),
        }
    }

    /// From the service to an upstream.
    pub(crate) fn to_upstream(
        capture: &Arc<Capture>,
        recorder: &Recorder,
        upstream: &Upstream,
    ) -> Self {
        Self {
            side: Side::Upstream(upstream.name.as_str().into()),
            peer: peer(&upstream.forward_to, recorder),
            host: Host::Own(upstream.forward_to.authority.clone()),
            capture: Arc::clone(capture),
            patience: patience_of(recorder),
        }
    }

    /// Builds the stack of one connection. A request is refused where no recipient may accept it; copied as it was sent, named in its
    /// trace context or given to its exchange; rid of what belongs to its connection; and sent on. The answer takes the same way back.
    fn connection(&self, stream: TcpStream) -> Connection {
        let (link, drivers) = (Arc::<Link>::default(), Arc::<Drivers>::default());
        let pinned = Pinned::new(self.peer.clone(), Arc::clone(&link), Arc::clone(&drivers));
        let service = ServiceBuilder::new()
            .layer(layer_fn(|inner| Front {
                inner,
                link: Arc::clone(&link),
                metrics: self.capture.metrics.clone(),
            }))
            .layer(layer_fn(|inner| Record {
                inner,
                side: self.side.clone(),
                capture: Arc::clone(&self.capture),
            }))
            .layer(layer_fn(|inner| HopByHop { inner }))
            .service(Forward::new(pinned, Arc::clone(&link), self.host.clone()));
        Connection { stream, link, drivers, service, patience: self.patience }
    }
}

fn peer(origin: &crate::config::recorder::Origin, recorder: &Recorder) -> Peer {
    let (host, port) = origin.host_port();
    Peer { host, port, connect_timeout: recorder.connect_timeout }
}

fn patience_of(recorder: &Recorder) -> patience::Limits {
    patience::Limits { head_timeout: recorder.head_timeout, stall_timeout: recorder.stall_timeout }
}

/// How long connections live.
#[derive(Clone, Debug)]
pub(crate) struct Lifetime {
    /// No new connection, and open ones end after what they have begun.
    pub(crate) stop: CancellationToken,
    /// Open connections end at once.
    pub(crate) cut: CancellationToken,
    /// One task per connection, and one per listener.
    pub(crate) tasks: TaskTracker,
}

impl Lifetime {
    pub(crate) fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// Accepts connections until the stop, those included that wait in the listener's backlog then.
pub(crate) async fn serve(listener: TcpListener, route: Route, lifetime: Lifetime) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = lifetime.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => connect(stream, &route, &lifetime),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        connect(stream, &route, &lifetime);
    }
}

fn connect(stream: TcpStream, route: &Route, lifetime: &Lifetime) {
    let (connection, lifetime_of_it) = (route.connection(stream), lifetime.clone());
    // What goes wrong on a connection is its client's to see, and the exchange's record says how it ended.
    lifetime.tasks.spawn(async move { connection.run(&lifetime_of_it).await });
}
