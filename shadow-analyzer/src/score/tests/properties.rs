//! What holds of every judgement, whatever was booked.

use super::*;

/// Where books can differ: two lines of business with two accounts each, in two currencies.
const PLACES: [(&str, &str, &str); 5] = [
    ("rides", "fares", "USD"),
    ("rides", "fares", "EUR"),
    ("rides", "tips", "USD"),
    ("eats", "fees", "USD"),
    ("eats", "fees", "EUR"),
];

/// One exchange's difference at one of the places, in units.
type Booked = (usize, Money);

fn booked() -> impl Strategy<Value = Vec<Booked>> {
    let money = (-5_000..5_000_i128, -5_000..5_000_i128)
        .prop_map(|(debit, credit)| Money { debit: debit * UNITS / 3, credit: credit * UNITS / 7 });
    prop::collection::vec((0..PLACES.len(), money), 0..12)
}

fn at((line_of_business, gl_account, currency): (&str, &str, &str)) -> Place {
    place(line_of_business, gl_account, currency)
}

/// Every place has its production, so that none of them is new.
fn books(booked: &[Booked]) -> Totals {
    let mut totals = totals();
    for of in PLACES {
        totals.add_lines(&at(of), Part::Both, debit(UNITS), 1).unwrap();
    }
    for (of, money) in booked {
        differ(&mut totals, &at(PLACES[*of]), *money);
    }
    totals
}

fn scaled(money: Money, by: i128) -> Money {
    Money { debit: money.debit * by, credit: money.credit * by }
}

fn thresholds_of(policy: &mut Policy, net: &Threshold) {
    for thresholds in policy.dimensions.values_mut() {
        thresholds.default = Some(net.clone());
    }
}

/// Returns whether no cell is beyond its net or its gross threshold.
fn is_within(judgement: &Judgement) -> bool {
    let judged = judgement.dimensions.iter().flat_map(|dimension| &dimension.cells);
    judged.flat_map(|cell| cell.net.iter().chain(&cell.gross)).all(|judged| !judged.breached)
}

proptest! {
    #[test]
    fn a_score_of_100_is_every_cell_within_its_threshold(booked in booked()) {
        let judgement = judged(&books(&booked), &policy());
        prop_assert_eq!(judgement.confidence == 100, is_within(&judgement));
        let verdict = if is_within(&judgement) { Decision::Certified } else { Decision::Refused };
        prop_assert_eq!(judgement.verdict, verdict);
    }

    #[test]
    fn the_same_differences_made_larger_never_raise_the_score(booked in booked(), by in 1..5_i128) {
        let larger: Vec<Booked> = booked.iter().map(|(of, money)| (*of, scaled(*money, by))).collect();
        let (small, large) = (judged(&books(&booked), &policy()), judged(&books(&larger), &policy()));
        prop_assert!(large.confidence <= small.confidence);
    }

    #[test]
    fn the_order_of_exchanges_changes_nothing(booked in booked()) {
        let turned: Vec<Booked> = booked.iter().rev().copied().collect();
        let (one, other) = (judged(&books(&booked), &policy()), judged(&books(&turned), &policy()));
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn a_breach_more_never_raises_the_score(booked in booked(), units in 1_001..9_000_i128) {
        let before = books(&booked);
        let mut after = before.clone();
        differ(&mut after, &place("freight", "tolls", "USD"), debit(units * UNITS));
        let (before, after) = (judged(&before, &policy()), judged(&after, &policy()));
        prop_assert!(after.confidence <= before.confidence.min(99));
        prop_assert_eq!(after.verdict, Decision::Refused);
    }

    #[test]
    fn amounts_and_thresholds_scaled_together_change_nothing(booked in booked(), by in 1..1_000_i128) {
        let larger: Vec<Booked> = booked.iter().map(|(of, money)| (*of, scaled(*money, by))).collect();
        let mut wider = policy();
        thresholds_of(&mut wider, &threshold(1_000 * by));
        let (one, other) = (judged(&books(&booked), &policy()), judged(&books(&larger), &wider));
        prop_assert_eq!((one.confidence, one.verdict), (other.confidence, other.verdict));
    }

    #[test]
    fn another_reporting_currency_with_its_thresholds_changes_nothing(booked in booked(), quarters in 1..400_i128) {
        // What is worth `rate` of the new unit: the thresholds and every rate, the old unit's own included.
        let rate = |times: i128| Rate::parse(&format!("{}.{:02}", times * quarters / 4, times * quarters % 4 * 25)).unwrap();
        let mut other = policy();
        other.rates.reporting_currency = "XAU".into();
        other.rates.values = [("USD".into(), rate(4)), ("EUR".into(), rate(5))].into();
        thresholds_of(&mut other, &threshold(1_000 * quarters));
        let (one, other) = (judged(&books(&booked), &policy()), judged(&books(&booked), &other));
        prop_assert_eq!((one.confidence, one.verdict), (other.confidence, other.verdict));
    }

    #[test]
    fn what_offsets_itself_shows_in_gross(units in 1..10_i128.pow(14)) {
        let mut totals = totals();
        differ(&mut totals, &rides(), debit(units));
        differ(&mut totals, &rides(), debit(-units));
        let judgement = judged(&totals, &policy());
        let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]);
        prop_assert_eq!(cell.net.as_ref().unwrap().difference(), "0.00");
        let gross = cell.gross.as_ref().unwrap();
        prop_assert_eq!(gross.difference(), crate::money::text(&crate::money::whole(2 * units)));
        prop_assert_eq!(gross.breached, 2 * units > 5_000 * UNITS);
    }

    #[test]
    fn a_smaller_probability_never_raises_the_score(booked in booked(), halvings in 0..4_u32) {
        let of = |halvings: u32| {
            let mut totals = books(&[]);
            for (of, money) in &booked {
                sampled(&mut totals, &at(PLACES[*of]), *money, PI_ONE >> halvings);
            }
            judged(&totals, &accepting(policy()))
        };
        let (more, fewer) = (of(halvings), of(halvings + 1));
        prop_assert!(fewer.confidence <= more.confidence);
        prop_assert!(fewer.verdict <= more.verdict || more.verdict == Decision::Inconclusive);
    }
}

#[test]
fn twenty_currencies_just_within_the_threshold_are_a_breach_together() {
    let codes = "AED AUD BRL CAD CHF CLP CNY CZK DKK EGP GBP HKD HUF IDR ILS INR JPY KRW MXN NOK";
    let mut policy = policy();
    let mut totals = totals();
    for code in codes.split(' ') {
        policy.rates.values.insert(code.into(), Rate::parse("1.25").unwrap());
        differ(&mut totals, &place("rides", "fares", code), debit(720 * UNITS));
    }
    let judgement = judged(&totals, &policy);
    let net = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]).net.clone().unwrap();
    // 20 · 720 · 1.25, each of them 90 % of the threshold.
    assert_eq!((&*net.debit, judgement.confidence), ("18000.00", 5));
    expect(&judgement, Decision::Refused, &[Rule::NetBeyondThreshold, Rule::GrossBeyondThreshold]);
}

#[test]
fn a_hundred_moved_to_another_line_of_business_leave_the_score_at_100() {
    let mut totals = totals();
    let moved = |units| Money { debit: 0, credit: units * UNITS };
    totals.add_lines(&place("rides", "fares", "USD"), Part::Primary, moved(100), 1).unwrap();
    totals.add_lines(&place("eats", "fees", "USD"), Part::Shadow, moved(100), 1).unwrap();
    let differences =
        [(place("rides", "fares", "USD"), moved(-100)), (place("eats", "fees", "USD"), moved(100))];
    totals.add_exchange(&differences, PI_ONE).unwrap();
    let judgement = judged(&totals, &policy());
    expect(&judgement, Decision::Certified, &[]);
    let table: Vec<_> = ["eats", "rides"]
        .into_iter()
        .map(|value| {
            let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &[value]);
            let credit = &cell.currencies[0].credit;
            (value, &*credit.primary, &*credit.shadow, &*credit.difference, cell.confidence)
        })
        .collect();
    let expected = [
        ("eats", "0.00", "100.00", "100.00", Some(100)),
        ("rides", "100.00", "0.00", "-100.00", Some(100)),
    ];
    assert_eq!((table, judgement.confidence), (expected.to_vec(), 100));
}
