use std::sync::mpsc::Receiver;

use http::Request;
use http_body_util::Full;

use super::*;
use crate::batch::Naming;
use crate::capture::tests::{LIMITS, capture};
use crate::capture::{Event, Limits};
use crate::clock;
use crate::keys::OwnKey;
use crate::observation::{Observation, RequestHead};

const TRIP: u128 = 42;

struct Bench {
    capture: Arc<Capture>,
    events: Receiver<Event>,
}

fn bench() -> Bench {
    let (capture, events) = capture(LIMITS);
    Bench { capture, events }
}

impl Bench {
    /// Opens an exchange of its own trace with a key.
    fn exchange(&self, key: OwnKey) -> Arc<Observation> {
        let trace_id = clock::fresh_trace().trace_id;
        let drawn = self.capture.sampling.draw_plain(trace_id).unwrap();
        let (_, observation) = self.capture.open(trace_id, drawn, key, head("/")).unwrap();
        observation
    }

    /// Begins a call of which the body will tell the key.
    fn call(&self, target: &str) -> (u64, Arc<Observation>) {
        let started = Instant::now();
        let ticket = self
            .capture
            .attribute(&"fx".into(), Context::Nothing, CallKey::Awaited, started)
            .unwrap();
        let Ticket::Undecided(number) = ticket else { panic!("{ticket:?}") };
        (number, Observation::new(Arc::clone(&self.capture), ticket, started, head(target)))
    }

    /// Ends an exchange or a call.
    fn end(&self, observation: &Arc<Observation>) {
        let observer = Arc::clone(observation);
        drop(self.capture.tee(
            Full::<bytes::Bytes>::default(),
            Box::new(move |copied| observer.request_ended(copied)),
        ));
        observation.not_answered();
    }

    fn sweep(&self) {
        self.capture.sweep(Instant::now() + LIMITS.linger);
    }

    /// Returns the targets of the calls of each exchange recorded, and the strays.
    fn recorded(&self) -> (Vec<Vec<String>>, Vec<Attribution>) {
        let (mut exchanges, mut strays) = (Vec::new(), Vec::new());
        for event in self.events.try_iter() {
            match event {
                Event::Exchange(closed) => {
                    self.capture.settle(&[closed.sequence]);
                    let targets = closed.calls.into_iter().map(|call| {
                        let metrics = &self.capture.metrics;
                        call.seen.unwrap().into_messages(None, &naming(), metrics).0.target
                    });
                    exchanges.push(targets.collect());
                }
                Event::Stray { attribution, .. } => strays.push(attribution),
                Event::End => panic!("the end"),
            }
        }
        (exchanges, strays)
    }
}

fn head(target: &str) -> RequestHead {
    RequestHead::of(&Request::get(target).body(()).unwrap())
}

fn trip() -> OwnKey {
    OwnKey::Read(Some(TRIP))
}

#[test]
fn calls_that_waited_are_in_the_order_in_which_they_began() {
    let bench = bench();
    let exchange = bench.exchange(trip());
    let (first, a) = bench.call("/first");
    let (second, b) = bench.call("/second");
    let (third, c) = bench.call("/third");
    // Decided in progress, and ended before it is decided.
    bench.capture.decide(third, Some(TRIP));
    bench.end(&b);
    bench.capture.decide(second, Some(TRIP));
    bench.capture.decide(first, Some(TRIP));
    bench.end(&exchange);
    bench.sweep();
    // Two are still in progress.
    assert_eq!(bench.recorded(), (vec![], vec![]));
    bench.end(&c);
    bench.end(&a);
    let expected = ["/first", "/second", "/third"].map(str::to_owned).to_vec();
    assert_eq!(bench.recorded(), (vec![expected], vec![]));
    assert!(bench.capture.registry().is_empty());
    assert_eq!(bench.capture.metrics.calls(Attribution::Attributed).get(), 3);
}

#[test]
fn what_is_not_certain_is_counted() {
    let bench = bench();
    let (mut open, mut calls) = (Vec::new(), Vec::new());
    let mut call = |open: &mut Vec<_>, keys: &[OwnKey], expect| {
        open.extend(keys.iter().map(|key| bench.exchange(*key)));
        let (number, observation) = bench.call("/");
        bench.capture.decide(number, Some(TRIP));
        bench.end(&observation);
        calls.push(expect);
        assert_eq!(bench.recorded(), (vec![], vec![expect]));
        for exchange in open.drain(..) {
            bench.end(&exchange);
        }
        bench.sweep();
        bench.recorded();
    };
    call(&mut open, &[], Attribution::Unattributed);
    call(&mut open, &[OwnKey::Unknown, OwnKey::Read(None)], Attribution::Unattributed);
    call(&mut open, &[trip(), trip()], Attribution::Ambiguous);
    call(&mut open, &[trip(), OwnKey::Unread], Attribution::Ambiguous);
    // Without a key.
    let exchange = bench.exchange(trip());
    let (number, observation) = bench.call("/");
    bench.capture.decide(number, None);
    bench.end(&observation);
    assert_eq!(bench.recorded().1, [Attribution::Unattributed]);
    // Begun before the exchange that has its key.
    let (early, early_call) = bench.call("/");
    bench.end(&exchange);
    bench.sweep();
    let exchange = bench.exchange(trip());
    bench.capture.decide(early, Some(TRIP));
    bench.end(&early_call);
    assert_eq!(bench.recorded().1, [Attribution::Late]);
    bench.end(&exchange);
    bench.sweep();
    assert_eq!(bench.recorded(), (vec![vec![]], vec![]));
    assert!(bench.capture.registry().is_empty());
}

#[test]
fn a_call_of_an_unrecorded_exchange_is_not_kept() {
    let bench = bench();
    let held = bench.capture.hold_with_key(1, trip());
    for ended_first in [false, true] {
        let (number, call) = bench.call("/");
        if ended_first {
            bench.end(&call);
        }
        bench.capture.decide(number, Some(TRIP));
        bench.end(&call);
    }
    drop(held);
    bench.sweep();
    assert_eq!(bench.recorded(), (vec![], vec![]));
    let passed = bench.capture.account.take();
    assert_eq!((passed.calls_sampled_out, passed.calls_dropped), (2, 0));
    assert!(bench.capture.registry().is_empty());
}

#[test]
fn a_call_that_is_lost_costs_its_exchange_whenever_it_is_decided() {
    let bench = bench();
    for decided_first in [false, true] {
        let exchange = bench.exchange(trip());
        let (number, call) = bench.call("/");
        if decided_first {
            bench.capture.decide(number, Some(TRIP));
        }
        bench.capture.give_up(&Ticket::Undecided(number), Reason::HeadBytesMax);
        if !decided_first {
            bench.capture.decide(number, Some(TRIP));
        }
        bench.end(&call);
        bench.end(&exchange);
        bench.sweep();
        let passed = bench.capture.account.take();
        assert_eq!(passed.dropped(), [(Reason::HeadBytesMax, 1)].into());
        assert_eq!((passed.calls_sampled_out, passed.calls_dropped), (0, 1));
    }
    let (number, _call) = bench.call("/");
    bench.capture.lost(&Ticket::Undecided(number));
    bench.capture.decide(number, None);
    let passed = bench.capture.account.take();
    assert_eq!((passed.dropped().len(), passed.calls_dropped), (0, 1));
    assert_eq!(bench.recorded(), (vec![], vec![]));
    assert!(bench.capture.registry().is_empty());
}

#[test]
fn a_call_that_waits_for_too_long_is_ambiguous() {
    let (capture, events) = capture(Limits { exchanges_open_max: 2, ..LIMITS });
    let bench = Bench { capture, events };
    let (number, call) = bench.call("/");
    for left in 0..3 {
        let exchange = bench.exchange(trip());
        bench.end(&exchange);
        bench.sweep();
        assert_eq!(bench.recorded(), (vec![vec![]], vec![]), "{left}");
    }
    bench.sweep();
    bench.capture.decide(number, Some(TRIP));
    bench.end(&call);
    assert_eq!(bench.recorded(), (vec![], vec![Attribution::Ambiguous]));
    assert!(bench.capture.registry().is_empty());
}

#[test]
fn a_name_decides_before_the_trace_and_the_trace_before_the_key() {
    let bench = bench();
    let [named, of_trace, with_key] = [11, 12, 13].map(|trace_id| {
        let drawn = bench.capture.sampling.draw_plain(trace_id).unwrap();
        let key = if trace_id == 13 { trip() } else { OwnKey::Read(None) };
        bench.capture.open(trace_id, drawn, key, head("/")).unwrap()
    });
    let whose = |context: Context| {
        let key = CallKey::Known(TRIP);
        let ticket = bench.capture.attribute(&"fx".into(), context, key, Instant::now());
        match ticket {
            Some(Ticket::Call { exchange, .. }) => Ok(exchange),
            Some(Ticket::Stray { attribution, .. }) => Err(attribution),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(whose(Context::Exchange(named.0)), Ok(named.0));
    assert_eq!(whose(Context::Exchange(99)), Err(Attribution::Late));
    assert_eq!(whose(Context::Other), Err(Attribution::Late));
    assert_eq!(whose(Context::Trace(12)), Ok(of_trace.0));
    // A trace that says nothing.
    assert_eq!(whose(Context::Trace(99)), Ok(with_key.0));
    assert_eq!(whose(Context::Nothing), Ok(with_key.0));
    // One that says that it is not certain.
    let drawn = bench.capture.sampling.draw_plain(12).unwrap();
    bench.capture.open(12, drawn, OwnKey::Unknown, head("/")).unwrap();
    assert_eq!(whose(Context::Trace(12)), Err(Attribution::Ambiguous));
}

fn naming() -> Naming {
    Naming::plain()
}
