//! What the sums of a run hold is all of it: over strata, accounts and scenarios.

use proptest::prelude::*;

use super::*;
use crate::totals::{Books, ScenarioName};
use crate::verdict::Outcomes;

/// One exchange of a generated journal: outcome, stratum, route, and the lines that both sides book, production alone, and the candidate.
type Drawn = (usize, usize, usize, [u8; 3]);

fn row(number: usize, (outcome, stratum, route, lines): Drawn) -> ExchangeRow {
    let outcome = [
        Outcome::Matched,
        Outcome::Different,
        Outcome::Filtered,
        Outcome::Errored,
        Outcome::Unverified,
    ][outcome];
    let not_compared = matches!(outcome, Outcome::Filtered | Outcome::Unverified);
    let accounts = ["cash", "fares", "tips"];
    let of = |source, kind, count: u8| {
        (0..usize::from(count)).map(move |n| line(source, kind, accounts[n % 3], "1.5", "0.25"))
    };
    let [both, primary, shadow] = lines;
    let entries = if not_compared {
        of(Source::Primary, Some(Kind::NotExamined), primary).collect()
    } else {
        of(Source::Both, None, both)
            .chain(of(Source::Primary, Some(Kind::Missing), primary))
            .chain(of(Source::Shadow, Some(Kind::Extra), shadow))
            .collect()
    };
    ExchangeRow {
        stratum: ["all", "large", "rest"][stratum].into(),
        route: ["POST /trips", "POST /tips"][route].into(),
        ..exchange(&format!("e{number:03}"), outcome, entries)
    }
}

fn plus(sum: &Outcomes, of: &Outcomes) -> Outcomes {
    Outcomes {
        recorded: sum.recorded + of.recorded,
        matched: sum.matched + of.matched,
        different: sum.different + of.different,
        filtered: sum.filtered + of.filtered,
        errored: sum.errored + of.errored,
        unverified: sum.unverified + of.unverified,
    }
}

proptest! {
    // Each case writes and sums Parquet files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_exchange_is_in_one_stratum_and_one_outcome_and_every_line_in_one_row(
        drawn in prop::collection::vec((0..5_usize, 0..3_usize, 0..2_usize, any::<[u8; 3]>()), 0..30),
        shards in 1..4_usize,
    ) {
        let small = |(outcome, stratum, route, lines): Drawn| (outcome, stratum, route, lines.map(|n| n % 5));
        let rows: Vec<_> = drawn.into_iter().map(small).enumerate().map(|(n, of)| row(n, of)).collect();
        let all: Vec<Vec<ExchangeRow>> =
            (0..shards).map(|shard| rows.iter().skip(shard).step_by(shards).cloned().collect()).collect();
        let totals = totals_of(&all).unwrap();
        let exchanges = &totals.exchanges;
        for (name, of) in &exchanges.strata {
            let counted = rows.iter().filter(|row| row.stratum == *name).count() as u64;
            prop_assert_eq!(of.recorded, counted);
            prop_assert!(of.add_up());
        }
        let sum = exchanges.strata.values().fold(Outcomes::default(), |sum, of| plus(&sum, of));
        prop_assert_eq!(&sum, &exchanges.outcomes);
        prop_assert_eq!(sum.recorded, rows.len() as u64);
        // The ledger's rows are the cells' money.
        let books = totals.ledger.values().try_fold(Books::default(), |sum, books| sum.plus(*books)).unwrap();
        let of_accounts = || totals.cells.iter().filter(|(name, _)| name.dimension == DimensionName::GlAccount);
        let primary: i128 = of_accounts().map(|(_, cell)| cell.currencies["USD"].primary.debit).sum();
        let shadow: i128 = of_accounts().map(|(_, cell)| cell.currencies["USD"].shadow.debit).sum();
        prop_assert_eq!((books.primary.debit, books.shadow.debit), (primary, shadow));
        let entries: u64 =
            of_accounts().map(|(_, cell)| cell.entries_primary - cell.entries_not_examined).sum();
        prop_assert_eq!(books.entries_primary, entries);
        // And so are the scenarios, what was not examined beside it.
        let scenarios = totals.scenarios.values().flat_map(|of| of.money.values());
        let [compared, other] = scenarios.fold([0, 0], |[a, b], [compared, other]| {
            [a + compared.debit, b + other.debit]
        });
        prop_assert_eq!(compared, primary);
        let not_examined: i128 =
            of_accounts().map(|(_, cell)| cell.currencies["USD"].not_examined.debit).sum();
        prop_assert_eq!(other, not_examined);
    }
}

#[test]
fn a_scenario_is_what_production_books_on_a_route() {
    let both = || line(Source::Both, None, "fares", "10", "0");
    let elsewhere = |id, outcome, lines| ExchangeRow {
        route: "POST /tips".into(),
        ..exchange(id, outcome, lines)
    };
    let not_examined = line(Source::Primary, Some(Kind::NotExamined), "fares", "-7", "0");
    let extra = line(Source::Shadow, Some(Kind::Extra), "fees", "10", "0");
    let shards = [
        vec![exchange("a", Outcome::Matched, vec![both(), both()])],
        vec![
            exchange("b", Outcome::Different, vec![both(), extra]),
            elsewhere("c", Outcome::Unverified, vec![not_examined]),
        ],
    ];
    let scenarios = totals_of(&shards).unwrap().scenarios;
    let name = |route: &str| ScenarioName {
        line_of_business: "rides".into(),
        gl_account: "fares".into(),
        route: route.into(),
    };
    assert_eq!(scenarios.len(), 2, "what only the candidate books is no scenario of production");
    let trips = &scenarios[&name("POST /trips")];
    assert_eq!((trips.exchanges, trips.money["USD"][0].debit), ([2, 0], 30 * UNITS));
    let other = &scenarios[&name("POST /tips")];
    assert_eq!((other.exchanges, other.money["USD"][1].debit), ([0, 1], 7 * UNITS));
}

#[test]
fn the_lines_of_a_differing_exchange_are_told_field_by_field() {
    let paired = |number, source, gl_account: &str| EntryRow {
        line: number,
        ..line(source, Some(Kind::Reclassified), gl_account, "10", "0")
    };
    let lines = vec![paired(0, Source::Primary, "fares"), paired(1, Source::Shadow, "tips")];
    let totals = totals_of(&[vec![exchange("a", Outcome::Different, lines)]]).unwrap();
    let fields: Vec<_> = totals.largest[0]
        .fields
        .iter()
        .map(|of| (&*of.field, of.primary.as_deref(), of.shadow.as_deref()))
        .collect();
    assert_eq!(fields, [("gl_account", Some("fares"), Some("tips"))]);
}
