//! What was declared is shown and not judged; what did not come of it is told.

use super::*;
use crate::expected::{Appeared, Cells, Change, Sign, Taken};
use crate::money::whole;
use crate::verdict::ChangeState;

fn rides() -> Place {
    place("rides", "fares", "USD")
}

/// Books a difference of which a part was declared.
fn declared(totals: &mut Totals, difference: Money, taken: Money) {
    differ(totals, &rides(), difference);
    let taken: Taken = [(rides(), taken)].into();
    totals.take_expected(&[(rides(), difference)], &taken, PI_ONE).unwrap();
}

#[test]
fn the_rest_is_judged_and_both_are_shown() {
    let mut of = totals();
    declared(&mut of, debit(2_500 * UNITS), debit(1_500 * UNITS));
    let judgement = judged(&of, &policy());
    expect(&judgement, Decision::Certified, &[]);
    let cell = cell_of(&judgement, DimensionName::LineOfBusiness, &["rides"]);
    let (money, net) = (&cell.currencies[0], cell.net.as_ref().unwrap());
    let expected = money.expected.as_ref().unwrap();
    assert_eq!(
        (&*money.debit.difference, &*expected.debit, &*net.debit),
        ("2500.00", "1500.00", "1000.00")
    );
    assert_eq!((&*money.debit.gross, &*expected.gross[0]), ("2500.00", "1500.00"));
    declared(&mut of, debit(1), debit(0));
    assert_eq!(
        judged(&of, &policy()).verdict,
        Decision::Refused,
        "a unit more is beyond the threshold"
    );
}

#[test]
fn a_declaration_uncovers_what_it_had_hidden() {
    let mut of = totals();
    declared(&mut of, debit(2_000 * UNITS), debit(2_000 * UNITS));
    declared(&mut of, debit(-2_000 * UNITS), debit(0));
    let judgement = judged(&of, &policy());
    assert_eq!((judgement.verdict, judgement.confidence), (Decision::Refused, 50));
}

#[test]
fn a_declared_change_that_does_not_appear_certifies_nothing() {
    let change = Change {
        kind: "amount_changed".into(),
        cells: Cells::In(crate::expected::Cell {
            line_of_business: Some("rides".into()),
            gl_account: None,
        }),
        sign: Sign::Either,
        currency: None,
        minimum: amount(100),
        maximum: amount(200),
        reason: "r".into(),
        ticket: "FIN-1".into(),
        owner: "o".into(),
        expires: "2026-12-31".parse().unwrap(),
        expired: false,
    };
    let mut policy = policy();
    policy.expected.changes = vec![change];
    let of = |units: i128| {
        let mut totals = totals();
        let money = whole(units);
        totals.expected =
            vec![Appeared { change: 0, money, exhausted: false, exchanges: 1, example: None }];
        totals
    };
    let absent = of(100 * UNITS - 1);
    let judgement = judged(&absent, &policy);
    expect(&judgement, Decision::Inconclusive, &[Rule::ExpectedChangeAbsent]);
    assert!(
        judgement.why.contains("FIN-1 (amount changed in rides) did not appear"),
        "{}",
        judgement.why
    );
    assert_eq!(policy.expected.shown(&absent.expected)[0].state, ChangeState::Absent);
    expect(&judged(&of(100 * UNITS), &policy), Decision::Certified, &[]);
    // Refused all the same, and first.
    let mut both = of(0);
    differ(&mut both, &rides(), debit(1_001 * UNITS));
    assert_eq!(judged(&both, &policy).verdict, Decision::Refused);
    policy.expected = policy.expected.at("2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(policy.expected.shown(&[])[0].state, ChangeState::Expired);
}

proptest! {
    /// Where no difference hides another, declaring a part of each never lowers the score.
    #[test]
    fn declaring_never_lowers_the_score_of_what_goes_one_way(
        parts in prop::collection::vec((0..900_i128, 0..=100_i128), 1..6),
        sign in prop::sample::select(vec![1_i128, -1]),
    ) {
        let (mut plain, mut with) = (totals(), totals());
        for (units, percent) in parts {
            let whole = debit(sign * units * UNITS);
            declared(&mut plain, whole, debit(0));
            declared(&mut with, whole, debit(sign * units * percent / 100 * UNITS));
        }
        let (plain, with) = (judged(&plain, &policy()), judged(&with, &policy()));
        prop_assert!(with.confidence >= plain.confidence);
    }
}
