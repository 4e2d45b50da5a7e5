//! Days, samples and the dimensions that a mapping adds.

use super::*;
use crate::policy::{Assurance, Share};

/// Books a difference in one exchange with the probability π.
pub(super) fn sampled(totals: &mut Totals, place: &Place, money: Money, pi: u64) {
    differ_at(totals, place, money, pi);
    totals.exchanges.sampled += 1;
}

/// A policy under which a sample may be certified.
pub(super) fn accepting(policy: Policy) -> Policy {
    Policy { assurance: Some(Assurance::None), ..policy }
}

fn on(day: i64) -> Place {
    Place { day: Some(day), ..rides() }
}

/// A threshold of 1,000 a day for lines of business.
fn daily() -> Policy {
    let mut policy = policy();
    for (name, thresholds) in &mut policy.dimensions {
        let per = if *name == DimensionName::LineOfBusiness { Per::Day } else { Per::Run };
        let net = if per == Per::Day { 1_000 } else { 1_000_000 };
        thresholds.default = Some(Threshold { per, ..threshold(net) });
    }
    policy
}

#[test]
fn a_limit_per_day_judges_every_day_by_itself() {
    let mut totals = totals();
    for day in 0..5 {
        differ(&mut totals, &on(20_000 + day), debit(1_000 * UNITS));
    }
    let judgement = judged(&totals, &daily());
    expect(&judgement, Decision::Certified, &[]);
    assert_eq!(judgement.confidence, 100, "5,000 in all, and no day is beyond 1,000");
    differ(&mut totals, &on(20_002), debit(1_000 * UNITS));
    // Two days that offset each other are no relief.
    differ(&mut totals, &on(20_004), debit(-2_999 * UNITS));
    let judgement = judged(&totals, &daily());
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold]);
    let net = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
    assert_eq!(net.day, Some(jiff::civil::date(2024, 10, 6)));
    assert_eq!((net.difference(), net.confidence), ("2000.00", Some(50)));
    assert!(
        judgement.why.contains("the net debit difference of 2024-10-06 is 2,000.00 USD"),
        "{}",
        judgement.why
    );
}

#[test]
fn a_day_that_cannot_be_judged_leaves_nothing_but_a_breach_to_say() {
    let mut totals = totals();
    let yen = Place { currency: "JPY".into(), ..on(1) };
    differ(&mut totals, &on(0), debit(500 * UNITS));
    differ(&mut totals, &yen, debit(UNITS));
    let judgement = judged(&totals, &daily());
    expect(&judgement, Decision::Inconclusive, &[Rule::NoRate]);
    assert_eq!(cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net, None);
    differ(&mut totals, &on(2), debit(2_000 * UNITS));
    let judgement = judged(&totals, &daily());
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold, Rule::NoRate]);
}

#[test]
fn money_not_examined_on_one_day_counts_against_the_day() {
    let mut totals = totals();
    totals.add_lines(&on(1), Part::NotExamined, debit(900 * UNITS), 1).unwrap();
    totals.add_lines(&on(2), Part::NotExamined, debit(900 * UNITS), 1).unwrap();
    expect(&judged(&totals, &daily()), Decision::Certified, &[]);
    totals.add_lines(&on(2), Part::NotExamined, debit(101 * UNITS), 1).unwrap();
    expect(&judged(&totals, &daily()), Decision::Inconclusive, &[Rule::NotExamined]);
}

#[test]
fn money_not_examined_of_an_unknown_day_may_all_be_of_one() {
    let mut totals = totals();
    totals.add_lines(&on(1), Part::NotExamined, debit(900 * UNITS), 1).unwrap();
    totals.add_lines(&rides(), Part::NotExamined, debit(1_000 * UNITS), 1).unwrap();
    expect(&judged(&totals, &daily()), Decision::Certified, &[]);
    totals.add_lines(&rides(), Part::NotExamined, debit(1), 1).unwrap();
    expect(&judged(&totals, &daily()), Decision::Inconclusive, &[Rule::NotExamined]);
}

#[test]
fn a_sample_is_judged_by_what_it_stands_for() {
    let of = |units: i128, pi| {
        let mut totals = totals();
        sampled(&mut totals, &rides(), debit(units * UNITS), pi);
        judged(&totals, &accepting(policy()))
    };
    let within = of(250, PI_ONE / 4);
    expect(&within, Decision::Certified, &[]);
    let basis = Basis { sampled: true, text: "sample, no assurance".into() };
    assert_eq!((within.confidence, within.basis), (100, basis));
    let projected = of(500, PI_ONE / 4);
    expect(&projected, Decision::Inconclusive, &[Rule::ProjectionBeyondThreshold]);
    assert_eq!(projected.confidence, 50);
    let said = "the net debit difference is 500.00 USD as observed in 1 exchange of the sample and 2,000.00 USD as projected to all traffic";
    assert!(projected.why.contains(said), "{}", projected.why);
    let net = cell_of(&projected, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
    let observed = net.observed.unwrap();
    assert_eq!((&*net.debit, &*observed.debit, observed.breached), ("2000.00", "500.00", false));
    let observed = of(1_001, PI_ONE / 4);
    expect(&observed, Decision::Refused, &[Rule::NetBeyondThreshold]);
    assert_eq!(observed.confidence, 24);
}

#[test]
fn a_breach_that_was_observed_refuses_though_its_projection_offsets_it() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(1_500 * UNITS));
    sampled(&mut totals, &rides(), debit(-400 * UNITS), PI_ONE / 4);
    let judgement = judged(&totals, &accepting(policy()));
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold]);
    assert_eq!(judgement.confidence, 90);
}

#[test]
fn money_of_a_sample_that_was_not_examined_stands_for_more() {
    let mut totals = totals();
    unexamined_at(&mut totals, 600, PI_ONE / 2);
    let judgement = judged(&totals, &accepting(policy()));
    expect(&judgement, Decision::Inconclusive, &[Rule::NotExamined]);
    let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]);
    assert_eq!(cell.not_examined.as_deref(), Some("1200.00"));
}

#[test]
fn a_share_is_of_all_that_a_sample_stands_for() {
    let mut policy = accepting(policy());
    for thresholds in policy.dimensions.values_mut() {
        let net = Net::Share { share: Share::parse("0.01").unwrap(), floor: amount(0) };
        thresholds.default = Some(Threshold { net, ..threshold(0) });
    }
    let of = |units: i128| {
        let mut totals = totals();
        // 50,000 were observed, half of what there was.
        totals.project_lines(&rides(), Part::Both, debit(50_000 * UNITS), PI_ONE / 2).unwrap();
        sampled(&mut totals, &rides(), debit(units * UNITS), PI_ONE / 2);
        judged(&totals, &policy)
    };
    expect(&of(500), Decision::Certified, &[]);
    expect(&of(501), Decision::Inconclusive, &[Rule::ProjectionBeyondThreshold]);
}

#[test]
fn a_control_of_a_sample_stands_for_more() {
    let of = |units: i128| {
        let mut totals = totals();
        totals.add_control(&rides(), debit(units * UNITS), PI_ONE / 2).unwrap();
        totals.exchanges.sampled = 1;
        judged(&totals, &accepting(policy()))
    };
    expect(&of(500), Decision::Certified, &[]);
    expect(&of(501), Decision::Inconclusive, &[Rule::ControlDiffers]);
}

fn unexamined_at(totals: &mut Totals, units: i128, pi: u64) {
    let money = debit(units * UNITS);
    totals.add_lines(&rides(), Part::NotExamined, money, 1).unwrap();
    totals.project_lines(&rides(), Part::NotExamined, money, pi).unwrap();
    totals.exchanges.sampled = 1;
}

#[test]
fn a_dimension_that_the_mapping_adds_is_judged_where_it_has_a_threshold() {
    let country = DimensionName::named("country").unwrap();
    let of = |value: &str| Place { further: [(country, value.into())].into(), ..rides() };
    let mut totals = totals();
    for value in ["NL", "SE"] {
        totals.add_lines(&of(value), Part::Both, debit(UNITS), 1).unwrap();
    }
    differ(&mut totals, &of("NL"), debit(-600 * UNITS));
    differ(&mut totals, &of("SE"), debit(600 * UNITS));
    let mut policy = policy();
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Certified, &[]);
    let shown = judgement.dimensions.last().unwrap();
    assert_eq!((shown.name, shown.gated, shown.cells.len()), (country, false, 2));
    // One cell of its own: the other is shown as before.
    let own = CellThreshold { threshold: threshold(300), declared: false };
    let cells = BTreeMap::from([(vec!["SE".to_owned()], own)]);
    policy.dimensions.insert(country, Thresholds { gate: true, default: None, cells });
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold]);
    assert_eq!((judgement.confidence, judgement.reasons.len()), (50, 1));
    policy.dimensions.get_mut(&country).unwrap().gate = false;
    expect(&judged(&totals, &policy), Decision::Certified, &[]);
}

#[test]
fn a_threshold_judges_what_moved_to_another_period_instead_of_the_rule() {
    let mut totals = totals();
    totals.exchanges.period_changed.exchanges = 1;
    totals.exchanges.period_changed.example = Some("e1".into());
    let mut policy = policy();
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Inconclusive, &[Rule::DateOrEntityChanged]);
    assert!(
        judgement.next.contains("[certify.thresholds.accounting_period]"),
        "{}",
        judgement.next
    );
    let default = Some(threshold(500));
    let thresholds = Thresholds { gate: true, default, cells: BTreeMap::new() };
    policy.dimensions.insert(DimensionName::AccountingPeriod, thresholds);
    expect(&judged(&totals, &policy), Decision::Certified, &[]);
    let month = |value: &str| Place {
        further: [(DimensionName::AccountingPeriod, value.into())].into(),
        ..rides()
    };
    for value in ["2026-03", "2026-04"] {
        totals.add_lines(&month(value), Part::Both, debit(UNITS), 1).unwrap();
    }
    let moved = [(month("2026-03"), debit(-501 * UNITS)), (month("2026-04"), debit(501 * UNITS))];
    totals.add_lines(&month("2026-03"), Part::Primary, debit(501 * UNITS), 1).unwrap();
    totals.add_lines(&month("2026-04"), Part::Shadow, debit(501 * UNITS), 1).unwrap();
    totals.add_exchange(&moved, PI_ONE).unwrap();
    expect(&judged(&totals, &policy), Decision::Refused, &[Rule::NetBeyondThreshold]);
}
