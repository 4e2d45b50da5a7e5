use super::*;
use crate::verdict::{
    Assumed, Basis, Candidate, Completeness, Coverage, Differing, DimensionName, Earlier, FORMAT,
    FirstSeen, History, Judged, Kinds, Latency, LedgerValidation, Losses, Measure, OutcomeReason,
    Outcomes, OutsideChart, OutsidePlace, Policy, PolicyChange, Reason, Replay, Rule, Signature,
    Signatures, Structure, TimeCoverage, Unbalanced, UpstreamCalls, VERSION,
};

fn judged(difference: &str, threshold: Option<&str>, confidence: Option<u8>) -> Judged {
    Judged {
        debit: difference.into(),
        credit: "0.00".into(),
        balance: difference.into(),
        worst: Measure::Debit,
        threshold: threshold.map(Into::into),
        confidence,
        breached: confidence != Some(100),
        day: None,
        observed: None,
    }
}

fn cell(value: &str, net: &str, confidence: u8) -> Cell {
    Cell {
        value: vec![value.into()],
        new: false,
        declared: false,
        currencies: Vec::new(),
        net: Some(judged(net, Some("1000.00"), Some(confidence))),
        gross: Some(judged(net, Some("5000.00"), Some(100))),
        not_examined: Some("0.00".into()),
        confidence: Some(confidence),
        exchanges_differing: u64::from(net != "0.00"),
        entries_primary: 1,
        entries_shadow: 1,
    }
}

fn replay() -> Replay {
    Replay {
        upstreams: "recorded".into(),
        isolation_proven: false,
        isolation: "isolation not proven: it was not looked at".into(),
        state: "stateless".into(),
        assumed: Assumed::default(),
    }
}

fn dimensions() -> Vec<Dimension> {
    let dimension = |name, gated, cells| Dimension { name, gated, cells };
    vec![
        dimension(
            DimensionName::LineOfBusiness,
            true,
            vec![cell("rides", "2000.00", 50), cell("eats\u{1b}", "0.00", 100)],
        ),
        dimension(DimensionName::GlAccount, false, vec![cell("hidden", "9.00", 1)]),
    ]
}

fn policy() -> Policy {
    Policy {
        sha256: "0".into(),
        mapping_sha256: "0".into(),
        min_exchanges: 1,
        min_range_seconds: 0,
        candidate_errors_max: 0,
        money_unknown_max: 0,
        accounting_period: "month".into(),
        assurance: None,
        rates_file: None,
        chart_sha256: None,
        thresholds: Vec::new(),
        state: "stateless".into(),
        ignored: Vec::new(),
        expected_sha256: None,
        expected: Vec::new(),
        assumptions: Vec::new(),
    }
}

fn certified() -> Certified {
    let outcomes =
        Outcomes { recorded: 10, matched: 7, different: 2, unverified: 1, ..Outcomes::default() };
    let reason = |text: &str| Reason {
        rule: Rule::NetBeyondThreshold,
        effect: Decision::Refused,
        text: text.into(),
        cell: None,
    };
    let verdict = Verdict {
        format: FORMAT.into(),
        version: VERSION,
        run_id: "0197".into(),
        revision: 1,
        service: "bookings".into(),
        candidate: Candidate { build: "2.3.0".into(), url: "http://127.0.0.1:1".into() },
        primary_build: Some("1.0.0".into()),
        from: "2026-11-20T07:00:00Z".parse().unwrap(),
        to: "2026-11-20T08:00:00Z".parse().unwrap(),
        decided_at: "2026-11-20T08:01:00Z".parse().unwrap(),
        verdict: Decision::Refused,
        confidence: 50,
        decided: true,
        why: "Rides is off.".into(),
        reasons: (0..7).map(|n| reason(&format!("Reason {n}."))).collect(),
        basis: Basis { sampled: false, text: "all traffic of the range".into() },
        next: "Fix the build.".into(),
        exchanges: outcomes,
        completeness: Completeness {
            complete: true,
            text: "every recorded exchange is accounted for".into(),
            strata: Vec::new(),
        },
        time: TimeCoverage::default(),
        ledger: LedgerValidation::default(),
        coverage: Coverage::default(),
        reporting_currency: "USD".into(),
        rates: [("USD".to_owned(), "1".to_owned())].into(),
        dimensions: dimensions(),
        differing: Differing::default(),
        not_compared: vec![OutcomeReason {
            outcome: "unverified".into(),
            reason: "GET /fx was never recorded".into(),
            blame: Some("harness".into()),
            count: 1,
            example: "x".into(),
        }],
        losses: Losses::default(),
        upstream: UpstreamCalls::default(),
        latency: Latency::default(),
        signatures: Signatures::default(),
        history: History::default(),
        expected: Vec::new(),
        policy: policy(),
        control: None,
        outside_chart: None,
        replay: Some(replay()),
        supplied: None,
        structure: Structure::default(),
        kinds: Kinds::default(),
    };
    Certified { verdict, document: "store/verdict.json".into(), report: "store/report.html".into() }
}

#[test]
fn a_verdict_reads_in_twenty_lines() {
    let expected = "\
REFUSED  score 50 of 100  (all traffic of the range)

  bookings 2.3.0 against production 1.0.0, 2026-11-20T07:00:00Z to 2026-11-20T08:00:00Z
  every recorded exchange is accounted for
  why: Rides is off.
  also refused: Reason 1.
  also refused: Reason 2.
  also refused: Reason 3.
  also refused: Reason 4.
  and 2 further reasons

  the worst 2 of 2 cells, in USD:
  DIMENSION         CELL        NET  THRESHOLD     GROSS  THRESHOLD  SCORE
  line_of_business  rides  2,000.00   1,000.00  2,000.00   5,000.00     50
  line_of_business  eats       0.00   1,000.00      0.00   5,000.00    100

  not examined: 1 exchange; most often: GET /fx was never recorded
  isolation not proven: it was not looked at
  report:  store/report.html
  verdict: store/verdict.json
  next: Fix the build.
";
    assert_eq!(render(&certified(), false), expected);
}

#[test]
fn kinds_of_difference_and_what_does_not_balance_are_told_where_there_are_any() {
    let mut certified = certified();
    let count = |kind: &str, field: Option<&str>, exchanges| KindCount {
        kind: kind.into(),
        field: field.map(str::to_owned),
        exchanges,
        lines: 9,
    };
    certified.verdict.kinds = Kinds {
        lines: vec![count("reclassified", None, 2), count("field_changed", Some("memo"), 1)],
        unbalanced: Unbalanced { primary: 0, shadow: 1, newly: 1 },
    };
    let text = render(&certified, false);
    for expect in [
        "  differences: reclassified in 2 exchanges, field changed (memo) in 1 exchange\n",
        "  unbalanced: 0 transactions of production, 1 transaction of the candidate\n",
    ] {
        assert!(text.contains(expect), "{text}");
    }
}

#[test]
fn what_is_new_and_what_was_before_is_told_after_the_table() {
    let mut verdict = certified();
    let at = "2026-11-19T08:01:00Z".parse().unwrap();
    let earlier = |run: &str, build: &str, verdict| Earlier {
        run_id: run.into(),
        revision: 1,
        build: build.into(),
        decided_at: at,
        verdict,
        policy_sha256: "p".into(),
    };
    let class = |kind: &str, new| Signature {
        kind: kind.into(),
        line_of_business: Some("eats".into()),
        gl_account: Some("4000".into()),
        direction: "less credit".into(),
        exchanges: 2,
        new: Some(new),
        first: Some(FirstSeen { run_id: "0100".into(), build: "2.0.0".into(), decided_at: at }),
        ..Signature::default()
    };
    verdict.verdict.signatures = Signatures {
        shown: vec![class("reclassified", true), class("missing", false)],
        left_out: 1,
    };
    verdict.verdict.history = History {
        last_certified: Some(earlier("0101", "2.1.0", Decision::Certified)),
        policy_changes: vec![PolicyChange {
            line: "gl_account default net".into(),
            before: Some("1000.00".into()),
            after: Some("5000.00".into()),
        }],
        same_build: vec![earlier("0150", "2.3.0", Decision::Refused)],
        ..History::default()
    };
    let expected = "  3 classes of difference, 1 new since run 0101 of build 2.1.0
    NEW    reclassified eats / 4000: less credit, 2 exchanges
    known  missing eats / 4000: less credit, 2 exchanges, since run 0100 of build 2.0.0
  the policy changed in 1 line since run 0101 of build 2.1.0
    gl_account default net: 1000.00 -> 5000.00
  this build was judged 1 time before: refused by run 0150
";
    let text = render(&verdict, false);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn color_is_only_for_a_terminal() {
    assert!(render(&certified(), true).starts_with("\u{1b}[1;31mREFUSED\u{1b}[0m  score 50"));
    assert!(!render(&certified(), false).contains('\u{1b}'));
}

#[test]
fn without_a_judgement_there_is_no_score() {
    let mut undecided = certified();
    (undecided.verdict.decided, undecided.verdict.verdict) = (false, Decision::Inconclusive);
    undecided.verdict.dimensions.clear();
    assert!(render(&undecided, false).starts_with("INCONCLUSIVE  no score  ("));
}

#[test]
fn the_document_reads_back_whole() {
    let verdict = certified().verdict;
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn a_day_a_sub_sample_and_accounts_that_nobody_opened_are_said() {
    let mut certified = certified();
    let verdict = &mut certified.verdict;
    let rides = &mut verdict.dimensions[0].cells[0];
    rides.net.as_mut().unwrap().day = Some(jiff::civil::date(2026, 11, 20));
    verdict.exchanges.filtered = 90;
    let not_drawn = OutcomeReason {
        outcome: "filtered".into(),
        reason: NOT_DRAWN.into(),
        blame: None,
        count: 90,
        example: "y".into(),
    };
    verdict.not_compared.insert(0, not_drawn);
    let place = OutsidePlace {
        line_of_business: "rides".into(),
        gl_account: "9999".into(),
        entries_primary: 0,
        entries_shadow: 1,
    };
    verdict.outside_chart = Some(OutsideChart { places: vec![place], left_out: 1 });
    let text = render(&certified, false);
    assert!(text.contains("(2026-11-20)"), "{text}");
    assert!(text.contains("not examined: 1 exchange; most often: GET /fx"), "{text}");
    let outside = "outside of the chart: rides / 9999 (the candidate alone), 1 more\n";
    assert!(text.contains(outside), "{text}");
}
