//! Every rule, and which goes first.

use shadow_recorder::census::{Cell, Census, Sums};

use super::*;
use crate::chart::Chart;
use crate::policy::{Assurance, Share};
use crate::totals::Redated;
use crate::verdict::OutcomeReason;

type Change = fn(&mut Totals, &mut Policy, &mut Evidence);

/// What speaks against the replay rather than the candidate.
const OF_THE_REPLAY: [(Rule, Change, Change); 4] = [
    (
        Rule::ControlDiffers,
        |t, _, _| controlled(t, 1_000 * UNITS + 1),
        |t, _, _| controlled(t, -1_000 * UNITS),
    ),
    (
        Rule::ControlDiffers,
        |_, _, e| e.control = true,
        |t, _, e| (e.control, t.control.replayed) = (true, 1),
    ),
    (
        Rule::OwnUpstreams,
        |_, _, e| e.own_upstreams = true,
        |t, _, e| (e.own_upstreams, e.control, t.control.replayed) = (true, true, 1),
    ),
    (Rule::Doubt, |_, _, e| doubted(e), |_, _, _| {}),
];

/// What speaks against the recording.
const OF_THE_RECORDING: [(Rule, Change, Change); 3] = [
    (Rule::Incomplete, |t, _, e| of_one_stratum(t, e, 11), |t, _, e| of_one_stratum(t, e, 10)),
    (
        Rule::NotExamined,
        |_, _, e| lost(e, 1_000 * UNITS + 1, 0),
        |_, _, e| lost(e, 1_000 * UNITS, 0),
    ),
    (Rule::Dropped, |_, _, e| lost(e, 0, 1), |_, _, e| lost(e, 0, 0)),
];

/// What the chart, further dimensions and samples say.
const OF_THE_BOOKS: [(Rule, Change, Change); 5] = [
    (
        Rule::OutsideChart,
        |t, p, _| {
            booked_outside(t, false);
            charted(p);
        },
        |t, p, _| {
            booked_outside(t, true);
            charted(p);
        },
    ),
    (
        Rule::DateOrEntityChanged,
        |t, _, _| t.exchanges.entity_changed = moved(),
        |t, p, _| {
            t.exchanges.entity_changed = moved();
            judge_all(p, DimensionName::Entity);
        },
    ),
    (Rule::Sampled, |t, _, _| t.exchanges.sampled = 1, |t, _, _| t.exchanges.sampled = 0),
    (
        Rule::Sampled,
        |t, _, _| t.exchanges.sampled = 1,
        |t, p, _| (t.exchanges.sampled, p.assurance) = (1, Some(Assurance::None)),
    ),
    (
        Rule::ProjectionBeyondThreshold,
        |t, p, _| projected(t, p, 500 * UNITS + 1),
        |t, p, _| projected(t, p, 500 * UNITS),
    ),
];

/// Each rule is reached by the first change and just not by the second.
#[test]
fn every_rule_is_reached_and_just_not() {
    let cases: [(Rule, Change, Change); 15] = [
        (
            Rule::NewlyUnbalanced,
            |t, _, _| t.exchanges.newly_unbalanced = 1,
            |t, _, _| t.exchanges.newly_unbalanced = 0,
        ),
        (Rule::CandidateErrors, |t, _, e| errors(t, e, 2), |t, _, e| errors(t, e, 1)),
        (Rule::TooFewExchanges, |_, p, _| p.min_exchanges = 11, |_, p, _| p.min_exchanges = 10),
        (
            Rule::RangeTooShort,
            |_, _, e| e.range = Duration::from_millis(59_999),
            |_, _, e| e.range = Duration::from_mins(1),
        ),
        (Rule::NoThreshold, |_, p, _| no_threshold(p, true), |_, p, _| no_threshold(p, false)),
        (
            Rule::NoThreshold,
            |_, p, _| only_threshold_of(p, &["rides"]),
            |_, p, _| only_threshold_of(p, &["rides", "eats"]),
        ),
        (Rule::NoRate, |t, _, _| booked_in(t, "JPY"), |t, _, _| booked_in(t, "EUR")),
        (Rule::Incomplete, |_, _, e| e.tally = None, |_, _, _| {}),
        (Rule::Incomplete, |t, _, _| t.exchanges.outcomes.matched += 1, |_, _, _| {}),
        (
            Rule::Gaps,
            |_, _, e| e.gaps.push("instance a has not sealed".into()),
            |_, _, e| e.gaps.clear(),
        ),
        (
            Rule::Dropped,
            |_, _, e| {
                e.dropped.insert("queue_full".into(), 1);
            },
            |_, _, e| {
                e.dropped.insert("queue_full".into(), 0);
            },
        ),
        (
            Rule::NotExamined,
            |t, _, _| unexamined(t, 1_000 * UNITS + 1),
            |t, _, _| unexamined(t, -1_000 * UNITS),
        ),
        (
            Rule::MoneyUnknown,
            |t, _, _| t.exchanges.money_unknown = 1,
            |t, _, _| t.exchanges.money_unknown = 0,
        ),
        (
            Rule::MoneyUnknown,
            |t, p, _| (t.exchanges.money_unknown, p.money_unknown_max) = (3, 2),
            |t, p, _| (t.exchanges.money_unknown, p.money_unknown_max) = (2, 2),
        ),
        (Rule::MappingChanged, |_, _, e| e.mapping_changed = true, |_, _, _| {}),
    ];
    let further = OF_THE_BOOKS.into_iter().chain(OF_THE_REPLAY).chain(OF_THE_RECORDING);
    for (rule, reach, miss) in cases.into_iter().chain(further) {
        let judged_after = |change: Change| {
            let (mut totals, mut policy) = (totals(), policy());
            let mut evidence = evidence_of(&totals);
            change(&mut totals, &mut policy, &mut evidence);
            judge(&totals, &policy, &evidence).unwrap()
        };
        expect(&judged_after(reach), rule.effect(), &[rule]);
        expect(&judged_after(miss), Decision::Certified, &[]);
    }
}

/// One exchange was dropped, which booked so much beside what the journal has of rides / fares; and so many are in no census.
fn lost(evidence: &mut Evidence, units: i128, uncounted: u64) {
    let cell = Cell {
        line_of_business: Some("rides".into()),
        gl_account: Some("fares".into()),
        currency: "USD".into(),
    };
    let sums = Sums { debit_entries: 11, debit_units: 50_000 * UNITS + units, ..Sums::default() };
    evidence.dropped.insert("disk".into(), 1);
    evidence.counted.census = Census { exchanges: 11, unread: 0, cells: [(cell, sums)].into() };
    evidence.counted.uncounted = uncounted;
}

/// All exchanges are of one stratum, of which the recorders say that they recorded so many.
fn of_one_stratum(totals: &mut Totals, evidence: &mut Evidence, recorded: u64) {
    totals.exchanges.strata.insert("all".into(), totals.exchanges.outcomes.clone());
    let tally = shadow_recorder::segment::Tally {
        observed: recorded,
        recorded,
        ..shadow_recorder::segment::Tally::default()
    };
    evidence.strata.insert("all".into(), Accounted { tally, beyond: 0 });
}

fn errors(totals: &mut Totals, evidence: &mut Evidence, errored: u64) {
    let outcomes = &mut totals.exchanges.outcomes;
    (outcomes.matched, outcomes.errored) = (10 - errored, errored);
    totals.exchanges.reasons = vec![OutcomeReason {
        outcome: "errored".into(),
        reason: "status 500".into(),
        blame: Some("candidate".into()),
        count: errored,
        example: "e1".into(),
    }];
    evidence.tally = evidence_of(totals).tally;
}

fn no_threshold(policy: &mut Policy, gate: bool) {
    let none = Thresholds { gate, default: None, cells: BTreeMap::new() };
    policy.dimensions.insert(DimensionName::GlAccount, none);
}

fn only_threshold_of(policy: &mut Policy, values: &[&str]) {
    let own = || CellThreshold { threshold: threshold(1), declared: false };
    let cells = values.iter().map(|value| (vec![(*value).to_owned()], own())).collect();
    policy
        .dimensions
        .insert(DimensionName::LineOfBusiness, Thresholds { gate: true, default: None, cells });
}

fn booked_in(totals: &mut Totals, currency: &str) {
    totals.add_lines(&place("rides", "fares", currency), Part::Both, debit(UNITS), 1).unwrap();
}

/// The control's debits of rides / fares are so far from production's.
fn controlled(totals: &mut Totals, units: i128) {
    totals.add_control(&rides(), debit(units), PI_ONE).unwrap();
}

fn doubted(evidence: &mut Evidence) {
    let tally = evidence.tally.as_mut().unwrap();
    tally
        .doubts
        .insert("asked twice, the candidate booked different money in rides / fares (USD)".into());
}

fn unexamined(totals: &mut Totals, units: i128) {
    totals.add_lines(&rides(), Part::NotExamined, debit(units), 1).unwrap();
}

#[test]
fn sampling_that_left_exchanges_out_is_sampling() {
    let totals = totals();
    let mut evidence = evidence_of(&totals);
    evidence.sampled_out = 1;
    let judgement = judge(&totals, &policy(), &evidence).unwrap();
    expect(&judgement, Decision::Inconclusive, &[Rule::Sampled]);
    assert!(judgement.basis.sampled);
}

#[test]
fn a_failed_run_and_a_run_that_booked_nothing_decide_nothing() {
    let evidence = Evidence {
        run_id: "run".into(),
        failure: Some("the candidate was never reachable".into()),
        range: Duration::from_mins(1),
        ..Evidence::default()
    };
    let judgement = judge(&Totals::default(), &policy(), &evidence).unwrap();
    assert_eq!(judgement.reasons[0].rule, Rule::RunFailed);
    assert_eq!(
        (judgement.verdict, judgement.confidence, judgement.decided),
        (Decision::Inconclusive, 0, false)
    );
    assert!(judgement.why.contains("never reachable"), "{}", judgement.why);
    let mut silent = Totals::default();
    (silent.exchanges.outcomes.recorded, silent.exchanges.outcomes.matched) = (10, 10);
    expect(&judged(&silent, &policy()), Decision::Inconclusive, &[Rule::NothingBooked]);
}

#[test]
fn what_was_not_compared_has_no_score() {
    let mut totals = Totals::default();
    unexamined(&mut totals, 5_000 * UNITS);
    (totals.exchanges.outcomes.recorded, totals.exchanges.outcomes.unverified) = (10, 10);
    let judgement = judged(&totals, &policy());
    expect(&judgement, Decision::Inconclusive, &[Rule::TooFewExchanges, Rule::NotExamined]);
    assert_eq!(cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).confidence, None);
    assert_eq!((judgement.confidence, judgement.decided), (0, false));
    // Enough exchanges were compared, but what little was booked was not among them.
    let mut totals = Totals::default();
    unexamined(&mut totals, UNITS);
    (totals.exchanges.outcomes.recorded, totals.exchanges.outcomes.matched) = (10, 10);
    expect(&judged(&totals, &policy()), Decision::Inconclusive, &[Rule::NothingBooked]);
}

#[test]
fn refused_goes_before_inconclusive() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(2_000 * UNITS));
    totals.exchanges.money_unknown = 5;
    let judgement = judged(&totals, &policy());
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold, Rule::MoneyUnknown]);
    assert!(
        judgement.why.contains("the net debit difference is 2,000.00 USD"),
        "{}",
        judgement.why
    );
}

#[test]
fn the_reasons_of_one_rule_are_bounded() {
    let mut totals = totals();
    for n in 0..100 {
        differ(
            &mut totals,
            &place(&format!("lob {n:03}"), &format!("gl {n:03}"), "USD"),
            debit(2_000 * UNITS),
        );
    }
    let judgement = judged(&totals, &policy());
    let net =
        judgement.reasons.iter().filter(|reason| reason.rule == Rule::NetBeyondThreshold).count();
    assert_eq!(net, crate::rules::CELL_REASONS_MAX + 1);
}

#[test]
fn a_share_of_a_total_that_lacks_a_currency_refuses_nothing() {
    let mut policy = policy();
    let share = Share::parse("0.02").unwrap();
    for thresholds in policy.dimensions.values_mut() {
        let net = Net::Share { share: share.clone(), floor: amount(0) };
        thresholds.default = Some(Threshold { net, gross: None, per: Per::Run });
    }
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(1_100 * UNITS));
    let of_the_rest = judged(&totals, &policy);
    expect(&of_the_rest, Decision::Refused, &[Rule::NetBeyondThreshold]);
    // Another 1,000,000 JPY in the same cell would raise what it is allowed, if only their value were known.
    totals
        .add_lines(&place("rides", "fares", "JPY"), Part::Both, debit(1_000_000 * UNITS), 1)
        .unwrap();
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Inconclusive, &[Rule::NoRate]);
}

#[test]
fn the_basis_says_when_not_all_traffic_was_compared() {
    let totals = totals();
    let mut evidence = evidence_of(&totals);
    let basis = |evidence: &Evidence| judge(&totals, &policy(), evidence).unwrap().basis.text;
    assert_eq!(basis(&evidence), "all traffic of the range");
    evidence.gaps.push("instance a has not sealed".into());
    assert_eq!(basis(&evidence), "part of the traffic of the range");
}

fn moved() -> Redated {
    Redated { exchanges: 1, example: Some("e1".into()) }
}

/// Gives every cell of a dimension a threshold.
fn judge_all(policy: &mut Policy, name: DimensionName) {
    let default = Some(threshold(1_000));
    policy.dimensions.insert(name, Thresholds { gate: true, default, cells: BTreeMap::new() });
}

/// Half of what such a difference stands for was drawn.
fn projected(totals: &mut Totals, policy: &mut Policy, units: i128) {
    sampled(totals, &rides(), debit(units), PI_ONE / 2);
    policy.assurance = Some(Assurance::None);
}

/// A chart of what `totals` books.
fn charted(policy: &mut Policy) {
    policy.chart = Some(Chart::parse(b"gl_account\nfares\nfees\n").unwrap());
}

/// The candidate books nothing worth speaking of under an account; production too, or not.
fn booked_outside(totals: &mut Totals, by_production: bool) {
    let part = if by_production { Part::Both } else { Part::Shadow };
    totals.add_lines(&place("rides", "9999", "USD"), part, debit(0), 1).unwrap();
}
