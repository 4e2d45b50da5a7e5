//! A client's connection with a deadline for each request's head, and a far longer one for the time between requests.
//!
//! hyper's own `header_read_timeout` runs while a connection is idle, too. A load balancer that keeps connections for a minute would
//! then send requests into connections that were just closed, and show its clients errors.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

/// Connections may be idle for this long: more than the 600 s of the load balancers with the longest memory.
const IDLE_MAX: Duration = Duration::from_secs(620);

/// Counts the requests of a connection.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
    closing: AtomicBool,
}

impl Requests {
    /// Answers from now on are the last of their connection, and say so.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Returns whether one is in progress.
    pub(crate) fn is_busy(&self) -> bool {
        self.begun.load(Ordering::Acquire) != self.ended.load(Ordering::Acquire)
    }
}

/// Joins a connection with the service that answers on it.
pub(crate) fn with_deadline<C, S>(
    connection: C,
    service: S,
    head_timeout: Duration,
) -> (HeadDeadline<C>, Counted<S>) {
    let requests = Arc::new(Requests::default());
    let counted = Counted { inner: service, requests: Arc::clone(&requests) };
    let deadline = Box::pin(sleep(head_timeout));
    (HeadDeadline { connection, requests, deadline, head_timeout, in_head: true, seen: 0 }, counted)
}

/// A connection that fails when its client is late.
#[derive(Debug)]
pub(crate) struct HeadDeadline<C> {
    connection: C,
    pub(crate) requests: Arc<Requests>,
    deadline: Pin<Box<Sleep>>,
    head_timeout: Duration,
    /// Whether a head is awaited; a new connection owes its first at once.
    in_head: bool,
    /// The requests whose heads were read.
    seen: u64,
}

impl<C: AsyncRead + Unpin> AsyncRead for HeadDeadline<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        let begun = self.requests.begun.load(Ordering::Acquire);
        if begun != self.requests.ended.load(Ordering::Acquire) {
            // The bytes are a body's.
            return read;
        }
        if begun != self.seen {
            self.seen = begun;
            self.in_head = false;
            self.deadline.as_mut().reset(Instant::now() + IDLE_MAX);
        }
        if buffer.filled().len() > before && !self.in_head {
            self.in_head = true;
            let until = Instant::now() + self.head_timeout;
            self.deadline.as_mut().reset(until);
        }
        if read.is_ready() {
            return read;
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for HeadDeadline<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

/// The outmost layer: counts a connection's requests from their head to the end of their answer.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        self.requests.begun.fetch_add(1, Ordering::AcqRel);
        let ends = Ends(Arc::clone(&self.requests));
        let answer = self.inner.call(request);
        async move {
            let mut response = answer.await?;
            if ends.0.closing.load(Ordering::Acquire) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|inner| CountedBody { inner, _ends: ends }))
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Ends(Arc<Requests>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// An answer's body, with whose end the request ends.
#[derive(Debug)]
pub(crate) struct CountedBody<B> {
    inner: B,
    _ends: Ends,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
