use proptest::prelude::*;
use shadow_recorder::amount::{Amount, UNITS};
use shadow_recorder::exchange::PI_ONE;

use super::*;
use crate::expected::Expected;
use crate::money::{Rate, Rates};
use crate::policy::{CellThreshold, Net, Per, Period, Threshold, Thresholds};
use crate::totals::{Money, Part, Place};
use crate::verdict::{Cell, Measure, Rule};

mod expected;
mod precedence;
mod properties;
mod spans;

use spans::{accepting, sampled};

fn amount(whole: i128) -> Amount {
    Amount::from_units(whole * UNITS).unwrap()
}

fn threshold(net: i128) -> Threshold {
    Threshold { net: Net::Fixed(amount(net)), gross: None, per: Per::Run }
}

/// Thresholds of 1,000 USD everywhere, 10 exchanges enough, one candidate error accepted, EUR at 1.25.
fn policy() -> Policy {
    let thresholds =
        || Thresholds { gate: true, default: Some(threshold(1_000)), cells: BTreeMap::new() };
    Policy {
        rates: Rates {
            reporting_currency: "USD".into(),
            values: [("EUR".to_owned(), Rate::parse("1.25").unwrap())].into(),
            ..Rates::default()
        },
        min_exchanges: 10,
        min_range: Duration::from_mins(1),
        candidate_errors_max: 1,
        money_unknown_max: 0,
        expected: Expected::default(),
        period: Period::Month,
        assurance: None,
        rates_file: None,
        chart: None,
        dimensions: DimensionName::STANDARD.map(|name| (name, thresholds())).into(),
    }
}

fn place(line_of_business: &str, gl_account: &str, currency: &str) -> Place {
    Place {
        line_of_business: line_of_business.into(),
        gl_account: gl_account.into(),
        currency: currency.into(),
        ..Place::default()
    }
}

fn debit(units: i128) -> Money {
    Money { debit: units, credit: 0 }
}

/// 10 matched exchanges that booked 5,000 USD each of rides / fares and eats / fees.
fn totals() -> Totals {
    let mut totals = Totals::default();
    for cell in [place("rides", "fares", "USD"), place("eats", "fees", "USD")] {
        totals.add_lines(&cell, Part::Both, debit(50_000 * UNITS), 10).unwrap();
    }
    let outcomes = &mut totals.exchanges.outcomes;
    (outcomes.recorded, outcomes.matched) = (10, 10);
    totals
}

/// Books a difference (shadow − primary) in one exchange.
fn differ(totals: &mut Totals, place: &Place, money: Money) {
    differ_at(totals, place, money, PI_ONE);
}

fn differ_at(totals: &mut Totals, place: &Place, money: Money, pi: u64) {
    let zero = Money::default();
    totals
        .add_lines(
            place,
            Part::Primary,
            zero.minus(Money { debit: money.debit.min(0), ..zero }).unwrap(),
            1,
        )
        .unwrap();
    totals
        .add_lines(
            place,
            Part::Primary,
            zero.minus(Money { credit: money.credit.min(0), ..zero }).unwrap(),
            1,
        )
        .unwrap();
    let shadow = Money { debit: money.debit.max(0), credit: money.credit.max(0) };
    totals.add_lines(place, Part::Shadow, shadow, 1).unwrap();
    totals.add_exchange(&[(place.clone(), money)], pi).unwrap();
}

fn evidence_of(totals: &Totals) -> Evidence {
    let Outcomes { recorded, matched, different, filtered, errored, unverified } =
        totals.exchanges.outcomes;
    let tally =
        Tally { recorded, matched, different, filtered, errored, unverified, ..Tally::default() };
    Evidence {
        run_id: "run".into(),
        range: Duration::from_mins(1),
        tally: Some(tally),
        ..Evidence::default()
    }
}

fn judged(totals: &Totals, policy: &Policy) -> Judgement {
    judge(totals, policy, &evidence_of(totals)).unwrap()
}

fn cell_of<'j>(judgement: &'j Judgement, name: DimensionName, value: &[&str]) -> &'j Cell {
    let dimension = judgement.dimensions.iter().find(|dimension| dimension.name == name).unwrap();
    dimension.cells.iter().find(|cell| cell.value == value).unwrap()
}

fn rules_of(judgement: &Judgement) -> Vec<Rule> {
    let mut rules: Vec<Rule> = judgement.reasons.iter().map(|reason| reason.rule).collect();
    rules.dedup();
    rules
}

/// Asserts the verdict and its one rule, in every dimension that it is found in.
fn expect(judgement: &Judgement, verdict: Decision, rules: &[Rule]) {
    assert_eq!((judgement.verdict, &rules_of(judgement)[..]), (verdict, rules), "{judgement:#?}");
    let certified = judgement.verdict == Decision::Certified;
    assert!(!certified || (judgement.decided && judgement.confidence == 100), "{judgement:#?}");
    assert!(judgement.reasons.iter().all(|reason| reason.effect == reason.rule.effect()));
    assert!(
        judgement.why.ends_with('.') && judgement.next.ends_with('.'),
        "{} {}",
        judgement.why,
        judgement.next
    );
}

fn rides() -> Place {
    place("rides", "fares", "USD")
}

#[test]
fn equal_books_are_certified_at_100() {
    let judgement = judged(&totals(), &policy());
    expect(&judgement, Decision::Certified, &[]);
    assert_eq!((judgement.confidence, judgement.decided), (100, true));
    assert_eq!(judgement.why, "The candidate booked all 10 compared exchanges as production did.");
    assert_eq!(judgement.basis, Basis { sampled: false, text: "all traffic of the range".into() });
    assert!(judgement.completeness.complete);
}

#[test]
fn a_difference_of_the_threshold_leaves_100_and_a_hair_more_refuses() {
    let mut at = totals();
    differ(&mut at, &rides(), debit(1_000 * UNITS));
    let judgement = judged(&at, &policy());
    expect(&judgement, Decision::Certified, &[]);
    assert_eq!(judgement.confidence, 100);
    assert!(
        judgement.why.contains("1,000.00 USD of 1,000.00 USD allowed, in line of business rides"),
        "{}",
        judgement.why
    );
    let mut beyond = totals();
    differ(&mut beyond, &rides(), debit(1_000 * UNITS + 1));
    let judgement = judged(&beyond, &policy());
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold]);
    assert_eq!(judgement.confidence, 99);
}

#[test]
fn twice_the_threshold_halves_the_score_and_a_hundredfold_leaves_one() {
    for (difference, score) in [(2_000, 50), (3_000, 33), (100_000, 1), (100_001, 0)] {
        let mut totals = totals();
        differ(&mut totals, &rides(), Money { debit: 0, credit: -difference * UNITS });
        let judgement = judged(&totals, &policy());
        assert_eq!(
            (judgement.confidence, judgement.verdict),
            (score, Decision::Refused),
            "{difference}"
        );
        let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]);
        assert_eq!(cell.net.as_ref().unwrap().worst, Measure::Credit);
    }
}

#[test]
fn one_bad_cell_is_not_averaged_away() {
    let mut totals = totals();
    for n in 0..500 {
        totals
            .add_lines(&place(&format!("lob {n}"), "fares", "USD"), Part::Both, debit(UNITS), 1)
            .unwrap();
    }
    differ(&mut totals, &rides(), debit(4_000 * UNITS));
    assert_eq!(judged(&totals, &policy()).confidence, 25);
}

#[test]
fn currencies_do_not_offset_each_other() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(1_250 * UNITS));
    differ(&mut totals, &place("rides", "fares", "EUR"), debit(-1_000 * UNITS));
    let judgement = judged(&totals, &policy());
    let net = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
    assert_eq!((&*net.debit, judgement.confidence), ("2500.00", 40));
}

#[test]
fn offsetting_errors_show_in_gross() {
    let mut totals = totals();
    for _ in 0..3 {
        differ(&mut totals, &rides(), debit(1_000 * UNITS));
        differ(&mut totals, &rides(), debit(-1_000 * UNITS));
    }
    let judgement = judged(&totals, &policy());
    expect(&judgement, Decision::Refused, &[Rule::GrossBeyondThreshold]);
    let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]);
    assert_eq!(cell.net.as_ref().unwrap().difference(), "0.00");
    assert_eq!(cell.gross.as_ref().unwrap().difference(), "6000.00");
    assert_eq!(cell.gross.as_ref().unwrap().threshold.as_deref(), Some("5000.00"));
    assert_eq!(judgement.confidence, 83);
}

#[test]
fn money_moved_from_debit_to_credit_counts_twice_in_the_balance() {
    let mut totals = totals();
    differ(&mut totals, &rides(), Money { debit: -600 * UNITS, credit: 600 * UNITS });
    let judgement = judged(&totals, &policy());
    let net = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
    assert_eq!(
        (&*net.debit, &*net.credit, &*net.balance, net.worst),
        ("600.00", "600.00", "1200.00", Measure::Balance)
    );
    assert_eq!((judgement.confidence, judgement.verdict), (83, Decision::Refused));
}

#[test]
fn a_value_that_production_did_not_show_is_allowed_nothing_unless_declared() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(-100 * UNITS));
    // The candidate alone books under this value.
    let scooters = place("scooters", "fares", "USD");
    totals.add_lines(&scooters, Part::Shadow, debit(100 * UNITS), 1).unwrap();
    totals.add_exchange(&[(scooters, debit(100 * UNITS))], PI_ONE).unwrap();
    let mut policy = policy();
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold, Rule::GrossBeyondThreshold]);
    assert_eq!(judgement.confidence, 0);
    assert!(judgement.why.contains("production booked nothing under it"), "{}", judgement.why);
    assert!(judgement.next.contains("declare the value"), "{}", judgement.next);
    let declare = |policy: &mut Policy, name, value: &[&str], declared| {
        let value = value.iter().map(|part| (*part).to_owned()).collect();
        let own = CellThreshold { threshold: threshold(100), declared };
        policy.dimensions.get_mut(&name).unwrap().cells.insert(value, own);
    };
    declare(&mut policy, DimensionName::LineOfBusiness, &["scooters"], false);
    declare(&mut policy, DimensionName::LineOfBusinessGlAccount, &["scooters", "fares"], false);
    assert_eq!(
        judged(&totals, &policy).verdict,
        Decision::Refused,
        "a threshold alone declares nothing"
    );
    declare(&mut policy, DimensionName::LineOfBusiness, &["scooters"], true);
    declare(&mut policy, DimensionName::LineOfBusinessGlAccount, &["scooters", "fares"], true);
    expect(&judged(&totals, &policy), Decision::Certified, &[]);
}

#[test]
fn a_dimension_that_is_not_gated_is_shown_and_not_judged() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(9_000 * UNITS));
    let mut policy = policy();
    for name in DimensionName::STANDARD {
        policy.dimensions.get_mut(&name).unwrap().gate = name == DimensionName::GlAccount;
    }
    policy.dimensions.get_mut(&DimensionName::GlAccount).unwrap().default = Some(threshold(9_000));
    let judgement = judged(&totals, &policy);
    expect(&judgement, Decision::Certified, &[]);
    assert_eq!(judgement.confidence, 100);
    assert_eq!(cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).confidence, Some(11));
    for thresholds in policy.dimensions.values_mut() {
        thresholds.gate = false;
    }
    let nothing_judged = judged(&totals, &policy);
    assert_ne!(
        nothing_judged.verdict,
        Decision::Certified,
        "with no gate there is nothing that certifies"
    );
    assert_eq!((nothing_judged.confidence, nothing_judged.decided), (0, false));
}

#[test]
fn a_breach_is_a_breach_also_while_a_rate_is_missing() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(2_000 * UNITS));
    differ(&mut totals, &place("rides", "fares", "JPY"), debit(UNITS));
    let judgement = judged(&totals, &policy());
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold, Rule::NoRate]);
    assert_eq!(judgement.confidence, 50);
}

#[test]
fn the_worst_cell_comes_first() {
    let mut totals = totals();
    differ(&mut totals, &rides(), debit(1_500 * UNITS));
    differ(&mut totals, &place("eats", "fees", "USD"), debit(3_000 * UNITS));
    let judgement = judged(&totals, &policy());
    let values: Vec<&str> =
        judgement.dimensions[0].cells.iter().map(|cell| &*cell.value[0]).collect();
    assert_eq!(values, ["eats", "rides"]);
}

proptest! {
    #[test]
    fn a_larger_difference_never_raises_the_score(smaller in 0..10_i128.pow(15), more in 0..10_i128.pow(15), sign in prop::bool::ANY) {
        let score = |units: i128| {
            let mut totals = totals();
            differ(&mut totals, &rides(), debit(if sign { units } else { -units }));
            judged(&totals, &policy())
        };
        let (small, large) = (score(smaller), score(smaller + more));
        prop_assert!(large.confidence <= small.confidence);
        prop_assert_eq!(small.confidence == 100, smaller <= 1_000 * UNITS);
        prop_assert_eq!(small.verdict == Decision::Certified, smaller <= 1_000 * UNITS);
    }

    #[test]
    fn the_score_is_exact_at_every_size(threshold in 1..10_i128.pow(27), times in 1..200_u8) {
        let (allowed, difference) = (crate::money::whole(threshold), crate::money::whole(threshold * i128::from(times)));
        prop_assert_eq!(cell::confidence(&difference, &allowed), if times == 1 { 100 } else { 100 / times });
    }

    #[test]
    fn differences_in_two_currencies_add_up(usd in -10_i128.pow(13)..10_i128.pow(13), eur in -10_i128.pow(13)..10_i128.pow(13)) {
        let mut totals = totals();
        differ(&mut totals, &rides(), debit(usd));
        differ(&mut totals, &place("rides", "fares", "EUR"), debit(eur));
        let judgement = judged(&totals, &policy());
        let net = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
        let expected = crate::money::whole(usd.abs()) + crate::money::whole(eur.abs()) * crate::money::whole(5) / crate::money::whole(4);
        prop_assert_eq!(net.debit, crate::money::text(&expected));
    }
}
