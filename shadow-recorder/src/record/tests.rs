use std::sync::mpsc::Receiver;

use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry as Metered;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::capture::Event;
use crate::capture::tests::LIMITS;
use crate::exchange::{Attribution, End};
use crate::metrics::Metrics;
use crate::registry::Closed;
use crate::sampling::{Key, Rate, Sampling};

struct Bench {
    capture: Arc<Capture>,
    events: Receiver<Event>,
}

/// What the service behind the layer saw, and what came back.
#[derive(Debug)]
struct Passed {
    trace_id: u128,
    state: String,
    answer: Result<String, &'static str>,
}

fn bench(rate: &str) -> Bench {
    let sampling = Sampling::new(Rate::parse(rate).unwrap(), Some(Key::derive("k"))).unwrap();
    let metrics = Metrics::register(&mut Metered::default());
    let (capture, events) = Capture::new(LIMITS, sampling, None, metrics);
    Bench { capture, events }
}

impl Bench {
    /// Returns a trace that the sampling keeps, or one that it leaves out.
    fn trace(&self, kept: bool) -> u128 {
        (1..100).find(|trace| self.capture.sampling.draw_plain(*trace).is_some() == kept).unwrap()
    }

    fn record<S>(&self, side: Side, unrecorded: Option<Reason>, inner: S) -> Record<S> {
        Record { inner, side, capture: Arc::clone(&self.capture), unrecorded }
    }

    async fn pass(
        &self,
        side: Side,
        unrecorded: Option<Reason>,
        target: &str,
        fields: &[(&'static str, String)],
    ) -> Passed {
        let seen = Arc::new(std::sync::Mutex::new((0, String::new())));
        let log = Arc::clone(&seen);
        let echo = service_fn(move |request: Request<Tee<Full<Bytes>>>| {
            let trace_id = Trace::of(request.headers(), || panic!("no trace")).id();
            let state = request.headers().get("tracestate").map(|s| s.to_str().unwrap().to_owned());
            *log.lock().unwrap() = (trace_id, state.unwrap_or_default());
            async move {
                let target = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                if target == "/fail" {
                    return Err("no answer");
                }
                let mut response = Response::new(Full::from(body));
                if target == "/large-answer" {
                    response.headers_mut().insert("x-large", "a".repeat(1000).parse().unwrap());
                }
                Ok(response)
            }
        });
        let mut request = Request::post(target);
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        let request = request.body(Full::from("body")).unwrap();
        let answer = match self.record(side, unrecorded, echo).oneshot(request).await {
            Ok(response) => {
                let body = response.into_body().collect().await.unwrap().to_bytes();
                Ok(String::from_utf8(body.to_vec()).unwrap())
            }
            Err(error) => Err(error),
        };
        let (trace_id, state) = seen.lock().unwrap().clone();
        Passed { trace_id, state, answer }
    }

    async fn receive(&self, target: &str, trace: u128) -> Passed {
        self.pass(Side::Clients, None, target, &[parent(trace)]).await
    }

    async fn call(&self, target: &str, fields: &[(&'static str, String)]) {
        let passed = self.pass(Side::Upstream("fx".into()), None, target, fields).await;
        assert_eq!(passed.answer.unwrap_or("body".into()), "body");
    }

    /// Closes what has ended.
    fn sweep(&self) {
        self.capture.sweep(Instant::now() + LIMITS.linger);
    }

    /// Takes the one exchange recorded.
    fn closed(&self) -> Box<Closed> {
        self.sweep();
        let Ok(Event::Exchange(closed)) = self.events.try_recv() else { panic!("not recorded") };
        self.capture.settle(&[closed.sequence]);
        closed
    }

    /// Returns the calls of the exchanges recorded, and the attributions of the strays.
    fn recorded(&self) -> (Vec<usize>, Vec<Attribution>) {
        let (mut exchanges, mut strays) = (Vec::new(), Vec::new());
        for event in self.events.try_iter() {
            match event {
                Event::Exchange(closed) => {
                    self.capture.settle(&[closed.sequence]);
                    exchanges.push(closed.calls.len());
                }
                Event::Stray { attribution, .. } => strays.push(attribution),
                Event::End => panic!("the end"),
            }
        }
        (exchanges, strays)
    }

    /// Checks that nothing is remembered and everything counted; returns the exchanges sampled out and dropped, and the calls.
    fn counts(&self) -> (u64, Vec<(&'static str, u64)>, (u64, u64)) {
        self.sweep();
        assert!(self.capture.registry().is_empty(), "{:?}", self.capture.registry());
        let passed = self.capture.account.take();
        assert!(self.capture.account.take().is_nothing());
        let dropped = passed.dropped().into_iter().map(|(why, n)| (why.as_str(), n)).collect();
        (passed.sampled_out(), dropped, (passed.calls_sampled_out, passed.calls_dropped))
    }
}

fn parent(trace: u128) -> (&'static str, String) {
    ("traceparent", format!("00-{trace:032x}-00f067aa0ba902b7-01"))
}

fn state(passed: &Passed) -> (&'static str, String) {
    ("tracestate", passed.state.clone())
}

const NOTHING: (u64, u64) = (0, 0);

#[tokio::test]
async fn what_is_sampled_out_is_marked_and_neither_it_nor_its_calls_are_recorded() {
    let bench = bench("0.5");
    let out = bench.trace(false);
    let passed = bench.receive("/", out).await;
    assert_eq!((passed.trace_id, &*passed.state), (out, "shadow=-"));
    assert_eq!(passed.answer.as_deref(), Ok("body"));
    bench.call("/fx", &[parent(out), state(&passed)]).await;
    // The mark decides alone, also in a trace of the service's own and after the linger.
    bench.call("/fx", &[parent(7), state(&passed)]).await;
    bench.call("/fx", &[parent(out)]).await;
    assert_eq!(bench.capture.open_count(), 1);
    bench.sweep();
    assert_eq!(bench.capture.open_count(), 0);
    bench.call("/fx", &[parent(out), state(&passed)]).await;
    bench.call("/fx", &[parent(out)]).await;
    assert_eq!(bench.recorded(), (vec![], vec![Attribution::Unattributed]));
    assert_eq!(bench.counts(), (1, vec![], (4, 0)));
    assert_eq!(bench.capture.account.observed(), 1);
}

#[tokio::test]
async fn what_is_kept_carries_its_draw() {
    let bench = bench("0.5");
    let kept = bench.trace(true);
    let passed = bench.receive("/", kept).await;
    bench.call("/fx", &[parent(kept)]).await;
    let closed = bench.closed();
    assert_eq!(passed.state, format!("shadow={}", uuid::Uuid::from_u128(closed.id)));
    assert_eq!((closed.trace_id, closed.calls.len()), (kept, 1));
    assert_eq!(closed.drawn, bench.capture.sampling.draw_plain(kept).unwrap());
    assert_eq!(bench.counts(), (0, vec![], NOTHING));
}

#[tokio::test]
async fn a_request_without_trace_context_is_drawn_by_the_trace_it_gets() {
    let bench = bench("0.5");
    for _ in 0..40 {
        let passed = bench.pass(Side::Clients, None, "/", &[]).await;
        let kept = bench.capture.sampling.draw_plain(passed.trace_id).is_some();
        assert_eq!(passed.state == "shadow=-", !kept);
        bench.sweep();
    }
    let (exchanges, _) = bench.recorded();
    let (sampled_out, dropped, _) = bench.counts();
    // All on one side would be one chance in 10¹².
    assert!((1..40).contains(&sampled_out), "{sampled_out}");
    let lost: u64 = dropped.iter().map(|(_, count)| count).sum();
    assert_eq!(exchanges.len() as u64 + sampled_out + lost, 40);
}

#[tokio::test]
async fn a_call_of_a_recorded_and_an_unrecorded_exchange_of_one_trace_is_ambiguous() {
    let bench = bench("1");
    let held = bench.capture.hold(9);
    bench.receive("/", 9).await;
    bench.call("/fx", &[parent(9)]).await;
    drop(held);
    bench.sweep();
    assert_eq!(bench.recorded(), (vec![0], vec![Attribution::Ambiguous]));
    assert_eq!(bench.counts(), (0, vec![], NOTHING));
}

#[tokio::test]
async fn a_connection_over_the_limit_passes_unrecorded() {
    let bench = bench("0.5");
    let over = Some(Reason::ConnectionsMax);
    let kept = parent(bench.trace(true));
    let passed = bench.pass(Side::Clients, over, "/", std::slice::from_ref(&kept)).await;
    assert_eq!((&*passed.state, passed.answer.as_deref()), ("shadow=-", Ok("body")));
    bench.call("/fx", std::slice::from_ref(&kept)).await;
    // What would not have been recorded anyway was left out, not lost.
    bench.pass(Side::Clients, over, "/", &[parent(bench.trace(false))]).await;
    assert_eq!(bench.counts(), (1, vec![("connections_max", 1)], (1, 0)));
    // A call over such a connection costs its exchange.
    let passed = bench.pass(Side::Clients, None, "/", std::slice::from_ref(&kept)).await;
    let side = Side::Upstream("fx".into());
    bench.pass(side.clone(), over, "/fx", &[kept, state(&passed)]).await;
    bench.pass(side, over, "/fx", &[parent(3)]).await;
    assert_eq!(bench.counts(), (0, vec![("connections_max", 1)], (0, 2)));
    assert_eq!(bench.recorded(), (vec![], vec![]));
    assert_eq!(bench.capture.account.observed(), 3);
}

#[tokio::test]
async fn a_large_head_costs_its_exchange_and_nothing_else() {
    let bench = bench("1");
    let large = ("x-large", "a".repeat(1000));
    let reason = || vec![("head_bytes_max", 1)];
    // Of the exchange: its request, the target of it, its answer.
    let passed = bench.pass(Side::Clients, None, "/", &[parent(1), large.clone()]).await;
    assert_eq!((&*passed.state, passed.answer.as_deref()), ("shadow=-", Ok("body")));
    assert_eq!(bench.counts(), (0, reason(), NOTHING));
    let passed = bench.receive(&format!("/?{}", large.1), 1).await;
    assert_eq!((&*passed.state, passed.answer.as_deref()), ("shadow=-", Ok("body")));
    assert_eq!(bench.counts(), (0, reason(), NOTHING));
    let passed = bench.receive("/large-answer", 1).await;
    assert_eq!(passed.answer.as_deref(), Ok("body"));
    // Known to be unrecorded, so that a late call is nobody else's.
    bench.call("/fx", &[parent(1), state(&passed)]).await;
    bench.call("/fx", &[parent(1)]).await;
    assert_eq!(bench.counts(), (0, reason(), (2, 0)));
    // Of a call: its request, its answer.
    for (target, field) in [("/fx", Some(large.clone())), ("/large-answer", None)] {
        bench.receive("/", 1).await;
        bench.call("/fx", &[parent(1)]).await;
        let fields: Vec<_> = [parent(1)].into_iter().chain(field).collect();
        bench.call(target, &fields).await;
        let (exchanges, dropped, (sampled_out, lost)) = bench.counts();
        assert_eq!((exchanges, dropped, sampled_out), (0, reason(), 0), "{target}");
        // Where the call was entered before its answer, it is lost with the exchange.
        assert_eq!(lost, 2, "{target}");
    }
    // Of a call of nobody.
    bench.call("/fx", &[parent(2), large]).await;
    bench.call("/large-answer", &[parent(2)]).await;
    assert_eq!(bench.counts(), (0, vec![], (0, 2)));
    assert_eq!(bench.recorded(), (vec![], vec![]));
}

#[tokio::test]
async fn an_exchange_with_too_many_calls_is_dropped_and_stays_known() {
    let bench = bench("1");
    let passed = bench.receive("/", 1).await;
    for _ in 0..LIMITS.calls_max {
        bench.call("/fx", &[parent(1)]).await;
    }
    assert_eq!(bench.capture.account.take().dropped().len(), 0);
    bench.call("/fx", &[parent(1)]).await;
    bench.call("/fx", &[parent(1)]).await;
    bench.call("/fx", &[parent(2), state(&passed)]).await;
    let calls = LIMITS.calls_max as u64 + 1;
    assert_eq!(bench.counts(), (0, vec![("calls_max", 1)], (2, calls)));
    assert_eq!(bench.recorded(), (vec![], vec![]));
    assert_eq!(bench.capture.metrics.exchanges_open.get(), 0);
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_no_answer_and_goes_on() {
    let bench = bench("0.5");
    let kept = bench.trace(true);
    assert_eq!(bench.receive("/fail", kept).await.answer, Err("no answer"));
    bench.call("/fail", &[parent(kept)]).await;
    let closed = bench.closed();
    assert_eq!((closed.seen.end(), closed.calls.len()), (End::UpstreamFailed, 1));
    assert_eq!(bench.receive("/fail", bench.trace(false)).await.answer, Err("no answer"));
    assert_eq!(bench.capture.metrics.unanswered.get(), 3);
    assert_eq!(bench.counts(), (1, vec![], NOTHING));
}

#[tokio::test]
async fn an_unrecorded_exchange_is_known_until_the_end_of_its_answer() {
    let bench = bench("0.5");
    let out = bench.trace(false);
    let inner = service_fn(async |_: Request<Tee<Full<Bytes>>>| {
        Ok::<_, &str>(Response::new(Full::<Bytes>::from("body")))
    });
    let mut layer = bench.record(Side::Clients, None, service_fn(move |r| inner.oneshot(r)));
    let request = || {
        let (name, value) = parent(out);
        Request::get("/").header(name, value).body(Full::<Bytes>::default()).unwrap()
    };
    let response = layer.ready().await.unwrap().call(request()).await.unwrap();
    bench.sweep();
    assert_eq!(bench.capture.open_count(), 1);
    drop(response);
    bench.sweep();
    assert_eq!(bench.capture.open_count(), 0);
    // A client that goes away before the answer.
    drop(layer.ready().await.unwrap().call(request()));
    assert_eq!(bench.capture.open_count(), 1);
    assert_eq!(bench.counts(), (2, vec![], NOTHING));
}
