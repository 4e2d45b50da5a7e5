//! A tower layer: copies what passes. On the clients' side it opens an exchange and names it in the trace context; on the
//! side of the upstreams it finds the exchange that a call belongs to.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::capture::{Capture, Ticket};
use crate::clock;
use crate::forward::Unanswered;
use crate::observation::{Observation, RequestHead};
use crate::tee::Tee;
use crate::trace_context;

/// On which side of the service the layer stands.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    /// Requests are exchanges.
    Clients,
    /// Requests are calls to the upstream of this name.
    Upstream(Arc<str>),
}

/// Copies requests and answers.
#[derive(Clone, Debug)]
pub(crate) struct Record<S> {
    pub(crate) inner: S,
    pub(crate) side: Side,
    pub(crate) capture: Arc<Capture>,
}

impl<S, A, B> Service<Request<A>> for Record<S>
where
    S: Service<Request<Tee<A>>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Tee<B>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let Some(observation) = self.observe(&mut request) else {
            let answer = self.inner.call(request.map(Tee::uncopied));
            return async move { Ok(answer.await?.map(Tee::uncopied)) }.boxed();
        };
        let capture = Arc::clone(&self.capture);
        let observer = Arc::clone(&observation);
        let request = request
            .map(|body| capture.tee(body, Box::new(move |copied| observer.request_ended(copied))));
        let answer = self.inner.call(request);
        let pending = Pending { observation: Some(observation) };
        async move {
            let response = answer.await?;
            let observation = pending.answered();
            if response.extensions().get::<Unanswered>().is_some() {
                capture.metrics.unanswered.inc();
                observation.not_answered();
                return Ok(response.map(Tee::uncopied));
            }
            observation.answer_begun(&response);
            Ok(response.map(|body| {
                capture.tee(body, Box::new(move |copied| observation.answer_ended(copied)))
            }))
        }
        .boxed()
    }
}

impl<S> Record<S> {
    /// Begins an observation; none where the exchange is not recorded. Never panics and never fails the request.
    fn observe<A>(&self, request: &mut Request<A>) -> Option<Arc<Observation>> {
        let capture = &self.capture;
        let ticket = match &self.side {
            Side::Clients => {
                if let Some(reason) = capture.switch.bypass() {
                    capture.account.observe();
                    let _ = caught(|| capture.pass(reason, request.headers()));
                    return None;
                }
                let id = clock::exchange_id();
                capture.account.observe();
                // Copied before the trace context is added: what the client sent.
                let head = caught(|| RequestHead::of(request));
                // The exchange is named even where it is not recorded, so that its calls are never taken for another's.
                let headers = request.headers_mut();
                let trace = caught(|| trace_context::join(headers, &id, clock::fresh_trace));
                let opened = head
                    .zip(trace)
                    .and_then(|(head, trace)| caught(|| capture.open(&id, trace, head)));
                return opened.unwrap_or_else(|| {
                    capture.lost(&Ticket::Exchange(id));
                    None
                });
            }
            Side::Upstream(name) => {
                caught(|| capture.attribute(name, &trace_context::read(request.headers())))
            }
        };
        let Some(ticket) = ticket else {
            capture.account.drop_call();
            return None;
        };
        // What was open before is finished; the rest passes unrecorded.
        if capture.switch.bypass().is_some() && matches!(ticket, Ticket::Stray { .. }) {
            capture.account.drop_call();
            return None;
        }
        let Some(head) = caught(|| RequestHead::of(request)) else {
            capture.lost(&ticket);
            return None;
        };
        Some(Observation::new(Arc::clone(capture), ticket, head))
    }
}

/// Returns what `work` returns, or `None` if it panics.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Reports a request whose handling was dropped before there was an answer.
struct Pending {
    observation: Option<Arc<Observation>>,
}

impl Pending {
    fn answered(mut self) -> Arc<Observation> {
        self.observation.take().expect("taken only here, and `self` is gone after it")
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(observation) = self.observation.take() {
            observation.abandoned();
        }
    }
}
