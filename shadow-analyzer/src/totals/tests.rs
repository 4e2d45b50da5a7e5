use shadow_recorder::exchange::PI_ONE;

use super::*;
use crate::verdict::DimensionName;

fn place(line_of_business: &str, gl_account: &str) -> Place {
    Place {
        line_of_business: line_of_business.into(),
        gl_account: gl_account.into(),
        currency: "USD".into(),
        ..Place::default()
    }
}

fn debit(units: i128) -> Money {
    Money { debit: units, credit: 0 }
}

fn gross(totals: &Totals, dimension: DimensionName, value: &[&str]) -> (i128, u64) {
    let value = value.iter().map(|part| (*part).to_owned()).collect();
    let cell = &totals.cells[&CellName { dimension, value }];
    (cell.currencies["USD"].gross.debit, cell.exchanges_differing)
}

#[test]
fn gross_nets_within_an_exchange_and_never_between_exchanges() {
    let mut totals = Totals::default();
    let moved = [(place("rides", "fares"), debit(-600)), (place("rides", "tips"), debit(600))];
    totals.add_exchange(&moved, PI_ONE).unwrap();
    totals.add_exchange(&[(place("rides", "fares"), debit(600))], PI_ONE).unwrap();
    assert_eq!(gross(&totals, DimensionName::LineOfBusiness, &["rides"]), (600, 1));
    assert_eq!(gross(&totals, DimensionName::GlAccount, &["fares"]), (1_200, 2));
    assert_eq!(
        gross(&totals, DimensionName::LineOfBusinessGlAccount, &["rides", "tips"]),
        (600, 1)
    );
}

#[test]
fn lines_go_to_their_side() {
    let mut totals = Totals::default();
    for (part, units) in
        [(Part::Both, 1), (Part::Primary, 20), (Part::Shadow, 300), (Part::NotExamined, -4_000)]
    {
        totals.add_lines(&place("rides", "fares"), part, debit(units), 1).unwrap();
    }
    for dimension in DimensionName::STANDARD {
        let cell = &totals.cells[&place("rides", "fares").cell(dimension)];
        let usd = &cell.currencies["USD"];
        assert_eq!((usd.primary.debit, usd.shadow.debit, usd.not_examined.debit), (21, 301, 4_000));
        assert_eq!((cell.entries_primary, cell.entries_shadow), (3, 2));
    }
}

#[test]
fn a_sum_is_exact_or_an_error() {
    let mut totals = Totals::default();
    totals.add_lines(&place("rides", "fares"), Part::Both, debit(i128::MAX), 1).unwrap();
    assert_eq!(totals.add_lines(&place("rides", "tips"), Part::Both, debit(1), 1), Err(Overflow));
    assert_eq!(Money { debit: i128::MAX, credit: -1 }.balance(), Err(Overflow));
}

#[test]
fn a_day_and_a_further_dimension_have_books_of_their_own() {
    let country = DimensionName::named("country").unwrap();
    let on = |day, value: &str| Place {
        further: [(country, value.to_owned()), (DimensionName::Entity, NO_VALUE.into())].into(),
        day: Some(day),
        ..place("rides", "fares")
    };
    let mut totals = Totals::default();
    totals.add_lines(&on(1, "SE"), Part::Primary, debit(5), 1).unwrap();
    totals.add_lines(&on(2, NO_VALUE), Part::Shadow, debit(7), 1).unwrap();
    totals.add_exchange(&[(on(2, NO_VALUE), debit(7))], PI_ONE / 2).unwrap();
    totals.drop_empty_dimensions();
    let of = |dimension, value: &str| {
        let name = CellName { dimension, value: vec![value.into()] };
        totals.cells.get(&name)
    };
    assert_eq!(of(country, "SE").unwrap().days[&1]["USD"].primary, debit(5));
    let none = of(country, NO_VALUE).unwrap();
    assert_eq!((none.days[&2]["USD"].gross.debit, none.exchanges_differing), (7, 1));
    let rides = of(DimensionName::LineOfBusiness, "rides").unwrap();
    assert_eq!((rides.currencies["USD"].shadow, rides.days.len()), (debit(7), 2));
    assert_eq!(of(DimensionName::Entity, NO_VALUE), None, "no line has an entity");
    let [projected, ..] = &rides.currencies["USD"].projection.net;
    assert_eq!(projected.units(), crate::money::whole(7));
}
