//! One client connection, and the connection to the service that belongs to it, driven by one task: no request changes tasks on its way,
//! and both connections end together.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::client_io::ClientIo;
use crate::forward::HEADER_FIELDS_MAX;
use crate::front::Front;
use crate::link::{Link, Tunnel};
use crate::patience::{self, Patience};
use crate::pinned::{Drivers, NoAnswer};
use crate::proxy::{Lifetime, Stack};

/// How a client that knows that its server speaks HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that has come in part.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Connections stay open this long after the signal to stop, for requests that are already on their way.
const QUIET: Duration = Duration::from_millis(250);
/// Streams of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 256;
/// The fields of one HTTP/2 request: 64 KiB, as HTTP/1 heads have in practice.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// The stack of one client connection.
pub(crate) type Service = Front<Stack>;

/// A client's connection before its first request.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) link: Arc<Link>,
    pub(crate) drivers: Arc<Drivers>,
    pub(crate) service: Service,
    pub(crate) patience: patience::Limits,
}

impl Connection {
    /// Serves until both sides are done, or the lifetime ends.
    pub(crate) async fn run(self, lifetime: &Lifetime) {
        // Fails only on a connection that is gone already.
        let _ = self.stream.set_nodelay(true);
        let preface = tokio::time::timeout(self.patience.head_timeout, is_http2(&self.stream));
        let is_http2 = tokio::select! {
            said = preface => said,
            () = lifetime.stop_after(QUIET) => return,
            () = lifetime.cut.cancelled() => return,
        };
        match is_http2 {
            Ok(Ok(true)) => self.serve_http2(lifetime).await,
            Ok(Ok(false)) => self.serve_http1(lifetime).await,
            // It said nothing in time, or left.
            _ => {}
        }
    }

    async fn serve_http1(self, lifetime: &Lifetime) {
        let Self { stream, link, drivers, service, patience } = self;
        let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&link)));
        let server = http1::Builder::new()
            // A client that has sent its request may close its half and still await the answer.
            .half_close(true)
            .preserve_header_case(true)
            .max_headers(HEADER_FIELDS_MAX)
            // `patience` in its place.
            .header_read_timeout(None)
            .auto_date_header(false)
            .serve_connection(io, TowerToHyperService::new(service))
            .with_upgrades();
        let mut server = pin!(server);
        let mut patience = Patience::new(patience, false);
        let (mut stopping, mut cut) =
            (pin!(lifetime.stop_after(QUIET).fuse()), pin!(lifetime.cut.cancelled()));
        let mut stopped = false;
        poll_fn(|context| {
            loop {
                match server.as_mut().poll(context) {
                    Poll::Ready(outcome) => {
                        let reset = outcome.is_err_and(|error| is_reset(&error));
                        link.reset.fetch_or(reset, Relaxed);
                        return Poll::Ready(());
                    }
                    Poll::Pending => {}
                }
                if link.client_gone.load(Relaxed) {
                    return Poll::Ready(());
                }
                let service_ended = drivers.poll(context);
                if link.has_interim() {
                    continue;
                }
                let stop = !stopped && stopping.as_mut().poll(context).is_ready();
                if stop || service_ended && !stopped && !link.is_busy() {
                    stopped = true;
                    server.as_mut().graceful_shutdown();
                    continue;
                }
                let is_over = patience.poll_expired(&link, context).is_ready()
                    || cut.as_mut().poll(context).is_ready();
                return if is_over { Poll::Ready(()) } else { Poll::Pending };
            }
        })
        .await;
        if let Some(tunnel) = link.take_tunnel() {
            tokio::select! {
                () = pass(tunnel, &drivers) => {}
                () = lifetime.cut.cancelled() => {}
            }
        }
    }

    async fn serve_http2(self, lifetime: &Lifetime) {
        let Self { stream, link, drivers, service, patience } = self;
        let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&link)));
        let server = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .serve_connection(io, TowerToHyperService::new(service));
        let mut server = pin!(server);
        let mut patience = Patience::new(patience, true);
        let (mut stopping, mut cut) =
            (pin!(lifetime.stop_after(QUIET).fuse()), pin!(lifetime.cut.cancelled()));
        let mut stopped = false;
        poll_fn(|context| {
            loop {
                if server.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let service_ended = drivers.poll(context);
                let stop = !stopped && stopping.as_mut().poll(context).is_ready();
                if (stop || service_ended) && !stopped {
                    stopped = true;
                    server.as_mut().graceful_shutdown();
                    continue;
                }
                let is_over = patience.poll_expired(&link, context).is_ready()
                    || cut.as_mut().poll(context).is_ready();
                return if is_over { Poll::Ready(()) } else { Poll::Pending };
            }
        })
        .await;
    }
}

/// Carries bytes both ways until both ends are done.
async fn pass(tunnel: Tunnel, drivers: &Drivers) {
    let mut service = pin!(tunnel.service);
    // hyper hands the connection over when it is polled.
    let service = poll_fn(|context| {
        drivers.poll(context);
        service.as_mut().poll(context)
    });
    let (Ok(client), Ok(service)) = (tunnel.client.await, service.await) else { return };
    // How it ends is for both ends to see.
    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(service)).await;
}

/// Returns whether the client begins as HTTP/2 does. Takes nothing from the connection.
async fn is_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut start).await?;
        if seen == PREFACE.len() || !PREFACE.starts_with(&start[..seen]) || seen == 0 {
            return Ok(start[..seen] == *PREFACE);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<NoAnswer>().is_some_and(NoAnswer::is_reset) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Lifetime {
    /// Is ready `pause` after the signal to stop.
    async fn stop_after(&self, pause: Duration) {
        let stop: &CancellationToken = &self.stop;
        stop.cancelled().await;
        tokio::time::sleep(pause).await;
    }
}
