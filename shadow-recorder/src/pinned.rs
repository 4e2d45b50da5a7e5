//! The connection to the service that belongs to one client connection, so that the service sees the connections that it would see without the
//! recorder, and a client sees them end as the service ends them. Made at the first request, and anew where the service ended one
//! between two requests.

use std::error::Error;
use std::future::{poll_fn, ready};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http2_client;
use crate::proxy::Pair;
use crate::received::Received;
use crate::sent::Sent;
use crate::service_io::ServiceIo;
use crate::tls::Tls;

/// Where a connection goes.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) head_fields: HeadFields,
}

/// How many fields a head may have. hyper's own hundred lie on the stack; another number is allocated and filled for each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadFields {
    pub(crate) max: usize,
}

impl HeadFields {
    const HYPERS: usize = 100;

    /// Returns the number to give to hyper, where it is not its own.
    pub(crate) fn unusual(self) -> Option<usize> {
        (self.max != Self::HYPERS).then_some(self.max)
    }
}

/// The connections to services that one client connection drives, polled by its task.
#[derive(Default)]
pub(crate) struct Drivers {
    running: Mutex<Vec<BoxFuture<'static, ()>>>,
    /// Who polls them.
    waker: OnceLock<Waker>,
}

impl Drivers {
    fn add(&self, driver: BoxFuture<'static, ()>) {
        self.lock().push(driver);
        // Nothing else wakes one that was never polled; HTTP/2's are added by the tasks of their streams.
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Polls each; returns whether there are some and none is left.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> bool {
        self.waker.get_or_init(|| context.waker().clone());
        let mut drivers = self.lock();
        let before = drivers.len();
        drivers.retain_mut(|driver| driver.poll_unpin(context).is_pending());
        before > 0 && drivers.is_empty()
    }

    /// Polls each until none is left.
    pub(crate) async fn finish(&self) {
        let is_over = |context: &mut Context<'_>| {
            self.poll(context);
            self.lock().is_empty()
        };
        poll_fn(|context| if is_over(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The service cannot be reached.
    #[error("connect to {peer}")]
    Connect { peer: String, source: io::Error },
    /// It took the request and gave none, or a broken one.
    #[error("no answer")]
    Broken(#[source] hyper::Error),
    /// So it did over HTTP/2.
    #[error("no answer")]
    Http2(#[source] h2::Error),
}

impl NoAnswer {
    /// Returns the status by which a gateway reports the failure (RFC 9110, sections 15.5.1, 15.6.3 and 15.6.5); none where the client's
    /// connection must end without an answer, as the service's did.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                Some(StatusCode::GATEWAY_TIMEOUT)
            }
            Self::Connect { .. } => Some(StatusCode::BAD_GATEWAY),
            Self::Broken(error) if error.is_parse() => Some(StatusCode::BAD_GATEWAY),
            // The request's own body was malformed.
            Self::Broken(error) if error.is_user() => Some(StatusCode::BAD_REQUEST),
            Self::Broken(_) | Self::Http2(_) => None,
        }
    }

    /// Returns whether the service's connection was reset rather than closed.
    pub(crate) fn is_reset(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// An answer to come.
pub(crate) type Sending = BoxFuture<'static, Result<Response<Received>, NoAnswer>>;

/// The pinned connection.
pub(crate) struct Pinned<B> {
    peer: Peer,
    pair: Pair,
    http1: Mutex<Option<http1::SendRequest<Sent<B>>>>,
    // Several streams begin at once, and only one connects.
    http2: tokio::sync::Mutex<Option<h2::client::SendRequest<Bytes>>>,
}

impl<B> Pinned<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(peer: Peer, pair: Pair) -> Self {
        Self { peer, pair, http1: Mutex::default(), http2: tokio::sync::Mutex::default() }
    }

    /// Sends a request, in the version of the client's.
    // What happens for most requests is one small allocation: an `async fn` for all of it would be a state of some kilobytes, moved into its
    // box each time.
    pub(crate) fn send(self: &Arc<Self>, request: Request<Sent<B>>) -> Sending {
        let pinned = Arc::clone(self);
        if request.version() == Version::HTTP_2 {
            return async move { pinned.send_http2(request).await }.boxed();
        }
        match pinned.idle() {
            Some(mut sender) if sender.is_ready() => {
                let answer = sender.try_send_request(request);
                async move {
                    match answer.await {
                        Ok(response) => Ok(pinned.keep(sender, response)),
                        Err(failed) => pinned.send_again(failed).await,
                    }
                }
                .boxed()
            }
            Some(sender) => async move { pinned.send_when_ready(sender, request).await }.boxed(),
            None => async move { pinned.send_anew(request).await }.boxed(),
        }
    }

    async fn send_when_ready(
        self: Arc<Self>,
        mut sender: http1::SendRequest<Sent<B>>,
        request: Request<Sent<B>>,
    ) -> Result<Response<Received>, NoAnswer> {
        if sender.ready().await.is_err() {
            return self.send_anew(request).await;
        }
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.keep(sender, response)),
            Err(failed) => self.send_again(failed).await,
        }
    }

    /// Sends on a new connection what did not go out, because the service had closed the one before.
    fn send_again(self: Arc<Self>, mut failed: TrySendError<Request<Sent<B>>>) -> Sending {
        match failed.take_message() {
            Some(unsent) => async move { self.send_anew(unsent).await }.boxed(),
            None => ready(Err(NoAnswer::Broken(failed.into_error()))).boxed(),
        }
    }

    async fn send_anew(&self, request: Request<Sent<B>>) -> Result<Response<Received>, NoAnswer> {
        let mut sender = match self.connect(false).await? {
            Either::Left(plain) => self.begin_http1(plain).await?,
            Either::Right(tls) => self.begin_http1(tls).await?,
        };
        let response = sender.send_request(request).await.map_err(NoAnswer::Broken)?;
        Ok(self.keep(sender, response))
    }

    async fn begin_http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<http1::SendRequest<Sent<B>>, NoAnswer> {
        let mut builder = http1::Builder::new();
        if let Some(fields) = self.peer.head_fields.unusual() {
            builder.max_headers(fields);
        }
        let (sender, connection) = builder
            .preserve_header_case(true)
            .handshake(self.io(stream))
            .await
            .map_err(NoAnswer::Broken)?;
        self.pair.drivers.add(connection.with_upgrades().map(drop).boxed());
        Ok(sender)
    }

    async fn begin_http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<h2::client::SendRequest<Bytes>, NoAnswer> {
        let io = ServiceIo::new(stream, Arc::clone(&self.pair.link));
        let (sender, connection) = http2_client::begin(io).await.map_err(NoAnswer::Http2)?;
        self.pair.drivers.add(connection.map(drop).boxed());
        Ok(sender)
    }

    fn io<S>(&self, stream: S) -> TokioIo<ServiceIo<S>> {
        TokioIo::new(ServiceIo::new(stream, Arc::clone(&self.pair.link)))
    }

    /// Returns the connection of the request before, if it can take another.
    fn idle(&self) -> Option<http1::SendRequest<Sent<B>>> {
        let sender = self.http1.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // One that was half-closed for the request before takes no other.
        let link = &self.pair.link;
        let is_spent = link.client_ended.load(Relaxed) || link.request_broke_off.load(Relaxed);
        (!is_spent).then_some(sender)
    }

    fn keep(
        &self,
        sender: http1::SendRequest<Sent<B>>,
        response: Response<Incoming>,
    ) -> Response<Received> {
        *self.http1.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        response.map(Received::Http1)
    }

    async fn send_http2(&self, request: Request<Sent<B>>) -> Result<Response<Received>, NoAnswer> {
        let sender = self.http2_sender().await?;
        http2_client::send(sender, request).await.map_err(NoAnswer::Http2)
    }

    async fn http2_sender(&self) -> Result<h2::client::SendRequest<Bytes>, NoAnswer> {
        let mut kept = self.http2.lock().await;
        // Ready at once, or not at all where the service took leave.
        if let Some(sender) = &*kept
            && let Ok(sender) = sender.clone().ready().await
        {
            return Ok(sender);
        }
        let sender = match self.connect(true).await? {
            Either::Left(plain) => self.begin_http2(plain).await?,
            Either::Right(tls) => self.begin_http2(tls).await?,
        };
        *kept = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(
        &self,
        is_http2: bool,
    ) -> Result<Either<TcpStream, TlsStream<TcpStream>>, NoAnswer> {
        let Peer { host, port, tls, connect_timeout, .. } = &self.peer;
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Fails only on a connection that is gone already.
            let _ = stream.set_nodelay(true);
            io::Result::Ok(match tls {
                Some(tls) => Either::Right(tls.connect(stream, is_http2).await?),
                None => Either::Left(stream),
            })
        };
        tokio::time::timeout(*connect_timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| NoAnswer::Connect { peer: format!("{host}:{port}"), source })
    }
}
