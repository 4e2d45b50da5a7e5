use std::convert::Infallible;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry as Metered;
use serde_json_path::JsonPath;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::capture::tests::LIMITS;
use crate::capture::{Event, Limits};
use crate::exchange::Attribution;
use crate::metrics::Metrics;
use crate::record::{Record, Side};
use crate::sampling::{Key, Rate, Sampling};
use crate::tee::Tee;

const BODY_BYTES_MAX: usize = 1 << 20;

struct Bench {
    capture: Arc<Capture>,
    events: Receiver<Event>,
}

fn json() -> BusinessKey {
    BusinessKey { json: JsonPath::parse("$.trip").ok(), ..BusinessKey::default() }
}

fn header() -> BusinessKey {
    BusinessKey { header: Some("x-trip".parse().unwrap()), ..BusinessKey::default() }
}

fn bench(exchange: BusinessKey, call: BusinessKey, rate: &str) -> Bench {
    let keys = KeyReader::start(exchange, [("fx".into(), call)], BODY_BYTES_MAX, 100).unwrap();
    let limits =
        Limits { body_bytes_max: BODY_BYTES_MAX, memory_bytes_max: 10 * BODY_BYTES_MAX, ..LIMITS };
    let sampling = Sampling::new(Rate::parse(rate).unwrap(), Some(Key::derive("k"))).unwrap();
    let metrics = Metrics::register(&mut Metered::default());
    let (capture, events) = Capture::new(limits, sampling, Some(keys), metrics);
    Bench { capture, events }
}

impl Bench {
    async fn pass(&self, side: Side, trip: &str, body: impl Into<Bytes>) {
        let echo = service_fn(async |request: Request<Tee<Full<Bytes>>>| {
            request.into_body().collect().await.unwrap();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let capture = Arc::clone(&self.capture);
        let layer = Record { inner: echo, side, capture, unrecorded: None };
        let request = Request::post("/").header("x-trip", trip).body(Full::from(body.into()));
        layer.oneshot(request.unwrap()).await.unwrap();
    }

    async fn receive(&self, trip: &str, body: impl Into<Bytes>) {
        self.pass(Side::Clients, trip, body).await;
    }

    async fn call(&self, trip: &str, body: impl Into<Bytes>) {
        self.pass(Side::Upstream("fx".into()), trip, body).await;
    }

    fn sweep(&self) {
        self.capture.sweep(Instant::now() + LIMITS.linger);
    }

    /// Waits until the thread has read everything; returns the calls of the exchanges recorded, and the strays, sorted.
    fn recorded(&self, expected: usize) -> (Vec<usize>, Vec<Attribution>) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let (mut exchanges, mut strays) = (Vec::new(), Vec::new());
        while exchanges.len() + strays.len() < expected || !self.capture.registry().is_empty() {
            assert!(Instant::now() < deadline, "{exchanges:?} {strays:?}");
            // An exchange that lingered no longer than its calls are read would not have them.
            if !self.capture.registry().keys.is_awaited() {
                self.sweep();
            }
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
            thread::yield_now();
        }
        strays.sort_unstable();
        (exchanges, strays)
    }
}

/// A body that takes its time to be read.
fn large(trip: &str) -> String {
    format!("{{\"pad\":[{}0],\"trip\":\"{trip}\"}}", "0,".repeat(BODY_BYTES_MAX / 2 - 100))
}

#[tokio::test]
async fn a_call_is_decided_after_the_bodies_that_passed_before_it() {
    for call in [header(), json()] {
        let bench = bench(json(), call, "1");
        bench.receive("", large("t1")).await;
        bench.call("t1", "{\"trip\":\"t1\"}").await;
        assert_eq!(bench.recorded(1), (vec![1], vec![]));
        assert_eq!(bench.capture.metrics.business_keys_unread.get(), 0);
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_makes_keys_uncertain_while_it_is_open() {
    let bench = bench(json(), json(), "1");
    bench.receive("", "{\"trip\":\"t1\"}").await;
    bench.receive("", vec![b' '; BODY_BYTES_MAX + 1]).await;
    bench.call("", "{\"trip\":\"t1\"}").await;
    bench.call("", "{}").await;
    bench.call("", "").await;
    let strays = [Attribution::Ambiguous, Attribution::Unattributed, Attribution::Unattributed];
    assert_eq!(bench.recorded(5), (vec![0, 0], strays.into()));
    assert_eq!(bench.capture.metrics.business_keys_unread.get(), 1);
}

#[tokio::test]
async fn a_call_of_what_is_sampled_out_is_known_by_its_key() {
    for (exchange, call) in
        [(json(), json()), (json(), header()), (header(), json()), (header(), header())]
    {
        let bench = bench(exchange, call, "0.000000000000001");
        bench.receive("t1", "{\"trip\":\"t1\"}").await;
        bench.call("t1", "{\"trip\":\"t1\"}").await;
        // Whether its own key was read in time or not.
        bench.sweep();
        bench.call("t2", "{\"trip\":\"t2\"}").await;
        assert_eq!(bench.recorded(1), (vec![], vec![Attribution::Unattributed]));
        let passed = bench.capture.account.take();
        assert_eq!((passed.sampled_out(), passed.calls_sampled_out), (1, 1));
    }
}

#[tokio::test]
async fn where_too_much_waits_a_body_is_not_read_and_recorded_all_the_same() {
    // Without a thread everything is too much.
    let bench = bench(header(), header(), "1");
    let keys = bench.capture.keys.as_ref().unwrap();
    let in_body = || Box::new(InBodyOf { source: Arc::new(json()), coding: None });
    let drawn = bench.capture.sampling.draw_plain(1).unwrap();
    let head = crate::observation::RequestHead::of(&Request::new(()));
    let (id, observation) = bench.capture.open(1, drawn, OwnKey::Unknown, head).unwrap();
    let (capture, observer) = (Arc::clone(&bench.capture), Arc::clone(&observation));
    let read = move |copied| {
        let keys = capture.keys.as_ref().unwrap();
        keys.read(&capture, KeyOf::Exchange(id), in_body(), copied, Some(observer));
    };
    bench
        .capture
        .tee(Full::<Bytes>::from("{\"trip\":\"t1\"}"), Box::new(read))
        .collect()
        .await
        .unwrap();
    observation.not_answered();
    assert_eq!(bench.capture.metrics.business_keys_unread.get(), 1);
    // Any key may be its key.
    bench.receive("t1", "").await;
    bench.call("t1", "").await;
    keys.decide(&bench.capture, 99, 7);
    assert_eq!(bench.recorded(3), (vec![0, 0], vec![Attribution::Ambiguous]));
    assert_eq!(bench.capture.metrics.business_keys_unread.get(), 2);
}
