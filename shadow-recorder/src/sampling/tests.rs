use std::collections::BTreeMap;

use http::HeaderName;
use proptest::prelude::*;

use super::*;
use crate::exchange::{Body, End, ExchangeId, Response};
use crate::ledger::{Entry, Path, Route, Transaction};

fn draw(sampling: &Sampling, trace: u128) -> Option<Drawn> {
    sampling.draw_plain(trace)
}

fn rules(rate: &str, key: &str) -> Sampling {
    Sampling::new(Rate::parse(rate).unwrap(), Some(Key::derive(key))).unwrap()
}

fn kept(sampling: &Sampling, traces: u128) -> u32 {
    let kept = (1..=traces).filter(|trace| draw(sampling, *trace).is_some());
    u32::try_from(kept.count()).unwrap()
}

/// Computed by another implementation of SHA-256 and SipHash-2-4.
#[test]
fn the_draw_of_a_trace_never_changes() {
    for (key, trace, expect) in [
        (
            "a key for all sidecars",
            0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            6_690_080_533_367_843,
        ),
        ("a key for all sidecars", 1, 3_032_281_169_133_508),
        ("another key", 1, 4_976_621_471_190_566),
    ] {
        let drawn = draw(&rules("1", key), trace).unwrap();
        assert_eq!(
            (drawn.u, drawn.pi),
            (Some((expect, Unit::Trace)), Some(PI_ONE)),
            "{key} {trace:x}"
        );
    }
}

#[test]
fn a_rate_is_exact_and_rounded_down() {
    for (text, pi) in [
        ("1", PI_ONE),
        ("1.0", PI_ONE),
        ("0.5", PI_ONE / 2),
        ("0.25", PI_ONE / 4),
        // 2⁵³ / 10 = 900719925474099.2
        ("0.1", 900_719_925_474_099),
        ("0.001", 9_007_199_254_740),
        ("0.999999999999999", 9_007_199_254_740_982),
        ("0.000000000000001", 9),
    ] {
        assert_eq!(Rate::parse(text).unwrap().pi(), pi, "{text}");
    }
    for text in [
        "",
        "0",
        "0.0",
        "2",
        "1.1",
        "1.000000000000001",
        "-0.5",
        "+0.5",
        ".5",
        "5%",
        "0.5 ",
        "1e-1",
        "0,5",
        "00.5",
        "0.",
        "0.0000000000000001",
    ] {
        assert!(Rate::parse(text).unwrap_err().contains("is not a rate"), "{text}");
    }
}

#[test]
fn the_kept_share_is_the_rate() {
    // Consecutive ids, as a client could choose. Bounds of five standard deviations.
    for (rate, expect, deviation) in
        [("0.5", 50_000, 158), ("0.1", 10_000, 95), ("0.01", 1_000, 31)]
    {
        let kept = kept(&rules(rate, "k"), 100_000);
        assert!(kept.abs_diff(expect) < 5 * deviation, "{rate}: {kept}");
    }
    assert_eq!(kept(&Sampling::everything(), 1_000), 1_000);
}

#[test]
fn another_key_draws_another_sample() {
    let (one, other) = (rules("0.5", "one"), rules("0.5", "other"));
    let agree = (0..10_000).filter(|t| draw(&one, *t).is_some() == draw(&other, *t).is_some());
    // As often as two coins do; five standard deviations.
    let agree = agree.count();
    assert!(agree.abs_diff(5_000) < 250, "{agree}");
}

#[test]
fn without_a_key_there_is_only_everything() {
    assert!(Sampling::new(Rate::parse("0.5").unwrap(), None).is_none());
    let everything = Sampling::new(Rate::one(), None).unwrap();
    assert_eq!(draw(&everything, 7), Some(Drawn::of_everything()));
    let sample = decided(&everything, 7, &Request::new(()), &exchange(None), None);
    assert_eq!(sample, Some(Sample::everything()));
    let half = Stratum { rate: Rate::parse("0.5").unwrap(), ..stratum("half") };
    assert!(everything.with_strata(vec![half], Sizes::default()).is_none());
}

#[test]
fn the_key_is_not_printed() {
    let text = format!("{:?}", rules("0.5", "secret"));
    assert!(text.contains("Key(…)") && text.contains("0.5"), "{text}");
}

proptest! {
    #[test]
    fn lower_rates_keep_subsets(trace: u128, a in 1_u32..=1000, b in 1_u32..=1000) {
        let of = |thousandths: u32| {
            let text = if thousandths == 1000 { "1".into() } else { format!("0.{thousandths:03}") };
            draw(&rules(&text, "k"), trace)
        };
        let (low, high) = (of(a.min(b)), of(a.max(b)));
        prop_assert!(low.is_none() || high.is_some());
        if let (Some(low), Some(high)) = (low, high) {
            prop_assert_eq!(low.u, high.u);
            prop_assert!(low.u.unwrap().0 < low.pi.unwrap() && low.pi <= high.pi);
        }
    }
}

fn stratum(name: &str) -> Stratum {
    Stratum {
        name: name.into(),
        route: None,
        header: None,
        answer: None,
        lines_of_business: Vec::new(),
        rate: Rate::one(),
        interval: None,
    }
}

/// An exchange as the writer has it, with this answer.
fn exchange(answer: Option<&str>) -> Exchange {
    let request = crate::exchange::Request {
        method: "POST".into(),
        target: "/".into(),
        version: "HTTP/1.1".into(),
        headers: Vec::new(),
        body: Body::default(),
        trailers: Vec::new(),
        principal: None,
    };
    let response = answer.map(|text| Response {
        status: 200,
        headers: Vec::new(),
        body: Body::of_text(text),
        trailers: Vec::new(),
    });
    Exchange {
        id: ExchangeId(String::new()),
        trace_id: String::new(),
        received_at: jiff::Timestamp::UNIX_EPOCH,
        sequence: 1,
        duration_us: 1,
        service: "ledger".into(),
        build: "p1".into(),
        order_key: None,
        request,
        response,
        end: End::Complete,
        upstream: Vec::new(),
        sample: Sample::everything(),
    }
}

/// Draws at the head and decides at the end; returns the sample where it is kept.
fn decided<B>(
    sampling: &Sampling,
    trace: u128,
    request: &Request<B>,
    exchange: &Exchange,
    reading: Option<&Reading>,
) -> Option<Sample> {
    let AtHead::Open(drawn) = sampling.draw(trace, request) else { return None };
    match sampling.decide(drawn, trace, exchange, reading) {
        Decision::Kept(_, sample) => Some(sample),
        Decision::Out(_) => None,
    }
}

fn booked(line_of_business: &str, amount: i128) -> Reading {
    let entry = Entry {
        line_of_business: line_of_business.into(),
        gl_account: "4000".into(),
        currency: "USD".into(),
        debit: Amount::from_units(amount).unwrap(),
        credit: Amount::ZERO,
        ..Entry::default()
    };
    Reading::Booked(vec![Transaction { key: None, entries: vec![entry] }])
}

fn request(target: &str, market: &str) -> Request<()> {
    Request::post(target).header("x-market", market).body(()).unwrap()
}

/// Five strata by every kind of condition, in an order in which some depend on the answer before others do not.
fn strata() -> Vec<Stratum> {
    let header = (HeaderName::from_static("x-market"), vec!["eu".to_owned(), "uk".to_owned()]);
    let answer = (Path::parse("$.kind").unwrap(), vec!["7".to_owned(), "refund".to_owned()]);
    let rate = |text| Rate::parse(text).unwrap();
    let route = |text| Some(Route::parse(text).unwrap());
    vec![
        Stratum { route: route("GET /health"), rate: rate("0.1"), ..stratum("health") },
        Stratum { lines_of_business: vec!["Freight".into()], ..stratum("freight") },
        Stratum { answer: Some(answer), rate: rate("0.2"), ..stratum("refunds") },
        Stratum { header: Some(header), rate: rate("0.3"), ..stratum("europe") },
        Stratum {
            route: route("POST /trips/*"),
            rate: rate("0.01"),
            interval: Some("1000".parse().unwrap()),
            ..stratum("trips")
        },
    ]
}

fn stratified(rate: &str, key: &str) -> Sampling {
    let sizes = Sizes { currency: "USD".into(), rates: BTreeMap::new() };
    rules(rate, key).with_strata(strata(), sizes).unwrap()
}

#[test]
fn an_exchange_belongs_to_the_first_stratum_whose_conditions_hold() {
    let sampling = stratified("0.4", "k");
    let of = |target: &str, market: &str, answer: &str, reading: Option<&Reading>| {
        let request = if target == "/health" {
            Request::get(target).body(()).unwrap()
        } else {
            request(target, market)
        };
        // Traces are many enough for one to be kept at every rate.
        let kept = (1..500).find_map(|trace| {
            decided(&sampling, trace, &request, &exchange(Some(answer)), reading)
        });
        let sample = kept.unwrap();
        (sample.stratum, sample.pi, sample.size.map(|size| size.to_string()))
    };
    let pi = |text| Rate::parse(text).unwrap().pi();
    let (freight, eats) = (booked("Freight", 250_000_000_000), booked("Eats", 250_000_000_000));
    for ((target, market, answer, reading), expect) in [
        (("/health", "eu", "{}", None), ("health", pi("0.1"), None)),
        (("/trips/1", "eu", r#"{"kind":7}"#, Some(&freight)), ("freight", PI_ONE, None)),
        (("/trips/1", "eu", r#"{"kind":7}"#, Some(&eats)), ("refunds", pi("0.2"), None)),
        (("/other", "us", r#"{"kind":"refund"}"#, None), ("refunds", pi("0.2"), None)),
        (("/other", "uk", "{}", None), ("europe", pi("0.3"), None)),
        (("/trips/1", "us", "{}", Some(&eats)), ("trips", PI_ONE / 4, Some("250.00"))),
        (("/trips/1", "us", "{}", Some(&Reading::Failed)), ("trips", pi("0.01"), Some("0.00"))),
        // Nothing is thinned out of ignorance.
        (
            ("/trips/1", "us", "{}", Some(&Reading::Unparseable(String::new()))),
            ("trips", PI_ONE, None),
        ),
        (("/trips/1", "us", "<html>", None), ("trips", PI_ONE, None)),
        (("/other", "us", "{}", Some(&eats)), ("rest", pi("0.4"), None)),
    ] {
        let expect = (expect.0.to_owned(), expect.1, expect.2.map(str::to_owned));
        assert_eq!(of(target, market, answer, reading), expect, "{target} {market} {answer}");
    }
}

#[test]
fn nothing_is_opened_that_cannot_be_kept() {
    let sampling = stratified("0.4", "k");
    let health = Request::get("/health").body(()).unwrap();
    for trace in 0..500 {
        let u = sampling.number(trace);
        // What the head decides is decided there.
        let is_open = matches!(sampling.draw(trace, &health), AtHead::Open(_));
        assert_eq!(is_open, u < Rate::parse("0.1").unwrap().pi());
        // Any answer may be Freight's, of which everything is kept.
        assert!(matches!(sampling.draw(trace, &request("/other", "us")), AtHead::Open(_)));
    }
    let rare = vec![Stratum { rate: Rate::parse("0.2").unwrap(), ..strata().remove(1) }];
    let thin = rules("0.1", "k").with_strata(rare, Sizes::default()).unwrap();
    for trace in 0..500 {
        let is_open = matches!(thin.draw(trace, &health), AtHead::Open(_));
        assert_eq!(is_open, thin.number(trace) < Rate::parse("0.2").unwrap().pi());
    }
    // For a census every answer is looked at, and none is kept for it.
    let census = thin.clone().with_census();
    let at = |sampling: &Sampling, trace| decided(sampling, trace, &health, &exchange(None), None);
    for trace in 0..500 {
        assert!(matches!(census.draw(trace, &health), AtHead::Open(_)));
        assert_eq!(at(&census, trace), at(&thin, trace));
    }
}

#[test]
fn an_order_key_is_drawn_as_one() {
    let source = BusinessKey { query: Some("trip".into()), ..BusinessKey::default() };
    let sampling = rules("0.5", "k").by_order_key(Arc::new(source.clone()));
    let mut kept = 0;
    for key in 0..200 {
        let request = request(&format!("/book?trip={key}"), "us");
        let samples =
            [1, 2, 3].map(|trace| decided(&sampling, trace, &request, &exchange(None), None));
        assert!(samples.iter().all(|sample| *sample == samples[0]), "{samples:?}");
        kept += usize::from(samples[0].is_some());
        assert!(samples[0].iter().all(|sample| sample.unit == Unit::OrderKey));
    }
    assert!((70..130).contains(&kept), "{kept}");
    // Without one its trace is drawn.
    let sample =
        (1..50).find_map(|t| decided(&sampling, t, &request("/", ""), &exchange(None), None));
    assert_eq!(sample.unwrap().unit, Unit::Trace);
    // One that is in the body is known at the end, and drawn alike.
    let json = Some(serde_json_path::JsonPath::parse("$.trip").unwrap());
    let in_body = rules("0.5", "k").by_order_key(Arc::new(BusinessKey { json, ..source.clone() }));
    for key in 0..50 {
        let ended = Exchange { order_key: Some(key.to_string()), ..exchange(None) };
        let in_query = request(&format!("/book?trip={key}"), "us");
        assert_eq!(
            decided(&in_body, 1, &request("/", ""), &ended, None),
            decided(&sampling, 1, &in_query, &ended, None)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate of a total, in a test")]
fn float(units: i128) -> f64 {
    units as f64
}

/// The Horvitz-Thompson estimator Σ y/π, and its variance estimated by Σ (1 − π) (y/π)² (Poisson sampling), as in Särndal, Swensson
/// and Wretman, *Model Assisted Survey Sampling*, section 3.5.
fn estimate(kept: &[(i128, u64)]) -> (f64, f64) {
    let share = |pi: u64| float(pi.into()) / float(PI_ONE.into());
    let terms = kept.iter().map(|(y, pi)| (float(*y) / share(*pi), 1.0 - share(*pi)));
    terms.fold((0.0, 0.0), |(sum, variance), (y, missing)| (sum + y, variance + missing * y * y))
}

#[test]
fn the_totals_of_each_line_of_business_are_recovered_within_their_intervals() {
    const SAMPLES: u32 = 400;
    const EXCHANGES: u32 = 3_000;
    // Rides are many and small, Eats are thinned, Freight is rare and kept whole, Payments are drawn by money, with a few of millions.
    let population: Vec<(&str, &str, i128)> = (0..EXCHANGES)
        .map(|n| match n % 30 {
            0 => ("Freight", "/freight", i128::from(n) * 7_000_000_000),
            1..=9 => ("Eats", "/eats", i128::from(n % 97 + 1) * 1_000_000_000),
            10..=14 => {
                let amount = i128::from(n % 53 + 1).pow(3) * 1_000_000_000;
                ("Payments", "/trips/1", if n % 500 == 10 { amount * 10_000 } else { amount })
            }
            _ => ("Rides", "/rides", i128::from(n % 41 + 1) * 500_000_000),
        })
        .collect();
    let eats = Stratum {
        lines_of_business: vec!["Eats".into()],
        rate: Rate::parse("0.2").unwrap(),
        ..stratum("eats")
    };
    let [_, freight, _, _, trips] = strata().try_into().unwrap();
    let strata =
        vec![freight, eats, Stratum { interval: Some("100000".parse().unwrap()), ..trips }];
    let mut totals: BTreeMap<&str, i128> = BTreeMap::new();
    for (line, _, amount) in &population {
        *totals.entry(line).or_default() += amount;
    }
    let mut covered: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for sample in 0..SAMPLES {
        let sizes = Sizes { currency: "USD".into(), rates: BTreeMap::new() };
        let drawing = rules("0.3", &format!("key {sample}"));
        let drawing = drawing.with_strata(strata.clone(), sizes).unwrap();
        let mut kept: BTreeMap<&str, Vec<(i128, u64)>> = BTreeMap::new();
        for (trace, (line, target, amount)) in (1..).zip(&population) {
            let (reading, request) = (booked(line, *amount), request(target, "us"));
            let drawn = decided(&drawing, trace, &request, &exchange(Some("{}")), Some(&reading));
            if let Some(drawn) = drawn {
                assert!(drawn.draw < drawn.pi);
                kept.entry(line).or_default().push((*amount, drawn.pi));
            }
        }
        for (line, total) in &totals {
            let (estimate, variance) = estimate(&kept[line]);
            let error = estimate - float(*total);
            let of = sums.entry(line).or_default();
            (of.0, of.1) = (of.0 + error, of.1 + variance);
            *covered.entry(line).or_default() += u32::from(error.abs() <= 1.96 * variance.sqrt());
        }
    }
    for (line, (error, variance)) in sums {
        let samples = f64::from(SAMPLES);
        let standard_error = (variance / samples / samples).sqrt();
        // The mean of 400 estimates: no bias beyond four standard errors of the mean.
        assert!(error.abs() / samples <= 4.0 * standard_error, "{line}: {error}, {standard_error}");
        // 95 % of the intervals hold the total; 400 draws of it stray by 1.1 points.
        let share = f64::from(covered[line]) / samples;
        assert!(share >= 0.91, "{line}: {share}");
        assert_eq!(line == "Freight", standard_error == 0.0, "{line} is kept whole, and no other");
    }
}

#[test]
fn sidecars_with_other_rates_keep_nested_sets_in_every_stratum() {
    let (few, many) = (stratified("0.1", "k"), {
        let doubled = strata().into_iter().map(|stratum| {
            let rate =
                if stratum.rate.is_one() { Rate::one() } else { Rate::parse("0.6").unwrap() };
            Stratum { rate, ..stratum }
        });
        let sizes = Sizes { currency: "USD".into(), rates: BTreeMap::new() };
        rules("0.8", "k").with_strata(doubled.collect(), sizes).unwrap()
    });
    let reading = booked("Eats", 5_000_000_000);
    let (mut kept, mut more) = (0, 0);
    for trace in 0..300 {
        for (target, market) in [("/trips/1", "us"), ("/trips/1", "eu"), ("/other", "us")] {
            let of = |sampling: &Sampling| {
                let request = request(target, market);
                decided(sampling, trace, &request, &exchange(Some("{}")), Some(&reading))
            };
            let (low, high) = (of(&few), of(&many));
            assert!(low.is_none() || high.is_some());
            kept += usize::from(low.is_some());
            more += usize::from(high.is_some());
        }
    }
    assert!(0 < kept && kept < more, "{kept} {more}");
}
