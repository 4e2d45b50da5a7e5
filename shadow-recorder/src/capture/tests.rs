use std::convert::Infallible;
use std::sync::mpsc::Receiver;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry as Metered;
use tower::{Service, ServiceExt, service_fn};
use uuid::Uuid;

use super::*;
use crate::attribution::CallKey;
use crate::clock;
use crate::record::{Record, Side};
use crate::trace_context::Context;

pub(crate) const LIMITS: Limits = Limits {
    linger: Duration::from_millis(100),
    head_bytes_max: 1000,
    body_bytes_max: 1000,
    memory_bytes_max: 10_000,
    calls_max: 10,
    exchanges_open_max: 10,
    queue_exchanges_max: 10,
};

pub(crate) fn capture(limits: Limits) -> (Arc<Capture>, Receiver<Event>) {
    Capture::new(limits, Sampling::everything(), None, Metrics::register(&mut Metered::default()))
}

/// Passes a request through the layer, to a service that repeats its body and its trace state.
pub(crate) async fn pass(
    capture: &Arc<Capture>,
    side: Side,
    target: &str,
    state: &str,
) -> (String, String) {
    let echo = service_fn(async |request: Request<Tee<Full<Bytes>>>| {
        let state = request.headers().get("tracestate").cloned();
        let body = request.into_body().collect().await?.to_bytes();
        let mut response = Response::new(Full::from(body));
        if let Some(state) = state {
            response.headers_mut().insert("x-state", state);
        }
        Ok::<_, Infallible>(response)
    });
    let echo = service_fn(move |request| Box::pin(echo.clone().call(request)));
    let mut layer = Record { inner: echo, side, capture: Arc::clone(capture), unrecorded: None };
    let request = Request::get(target)
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("tracestate", state)
        .body(Full::from("body"))
        .unwrap();
    let response = layer.ready().await.unwrap().call(request).await.unwrap();
    let state = response.headers()["x-state"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), state)
}

pub(crate) async fn exchange(capture: &Arc<Capture>, target: &str) -> String {
    let (body, state) = pass(capture, Side::Clients, target, "v=1").await;
    assert_eq!(body, "body");
    state
}

/// Passes an exchange and returns it closed, as the writer receives it.
pub(crate) async fn closed(capture: &Arc<Capture>, events: &Receiver<Event>) -> Box<Closed> {
    exchange(capture, "/book").await;
    capture.sweep(after_linger());
    match events.try_recv() {
        Ok(Event::Exchange(closed)) => closed,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn call(capture: &Arc<Capture>, state: &str) {
    pass(capture, Side::Upstream("fx".into()), "/fx", state).await;
}

pub(crate) fn after_linger() -> Instant {
    Instant::now() + LIMITS.linger
}

fn dropped(capture: &Capture) -> Vec<(&'static str, u64)> {
    let passed = capture.account.take();
    passed.dropped().into_iter().map(|(reason, n)| (reason.as_str(), n)).collect()
}

#[tokio::test]
async fn an_exchange_closes_after_its_linger_with_its_late_calls() {
    let (capture, events) = capture(LIMITS);
    let before = capture.watermark();
    let state = exchange(&capture, "/book").await;
    capture.sweep(Instant::now());
    call(&capture, &state).await;
    assert!(capture.watermark() >= before && capture.watermark() < clock::now());
    assert!(events.try_recv().is_err());
    capture.sweep(after_linger());
    let Ok(Event::Exchange(closed)) = events.try_recv() else { panic!("not closed") };
    assert_eq!(closed.calls.len(), 1);
    assert!(closed.seen.end() == crate::exchange::End::Complete);
    // In the queue it still holds the watermark back.
    assert_eq!(capture.watermark(), closed.received_at);
    capture.settle(&[closed.sequence]);
    assert!(capture.watermark() > closed.received_at);
    call(&capture, &state).await;
    let Ok(Event::Stray { attribution, .. }) = events.try_recv() else { panic!("not ambient") };
    assert_eq!(attribution, Attribution::Late);
}

#[tokio::test]
async fn a_call_in_progress_keeps_its_exchange_open() {
    let (capture, events) = capture(LIMITS);
    let state = exchange(&capture, "/book").await;
    let id: Uuid = state.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    let (context, started) = (Context::Exchange(id.as_u128()), Instant::now());
    let ticket = capture.attribute(&"fx".into(), context, CallKey::None, started).unwrap();
    capture.sweep(after_linger());
    assert_eq!((capture.open_count(), events.try_recv().is_err()), (1, true));
    let head = RequestHead::of(&Request::new(()));
    let observation = Observation::new(Arc::clone(&capture), ticket, started, head);
    drop(capture.tee(
        Full::<Bytes>::default(),
        Box::new({
            let observation = Arc::clone(&observation);
            move |copied| observation.request_ended(copied)
        }),
    ));
    observation.not_answered();
    assert!(matches!(events.try_recv(), Ok(Event::Exchange(closed)) if closed.calls.len() == 1));
    assert_eq!(capture.open_count(), 0);
}

#[tokio::test]
async fn over_every_limit_the_request_passes_and_is_counted() {
    let (ample, _events) = capture(LIMITS);
    exchange(&ample, "/book").await;
    let memory_bytes_max = ample.memory().used();
    let bodies = 2 * "body".len();
    assert!(memory_bytes_max > bodies + "traceparent".len(), "heads are counted");
    for (limits, reason) in [
        (Limits { exchanges_open_max: 1, ..LIMITS }, "exchanges_open_max"),
        (Limits { queue_exchanges_max: 1, ..LIMITS }, "queue_full"),
        // The heads and bodies of the first hold all that there is.
        (Limits { memory_bytes_max, ..LIMITS }, "memory_bytes_max"),
    ] {
        let (capture, events) = capture(limits);
        exchange(&capture, "/book").await;
        exchange(&capture, "/book").await;
        capture.sweep(after_linger());
        assert_eq!(dropped(&capture), [(reason, 1)]);
        let recorded: Vec<Event> = events.try_iter().collect();
        assert!(matches!(&recorded[..], [Event::Exchange(_)]), "{reason}: {recorded:?}");
        assert_eq!(capture.account.observed(), 2);
        assert_eq!(capture.registry().unsettled(), 1, "{reason}");
    }
}

#[tokio::test]
async fn without_memory_for_its_head_an_exchange_is_dropped() {
    let (capture, events) = capture(Limits { memory_bytes_max: 20, ..LIMITS });
    exchange(&capture, "/book").await;
    capture.sweep(after_linger());
    assert_eq!(dropped(&capture), [("memory_bytes_max", 1)]);
    assert_eq!((events.try_iter().count(), capture.memory().used()), (0, 0));
}

#[tokio::test]
async fn a_panic_costs_the_capture_that_panicked() {
    let (capture, events) = capture(LIMITS);
    let (body, _) = pass(&capture, Side::Clients, "/panic", "v=1").await;
    assert_eq!(body, "body");
    exchange(&capture, "/book").await;
    capture.sweep(after_linger());
    assert_eq!(dropped(&capture), [("panic", 1)]);
    assert_eq!(events.try_iter().count(), 1);
    assert_eq!(capture.account.observed(), 2);
}

#[tokio::test]
async fn a_panic_on_a_call_costs_its_exchange() {
    let (capture, events) = capture(LIMITS);
    let state = exchange(&capture, "/book").await;
    let (body, _) = pass(&capture, Side::Upstream("fx".into()), "/panic", &state).await;
    assert_eq!(body, "body");
    capture.sweep(after_linger());
    assert_eq!(dropped(&capture), [("panic", 1)]);
    assert_eq!((events.try_iter().count(), capture.open_count()), (0, 0));
    assert!(capture.registry().is_empty());
}

#[tokio::test]
async fn what_is_open_at_the_end_is_counted() {
    let (capture, _events) = capture(LIMITS);
    exchange(&capture, "/book").await;
    capture.give_up_all();
    assert_eq!(dropped(&capture), [("shutdown", 1)]);
    let registry = capture.registry();
    assert_eq!((registry.recorded(), registry.unsettled()), (0, 0));
}
