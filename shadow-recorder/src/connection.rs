//! One client connection, and the connection to the service that belongs to it, driven by one task: no request changes tasks on its way,
//! and both connections end together.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tower::Service;

use crate::client_io::ClientIo;
use crate::forward::Answer;
use crate::front::Front;
use crate::http2_server::Server;
use crate::lifetime::{Lifetime, Member, News};
use crate::link::{End, Link, Tunnel};
use crate::patience::{self, Patience};
use crate::pinned::{Drivers, HeadFields, NoAnswer};
use crate::proxy::Pair;
use crate::received::Received;
use crate::relay::Relays;
use crate::tee::Tee;

/// How a client that knows that its server speaks HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that has come in part.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// How long a connection to the service may outlive the client's, where the service does not take what is left to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What answers the requests of a connection, behind its front.
pub(crate) trait Inner:
    Service<Request<Received>, Response = Response<Tee<Answer>>, Error = NoAnswer, Future: Send>
    + Send
    + 'static
{
}

impl<S> Inner for S where
    S: Service<Request<Received>, Response = Response<Tee<Answer>>, Error = NoAnswer, Future: Send>
        + Send
        + 'static
{
}

/// A client's connection before its first request.
pub(crate) struct Connection<S> {
    pub(crate) stream: TcpStream,
    pub(crate) pair: Pair,
    pub(crate) service: Front<S>,
    pub(crate) patience: patience::Limits,
    pub(crate) head_fields: HeadFields,
    pub(crate) requests_refused: Counter,
}

impl<S: Inner> Connection<S> {
    /// Serves until both sides are done, or the lifetime ends.
    pub(crate) async fn run(self, lifetime: &Lifetime) {
        // Fails only on a connection that is gone already.
        let _ = self.stream.set_nodelay(true);
        let preface = tokio::time::timeout(self.patience.head_timeout, is_http2(&self.stream));
        let is_http2 = tokio::select! {
            said = preface => said,
            // Of a connection without a request nothing is lost.
            () = lifetime.ending() => return,
        };
        match is_http2 {
            Ok(Ok(true)) => self.serve_http2(lifetime).await,
            Ok(Ok(false)) => self.serve_http1(lifetime).await,
            // It said nothing in time, or left.
            _ => {}
        }
    }

    async fn serve_http1(self, lifetime: &Lifetime) {
        let Self {
            stream,
            pair: Pair { link, drivers },
            service,
            patience,
            head_fields,
            requests_refused,
        } = self;
        let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&link)));
        let server = http1_server(head_fields)
            .serve_connection(io, Served(Mutex::new(service)))
            .with_upgrades();
        let mut server = pin!(server);
        let mut watch = Watch::new(patience, false);
        let (mut relays, mut has_ended) = (Relays::new(), false);
        poll_fn(|context| {
            relays.run(context);
            loop {
                let outlook = watch.look(lifetime, &link, context);
                if outlook == Outlook::Over {
                    return Poll::Ready(());
                }
                let idle_end =
                    relays.service().is_some_and(|mut context| drivers.poll(&mut context))
                        && !link.is_busy();
                if link.has_interim() {
                    relays.wake_client();
                }
                if let Some(mut context) = relays.client()
                    && let Poll::Ready(outcome) = server.as_mut().poll(&mut context)
                {
                    if let Err(error) = outcome {
                        link.reset.fetch_or(is_reset(&error), Relaxed);
                        requests_refused.inc_by(error.is_parse().into());
                    }
                    return Poll::Ready(());
                }
                if link.client_gone.load(Relaxed) {
                    return Poll::Ready(());
                }
                let ends = !has_ended && link.client_ended.load(Relaxed);
                has_ended |= ends;
                if ends {
                    relays.wake_service();
                }
                // A connection that the service ended between two requests ends for the client as well, unless the next is here.
                if outlook == Outlook::Ends || idle_end && !link.is_busy() {
                    server.as_mut().graceful_shutdown();
                    relays.wake_client();
                }
                if relays.rest(context) {
                    return Poll::Pending;
                }
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
        let Self { stream, pair: Pair { link, drivers }, service, patience, .. } = self;
        let mut server = Server::new(ClientIo::new(stream, Arc::clone(&link)), service);
        let mut watch = Watch::new(patience, true);
        let end = poll_fn(|context| {
            let mut service_ended = drivers.poll(context);
            loop {
                if server.poll(context).is_ready() {
                    return Poll::Ready(Outlook::Ends);
                }
                let ends = std::mem::take(&mut service_ended);
                match watch.look(lifetime, &link, context) {
                    Outlook::Over => return Poll::Ready(Outlook::Over),
                    outlook if ends || outlook == Outlook::Ends => server.end(),
                    _ => return Poll::Pending,
                }
            }
        });
        if end.await == Outlook::Over {
            return;
        }
        // Why the client left its streams is for the service to hear before its connection ends.
        let streams = server.close();
        let last_words = async { tokio::join!(streams.wait(), drivers.finish()) };
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS, last_words) => {}
            () = lifetime.cut.cancelled() => {}
        }
    }
}

fn http1_server(head_fields: HeadFields) -> http1::Builder {
    let mut builder = http1::Builder::new();
    if let Some(fields) = head_fields.unusual() {
        builder.max_headers(fields);
    }
    builder
        // A client that has sent its request may close its half and still await the answer.
        .half_close(true)
        .preserve_header_case(true)
        // `patience` in its place.
        .header_read_timeout(None)
        .auto_date_header(false);
    builder
}

/// The service as hyper asks it. It is always ready, and so need not be cloned for each request as hyper-util's adapter does.
struct Served<S>(Mutex<Front<S>>);

impl<S: Inner> hyper::service::Service<Request<Incoming>> for Served<S> {
    type Response = <Front<S> as Service<Request<Received>>>::Response;
    type Error = NoAnswer;
    type Future = <Front<S> as Service<Request<Received>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(Received::Http1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).call(request)
    }
}

/// What a connection is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// Go on.
    Open,
    /// End after what it has begun.
    Ends,
    /// End at once.
    Over,
}

/// Hears of the lifetime and looks after the client's patience.
struct Watch {
    patience: Patience,
    is_http2: bool,
    member: Option<Member>,
    /// The requests that had begun when nothing was in progress, after the signal to stop.
    quiet_at: Option<u64>,
}

impl Watch {
    fn new(limits: patience::Limits, is_http2: bool) -> Self {
        let patience = Patience::new(limits, is_http2, Instant::now());
        Self { patience, is_http2, member: None, quiet_at: None }
    }

    fn look(&mut self, lifetime: &Lifetime, link: &Link, context: &Context<'_>) -> Outlook {
        let member = self.member.get_or_insert_with(|| lifetime.join(context));
        match member.news() {
            // HTTP/2 has a way to say that no more is wanted (RFC 9113, section 6.8).
            Some(News::Stop) if self.is_http2 => Outlook::Ends,
            Some(News::Stop) => {
                link.is_closing.store(true, Relaxed);
                let quiet_at = (!link.is_busy()).then(|| link.begun());
                let was_quiet = std::mem::replace(&mut self.quiet_at, quiet_at);
                let is_over = quiet_at.is_some() && was_quiet == quiet_at;
                if is_over { Outlook::Ends } else { Outlook::Open }
            }
            Some(News::Cut) => Outlook::Over,
            Some(News::Beat) if self.patience.is_expired(link, Instant::now()) => Outlook::Over,
            Some(News::Beat) | None => Outlook::Open,
        }
    }
}

/// Carries bytes both ways until both ends are done. How it ends is for both to see.
async fn pass(tunnel: Tunnel, drivers: &Drivers) {
    let Ok(client) = tunnel.client.await else { return };
    let mut client = TokioIo::new(client);
    match tunnel.service {
        End::Connected(mut stream) => {
            let _ = copy_bidirectional(&mut client, &mut stream).await;
        }
        End::Upgraded(service) => {
            let mut service = pin!(service);
            // hyper hands the connection over when it is polled.
            let service = poll_fn(|context| {
                drivers.poll(context);
                service.as_mut().poll(context)
            });
            let Ok(service) = service.await else { return };
            let _ = copy_bidirectional(&mut client, &mut TokioIo::new(service)).await;
        }
    }
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
