//! The proxy: the stack of each direction, and the loop that accepts connections for it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::capture::Capture;
use crate::config::recorder::{Recorder, Upstream};
use crate::forward::{Forward, HEADER_FIELDS_MAX, Host};
use crate::head_deadline::with_deadline;
use crate::hop_by_hop::HopByHop;
use crate::listeners::OpenDoor;
use crate::record::{Record, Side};

/// After a failed accept, as when the process is out of file descriptors: others must close some first.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections stay open this long after the signal to stop, for requests that are already on their way.
const QUIET: Duration = Duration::from_millis(250);
/// An idle connection to the service is used again for this long. Services close theirs after 2 s and more, and a request sent
/// just then would fail. A new connection within the pod costs 100 µs.
const SERVICE_IDLE_MAX: Duration = Duration::from_secs(1);
/// The same for upstreams, to which connections cost more: most servers keep them for 5 s and more.
const UPSTREAM_IDLE_MAX: Duration = Duration::from_secs(4);

/// Both directions are built alike.
pub(crate) type Stack = Record<HopByHop<Forward>>;

/// Builds the stack of the clients' listener: a request is copied as the client sent it and named in its trace context, rid of
/// what belongs to its connection, and sent to the service; the answer takes the same way back.
pub(crate) fn clients_stack(capture: &Arc<Capture>, recorder: &Recorder) -> Stack {
    let service = recorder.forward_to.authority.clone();
    ServiceBuilder::new()
        .layer(layer_fn(|inner| Record {
            inner,
            side: Side::Clients,
            capture: Arc::clone(capture),
        }))
        .layer(layer_fn(|inner| HopByHop { inner }))
        .service(Forward::new(service, Host::Kept, recorder.connect_timeout, SERVICE_IDLE_MAX))
}

/// Builds the stack of an egress listener: a call is copied as the service sent it and given to its exchange, rid of what belongs to
/// its connection, and sent to the upstream under the upstream's name; the answer takes the same way back.
pub(crate) fn upstream_stack(
    capture: &Arc<Capture>,
    recorder: &Recorder,
    upstream: &Upstream,
) -> Stack {
    let to = upstream.forward_to.authority.clone();
    ServiceBuilder::new()
        .layer(layer_fn(|inner| Record {
            inner,
            side: Side::Upstream(upstream.name.as_str().into()),
            capture: Arc::clone(capture),
        }))
        .layer(layer_fn(|inner| HopByHop { inner }))
        .service(Forward::new(to, Host::Own, recorder.connect_timeout, UPSTREAM_IDLE_MAX))
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
pub(crate) async fn serve(
    door: OpenDoor,
    stack: Stack,
    head_timeout: Duration,
    lifetime: Lifetime,
) {
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = lifetime.stop.cancelled() => break,
        };
        match accepted {
            Ok(stream) => connect(stream, stack.clone(), head_timeout, &lifetime),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    door.close(|stream| connect(stream, stack.clone(), head_timeout, &lifetime)).await;
}

fn connect(stream: TcpStream, stack: Stack, head_timeout: Duration, lifetime: &Lifetime) {
    let Lifetime { stop, cut, tasks } = lifetime.clone();
    tasks.spawn(async move {
        // Fails only on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let (stream, service) = with_deadline(stream, stack, head_timeout);
        let requests = Arc::clone(&stream.requests);
        let connection = http1::Builder::new()
            // A client that has sent its request may close its half and still await the answer.
            .half_close(true)
            .preserve_header_case(true)
            .max_headers(HEADER_FIELDS_MAX)
            // Instead of hyper's own timeout, which ends idle connections as well.
            .header_read_timeout(None)
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        let mut stopped = pin!(stop.cancelled());
        let (mut quiet, mut is_quiet) = (pin!(tokio::time::sleep(Duration::ZERO)), false);
        let quiet = poll_fn(|context| {
            // A client learns of the stop by `connection: close` on its next answer, and one that asks nothing for a while is closed.
            // Closing as soon as an answer has ended would meet the next request of a client that was not told.
            let is_stopped = stopped.as_mut().poll(context).is_ready();
            if is_stopped {
                requests.close();
            }
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            let was_quiet = std::mem::replace(&mut is_quiet, is_stopped && !requests.is_busy());
            if !is_quiet {
                return Poll::Pending;
            }
            if !was_quiet {
                quiet.as_mut().reset(tokio::time::Instant::now() + QUIET);
            }
            quiet.as_mut().poll(context).map(|()| true)
        });
        // What goes wrong on a connection is its client's to see, and the exchange's record says how it ended.
        tokio::select! {
            is_quiet = quiet => if !is_quiet { return },
            () = cut.cancelled() => return,
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = cut.cancelled() => {}
        }
    });
}
