//! Which calls belong to which exchange when many are open at once, and what a sample leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use http_body_util::Full;
use shadow_recorder::exchange::{Attribution, Exchange, PI_ONE};
use shadow_recorder::segment::Calls;
use tokio::process::Command;
use tokio::sync::Barrier;

use crate::harness::*;

/// Exchanges that are open at once where it matters, and elsewhere.
const MANY: usize = 500;
const FEW: usize = 100;
const CONTEXT: &[&str] = &["traceparent", "tracestate"];
const TRACE_ONLY: &[&str] = &["traceparent"];

/// One run: exchanges are open together, each makes the same call, and each call is answered differently.
struct Trial {
    exchanges: usize,
    /// The fields that the service passes on.
    passed_on: &'static [&'static str],
    recorder: &'static str,
    upstream: &'static str,
    /// Whether each exchange has a trace of its own although keys are shared.
    own_traces: bool,
}

/// What came of it.
struct Outcome {
    stored: Stored,
    calls: Calls,
    metrics: BTreeMap<String, u64>,
    /// What the upstream answered to each exchange, by its number.
    answers: BTreeMap<usize, String>,
}

/// Returns whether exchange `n` shares its trace, or its key, with one other: two of five do.
fn is_paired(n: usize) -> bool {
    n % 5 < 2
}

/// The trace, or the key, of exchange `n`.
fn shared(n: usize) -> usize {
    if is_paired(n) { n / 5 * 5 } else { n }
}

fn number(exchange: &Exchange) -> usize {
    exchange.request.target.rsplit('/').next().unwrap().parse().unwrap()
}

impl Trial {
    async fn run(&self) -> Outcome {
        // Each exchange holds two connections at either end, and each call two more.
        raise_open_files();
        let folder = tempfile::tempdir().unwrap();
        let rates = Arc::new(AtomicU64::new(0));
        let fx = server(move |_| {
            let rate = rates.fetch_add(1, Ordering::Relaxed);
            async move { text(format!("{{\"rate\":{rate}}}")) }
        })
        .await;
        let egress = Egress::default();
        let (known, all, passed_on) =
            (Arc::clone(&egress), Arc::new(Barrier::new(self.exchanges)), self.passed_on);
        let origin = server(move |request| {
            let (egress, all) = (Arc::clone(&known), Arc::clone(&all));
            async move {
                all.wait().await;
                let trip = request.headers()["x-trip"].clone();
                let mut asked = post("/rate", request.body().clone());
                asked.headers_mut().insert("x-trip-id", trip);
                let answer = call(&egress, "fx", asked, &request, passed_on).await;
                all.wait().await;
                text(answer.into_body())
            }
        })
        .await;
        write_config(folder.path(), origin, &[("fx", fx)], self.recorder);
        let file = folder.path().join("shadow.toml");
        let config = std::fs::read_to_string(&file).unwrap() + self.upstream + "\n";
        std::fs::write(&file, config).unwrap();
        let binary = Command::new(env!("CARGO_BIN_EXE_shadow-recorder"));
        let sidecar = Sidecar::run(folder.path(), binary).await;
        egress.set(sidecar.egress.clone()).unwrap();

        let at = sidecar.clients;
        let own_traces = self.own_traces;
        let sent = (0..self.exchanges).map(|n| {
            let (trip, trace) = (shared(n), if own_traces { n } else { shared(n) });
            let request = Request::post(format!("/trips/{trip}/{n}"))
                .header("x-trip", trip)
                .header("traceparent", parent(trace))
                .body(Full::from(format!("{{\"trip\":{{\"id\":{trip}}}}}")))
                .unwrap();
            tokio::spawn(async move { (n, send(at, request).await) })
        });
        let mut answers = BTreeMap::new();
        for sent in sent.collect::<Vec<_>>() {
            let (n, answer) = sent.await.unwrap();
            assert_eq!(answer.status(), 200);
            answers.insert(n, String::from_utf8(answer.body().to_vec()).unwrap());
        }
        let different: BTreeSet<&String> = answers.values().collect();
        assert_eq!(different.len(), self.exchanges);
        let mut metrics = BTreeMap::new();
        until("every exchange is recorded or counted", async || {
            metrics = scrape(&sidecar).await;
            let of = |name| metrics.get(name).copied().unwrap_or(0);
            of("exchanges_recorded_total") + of("exchanges_sampled_out_total")
                == answers.len() as u64
        })
        .await;
        let stored = sidecar.stop().await;
        let outcome = Outcome { calls: stored.calls(), stored, metrics, answers };
        outcome.check();
        outcome
    }
}

impl Outcome {
    /// Checks what holds for every trial: nothing is guessed, and every counter says the same.
    fn check(&self) {
        let Self { stored, calls, metrics, answers } = self;
        for exchange in &stored.exchanges {
            let answer = &answers[&number(exchange)];
            let response = exchange.response.as_ref().unwrap();
            assert_eq!(response.body.text.as_ref(), Some(answer));
            for call in &exchange.upstream {
                let called = call.response.as_ref().unwrap();
                assert_eq!(called.body.text.as_ref(), Some(answer), "a call of another exchange");
            }
        }
        let attributed = stored.exchanges.iter().map(|e| e.upstream.len() as u64).sum::<u64>();
        let ambient = |attribution| {
            stored.ambient.iter().filter(|a| a.attribution == attribution).count() as u64
        };
        let expected = Calls {
            attributed,
            ambiguous: ambient(Attribution::Ambiguous),
            unattributed: ambient(Attribution::Unattributed),
            late: ambient(Attribution::Late),
            sampled_out: answers.len() as u64 - attributed - stored.ambient.len() as u64,
            dropped: 0,
        };
        assert_eq!(*calls, expected);
        let of = |name: &str| metrics.get(name).copied().unwrap_or(0);
        let call = |name| of(&format!("upstream_calls_total{{attribution=\"{name}\"}}"));
        let counted = Calls {
            attributed: call("attributed"),
            ambiguous: call("ambiguous"),
            unattributed: call("unattributed"),
            late: call("late"),
            sampled_out: call("sampled_out"),
            dropped: of("upstream_calls_dropped_total"),
        };
        assert_eq!(counted, expected);
        let tally = &stored.tally;
        assert_eq!(tally.observed, answers.len() as u64);
        assert_eq!(tally.recorded, stored.exchanges.len() as u64);
        assert_eq!(tally.dropped, BTreeMap::new());
        assert_eq!(of("exchanges_observed_total"), tally.observed);
        assert_eq!(of("exchanges_recorded_total"), tally.recorded);
        assert_eq!(of("exchanges_sampled_out_total"), tally.sampled_out);
    }

    /// Checks that exactly the exchanges that `has_call` names have their call.
    fn check_calls(&self, has_call: impl Fn(usize) -> bool) {
        for exchange in &self.stored.exchanges {
            let n = number(exchange);
            assert_eq!(exchange.upstream.len(), usize::from(has_call(n)), "exchange {n}");
        }
    }

    /// Returns the numbers of the exchanges recorded.
    fn recorded(&self) -> BTreeSet<usize> {
        self.stored.exchanges.iter().map(number).collect()
    }
}

async fn scrape(sidecar: &Sidecar) -> BTreeMap<String, u64> {
    let answer = send(sidecar.admin, get("/metrics")).await;
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    let samples = text.lines().filter_map(|line| line.strip_prefix("shadow_recorder_"));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

const EVERYTHING: Trial =
    Trial { exchanges: MANY, passed_on: CONTEXT, recorder: "", upstream: "", own_traces: false };

#[tokio::test(flavor = "multi_thread")]
async fn with_tracestate_every_call_is_in_its_own_exchange() {
    let outcome = EVERYTHING.run().await;
    outcome.check_calls(|_| true);
    assert_eq!((outcome.calls.attributed, outcome.stored.ambient.len()), (MANY as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_traceparent_alone_shared_traces_are_ambiguous() {
    let outcome = Trial { passed_on: TRACE_ONLY, ..EVERYTHING }.run().await;
    outcome.check_calls(|n| !is_paired(n));
    let Calls { attributed, ambiguous, .. } = outcome.calls;
    assert_eq!((attributed, ambiguous), (300, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_key_finds_the_calls_of_a_service_that_passes_nothing_on() {
    for (exchanges, of_exchange, of_call) in [
        (MANY, "{ json = \"$.trip.id\" }", "{ json = \"$.trip.id\" }"),
        (FEW, "{ json = \"$.trip.id\" }", "{ header = \"x-trip-id\" }"),
        (FEW, "{ path = '^/trips/([0-9]+)/' }", "{ json = \"$.trip.id\" }"),
        (FEW, "{ path = '^/trips/([0-9]+)/' }", "{ header = \"x-trip-id\" }"),
    ] {
        let line = |key| &*format!("business_key = {key}").leak();
        let trial = Trial {
            exchanges,
            passed_on: &[],
            recorder: line(of_exchange),
            upstream: line(of_call),
            own_traces: true,
        };
        let outcome = trial.run().await;
        outcome.check_calls(|n| !is_paired(n));
        let Calls { attributed, ambiguous, .. } = outcome.calls;
        let expected = (exchanges as u64 / 5 * 3, exchanges as u64 / 5 * 2);
        assert_eq!((attributed, ambiguous), expected, "{of_exchange} {of_call}");
        assert_eq!(outcome.metrics["business_keys_unread_total"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_sample_only_the_calls_of_what_is_recorded_are_kept() {
    const HALF: &str = "sampling_rate = \"0.5\"\nsampling_key = \"the same for all\"";
    const KEYED: &str = "sampling_rate = \"0.5\"\nsampling_key = \"the same for all\"\nbusiness_key = { json = \"$.trip.id\" }";
    const OF_CALL: &str = "business_key = { json = \"$.trip.id\" }";
    let half = Trial { recorder: HALF, ..EVERYTHING };
    let outcome = half.run().await;
    outcome.check_calls(|_| true);
    assert_eq!(outcome.stored.ambient.len(), 0);
    let recorded = outcome.recorded();
    // Five standard deviations, of which pairs make more.
    assert!(recorded.len().abs_diff(MANY / 2) < 66, "{}", recorded.len());
    for n in (0..MANY).step_by(5) {
        assert_eq!(recorded.contains(&n), recorded.contains(&(n + 1)), "a trace is not torn");
    }
    for exchange in &outcome.stored.exchanges {
        let sample = &exchange.sample;
        assert_eq!((sample.pi, &*sample.stratum), (PI_ONE / 2, "all"));
        assert!(sample.draw < sample.pi);
    }
    assert!(
        outcome
            .stored
            .text
            .contains("\"sampling\":{\"rule\":\"trace\",\"rate\":\"0.5\",\"pi\":4503599627370496}")
    );
    assert!(!outcome.stored.text.contains("the same for all"));

    // The same key draws the same, whatever the service passes on.
    let few = Trial { exchanges: FEW, recorder: HALF, ..EVERYTHING };
    let outcome = Trial { passed_on: TRACE_ONLY, ..few }.run().await;
    let recorded: BTreeSet<usize> = recorded.range(..FEW).copied().collect();
    assert_eq!(outcome.recorded(), recorded);
    outcome.check_calls(|n| !is_paired(n));
    let paired = recorded.iter().filter(|n| is_paired(**n)).count() as u64;
    assert_eq!(outcome.calls.ambiguous, paired);
    assert_eq!(outcome.calls.sampled_out, (FEW - recorded.len()) as u64);

    let outcome = Trial { passed_on: &[], recorder: KEYED, upstream: OF_CALL, ..few }.run().await;
    assert_eq!(outcome.recorded(), recorded);
    outcome.check_calls(|n| !is_paired(n));
    assert_eq!(outcome.calls.ambiguous, paired);
    assert_eq!(outcome.calls.sampled_out, (FEW - recorded.len()) as u64);

    // A lower rate keeps a part of it.
    let quarter = "sampling_rate = \"0.25\"\nsampling_key = \"the same for all\"";
    let outcome = Trial { recorder: quarter, ..few }.run().await;
    let fewer = outcome.recorded();
    assert!(fewer.is_subset(&recorded) && fewer.len() < recorded.len(), "{}", fewer.len());
}
