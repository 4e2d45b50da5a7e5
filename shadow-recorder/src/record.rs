//! A tower layer: copies what passes. On the clients' side it opens an exchange and names it in the trace context; on the
//! side of the upstreams it finds the exchange that a call belongs to.
//!
//! Whether an exchange is recorded is decided at its head. One that is not costs a mark in its trace context and a count at its trace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use crate::account::Reason;
use crate::attribution::CallKey;
use crate::capture::{Capture, Held, Ticket};
use crate::clock;
use crate::forward::Unanswered;
use crate::key_reader::{InBodyOf, InHead, KeyOf};
use crate::keys::OwnKey;
use crate::observation::{Observation, RequestHead};
use crate::sampling::{AtHead, Drawn};
use crate::tee::Tee;
use crate::trace_context::{self, Trace};

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
    /// Why nothing of this connection is recorded, where it is over a limit.
    pub(crate) unrecorded: Option<Reason>,
}

/// How a request passes, and its answer.
enum Passage {
    /// Copied.
    Copied { observation: Arc<Observation>, ticket: Ticket },
    /// Without a copy; an exchange is held.
    Uncopied(Option<Held>),
}

/// A request's body that is read for a business key.
type AwaitedKey = (KeyOf, Box<InBodyOf>);

impl<S, A, B> Service<Request<A>> for Record<S>
where
    S: Service<Request<Tee<A>>, Response = Response<B>>,
    A: Body<Data = Bytes>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Tee<B>>;
    type Error = S::Error;
    type Future = Recording<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let (passage, key) = match &self.side {
            Side::Clients => self.receive(&mut request),
            Side::Upstream(name) => self.attribute(name, &request),
        };
        let request = request.map(|body| self.tee(body, &passage, key));
        let answer = self.inner.call(request);
        Recording { answer, pending: Pending(Some(passage)), capture: Arc::clone(&self.capture) }
    }
}

impl<S> Record<S> {
    /// Begins an exchange. Never panics and never fails the request.
    fn receive<A: Body>(&self, request: &mut Request<A>) -> (Passage, Option<AwaitedKey>) {
        let capture = &self.capture;
        capture.account.observe();
        let begun = caught(|| {
            let trace = Trace::of(request.headers(), clock::fresh_trace);
            if let Some(reason) = capture.switch.bypass() {
                capture.account.drop_exchange(capture.sampling.undecided(), reason, 0);
                return (trace, None);
            }
            let drawn = match capture.sampling.draw(trace.id(), request) {
                AtHead::Open(drawn) => drawn,
                AtHead::Out(stratum) => {
                    capture.account.sample_out(stratum);
                    return (trace, None);
                }
            };
            let opened = self.open(request, &trace, drawn);
            let lost = |reason| capture.account.drop_exchange(drawn.stratum, reason, 0);
            (trace, opened.map_err(lost).ok())
        });
        let Some((trace, opened)) = begun else {
            // Marked all the same, so that its calls are not taken for another's.
            let marked =
                caught(|| self.pass(request, &Trace::of(request.headers(), clock::fresh_trace)));
            let stratum = capture.sampling.undecided();
            capture.account.drop_exchange(stratum, Reason::Panic, 0);
            return marked.unwrap_or((Passage::Uncopied(None), None));
        };
        let Some((id, passage, key)) = opened else {
            return caught(|| self.pass(request, &trace))
                .unwrap_or((Passage::Uncopied(None), None));
        };
        if caught(|| trace.join(request.headers_mut(), Some(id))).is_none() {
            capture.lost(&Ticket::Exchange(id));
        }
        (passage, key.map(|key| (KeyOf::Exchange(id), key)))
    }

    /// Opens an exchange that the sampling keeps.
    fn open<A: Body>(
        &self,
        request: &Request<A>,
        trace: &Trace,
        drawn: Drawn,
    ) -> Result<(u128, Passage, Option<Box<InBodyOf>>), Reason> {
        let capture = &self.capture;
        if let Some(reason) = self.unrecorded {
            return Err(reason);
        }
        if bytes_of(request.headers()) + target_bytes(request) > capture.limits.head_bytes_max {
            return Err(Reason::HeadBytesMax);
        }
        // Copied before the trace context is added: what the client sent.
        let head = RequestHead::of(request).by(capture.principal(request.headers()));
        let (key, awaited) = self.own_key(request);
        let (id, observation) = capture.open(trace.id(), drawn, key, head)?;
        Ok((id, Passage::Copied { observation, ticket: Ticket::Exchange(id) }, awaited))
    }

    /// Lets an exchange pass unrecorded.
    fn pass<A: Body>(
        &self,
        request: &mut Request<A>,
        trace: &Trace,
    ) -> (Passage, Option<AwaitedKey>) {
        trace.join(request.headers_mut(), None);
        if self.capture.keys.is_none() {
            return (Passage::Uncopied(Some(self.capture.hold(trace.id()))), None);
        }
        let (key, awaited) = self.own_key(request);
        let (id, held) = self.capture.hold_with_key(trace.id(), key);
        (Passage::Uncopied(Some(held)), awaited.map(|body| (KeyOf::Exchange(id), body)))
    }

    /// Looks for the business key of an exchange.
    fn own_key<A: Body>(&self, request: &Request<A>) -> (OwnKey, Option<Box<InBodyOf>>) {
        let found =
            self.capture.keys.as_ref().map_or(InHead::None, |keys| keys.of_exchange(request));
        match found {
            InHead::Key(key) => (OwnKey::Read(Some(key)), None),
            InHead::Body(body) if !request.body().is_end_stream() => (OwnKey::Unknown, Some(body)),
            InHead::Body(_) | InHead::None => (OwnKey::Read(None), None),
        }
    }

    /// Begins an upstream call. Never panics and never fails it.
    fn attribute<A: Body>(
        &self,
        upstream: &Arc<str>,
        request: &Request<A>,
    ) -> (Passage, Option<AwaitedKey>) {
        let uncopied = (Passage::Uncopied(None), None);
        let capture = &self.capture;
        let begun = caught(|| {
            let context = trace_context::context(request.headers());
            if context == trace_context::Context::Unrecorded {
                capture.account.sample_out_calls(1);
                return None;
            }
            let (key, found) = self.call_key(upstream, request);
            let started = Instant::now();
            let ticket = capture.attribute(upstream, context, key, started)?;
            Some((ticket, found, started))
        });
        let (ticket, found, started) = match begun {
            Some(Some(begun)) => begun,
            Some(None) => return uncopied,
            None => {
                capture.account.drop_call();
                return uncopied;
            }
        };
        let mut awaited = None;
        if let Ticket::Undecided(number) = ticket {
            match found {
                InHead::Key(key) => {
                    if let Some(keys) = &capture.keys {
                        keys.decide(capture, number, key);
                    }
                }
                InHead::Body(body) => awaited = Some((KeyOf::Call(number), body)),
                InHead::None => {}
            }
        }
        let too_large =
            bytes_of(request.headers()) + target_bytes(request) > capture.limits.head_bytes_max;
        // What was open before the switch is finished.
        let switched_off =
            capture.switch.bypass().filter(|_| !matches!(ticket, Ticket::Call { .. }));
        let unrecorded = self.unrecorded.or(too_large.then_some(Reason::HeadBytesMax));
        if let Some(reason) = unrecorded.or(switched_off) {
            capture.give_up(&ticket, reason);
            return (Passage::Uncopied(None), awaited);
        }
        let Some(head) = caught(|| RequestHead::of(request)) else {
            capture.lost(&ticket);
            return (Passage::Uncopied(None), awaited);
        };
        let observation = Observation::new(Arc::clone(capture), ticket.clone(), started, head);
        (Passage::Copied { observation, ticket }, awaited)
    }

    /// Looks for the business key of a call, and says how the call is decided by it.
    fn call_key<A: Body>(&self, upstream: &str, request: &Request<A>) -> (CallKey, InHead) {
        let Some(keys) = &self.capture.keys else { return (CallKey::None, InHead::None) };
        let found = keys.of_call(upstream, request);
        let key = match &found {
            InHead::Key(key) if !keys.is_queued() => CallKey::Known(*key),
            InHead::Key(_) => CallKey::Awaited,
            InHead::Body(_) if !request.body().is_end_stream() => CallKey::Awaited,
            InHead::Body(_) | InHead::None => CallKey::None,
        };
        (key, found)
    }

    fn tee<A>(&self, body: A, passage: &Passage, key: Option<AwaitedKey>) -> Tee<A>
    where
        A: Body<Data = Bytes>,
    {
        let observation = match passage {
            Passage::Copied { observation, .. } => Some(Arc::clone(observation)),
            Passage::Uncopied(_) => None,
        };
        match (observation, key) {
            (None, None) => Tee::uncopied(body),
            (Some(observation), None) => {
                self.capture.tee(body, Box::new(move |copied| observation.request_ended(copied)))
            }
            (observation, Some((of, in_body))) => {
                let capture = Arc::clone(&self.capture);
                let read = move |copied| {
                    if let Some(keys) = &capture.keys {
                        keys.read(&capture, of, in_body, copied, observation);
                    }
                };
                self.capture.tee(body, Box::new(read))
            }
        }
    }
}

pin_project! {
    /// The answer to come.
    pub(crate) struct Recording<F> {
        #[pin]
        answer: F,
        pending: Pending,
        capture: Arc<Capture>,
    }
}

impl<F, B, E> Future for Recording<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Tee<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        let passage = this.pending.0.take();
        let given = answer.as_ref().ok().filter(|a| a.extensions().get::<Unanswered>().is_none());
        let is_given = given.is_some();
        if !is_given {
            this.capture.metrics.unanswered.inc();
            if let Some(Passage::Copied { observation, .. }) = &passage {
                observation.not_answered();
            }
        }
        Poll::Ready(answer.map(|response| answered(this.capture, response, passage, is_given)))
    }
}

/// Copies an answer that has begun, where its request was copied and the answer is not the proxy's own.
fn answered<B: Body<Data = Bytes>>(
    capture: &Arc<Capture>,
    response: Response<B>,
    passage: Option<Passage>,
    is_given: bool,
) -> Response<Tee<B>> {
    let (observation, ticket) = match passage {
        Some(Passage::Copied { observation, ticket }) if is_given => (observation, ticket),
        Some(Passage::Uncopied(Some(held))) => {
            return response.map(|body| Tee::holding(body, held));
        }
        _ => return response.map(Tee::uncopied),
    };
    if bytes_of(response.headers()) <= capture.limits.head_bytes_max {
        observation.answer_begun(&response);
    } else {
        capture.give_up(&ticket, Reason::HeadBytesMax);
        // An exchange is observed to its end all the same, because it is known until then.
        if !matches!(ticket, Ticket::Exchange(_)) {
            return response.map(Tee::uncopied);
        }
    }
    response.map(|body| capture.tee(body, Box::new(move |copied| observation.answer_ended(copied))))
}

/// Reports a request whose handling was dropped before there was an answer.
struct Pending(Option<Passage>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(Passage::Copied { observation, .. }) = self.0.take() {
            observation.abandoned();
        }
    }
}

/// Returns what `work` returns, or `None` if it panics.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn target_bytes<A>(request: &Request<A>) -> usize {
    request.uri().path_and_query().map_or(1, |target| target.as_str().len())
}

#[cfg(test)]
mod tests;
