//! Dimensions, days and samples: what one pass over the finest cells gives.

use proptest::prelude::*;

use super::*;
use crate::money::whole;

fn dated(source: Source, date: &str, entity: Option<&str>, debit: &str) -> EntryRow {
    let mut line = line(source, None, "fares", debit, "0");
    line.entry.accounting_date = Some(date.into());
    line.entry.entity = entity.map(str::to_owned);
    line
}

fn values(totals: &Totals, dimension: DimensionName) -> Vec<&str> {
    let cells = totals.cells.keys().filter(|name| name.dimension == dimension);
    cells.map(|name| &*name.value[0]).collect()
}

#[test]
fn what_the_mapping_reads_is_a_dimension() {
    let mut lines = vec![
        dated(Source::Both, "2026-03-31", Some("SE01"), "1"),
        dated(Source::Both, "2026-03-30T23:59:59Z", None, "2"),
        dated(Source::Both, "31.3.2026", Some("SE01"), "4"),
    ];
    lines[0].entry.dimensions.insert("country".into(), "SE".into());
    let shards = [vec![exchange("a", Outcome::Matched, lines)]];
    let totals = totals_of(&shards).unwrap();
    assert_eq!(values(&totals, DimensionName::AccountingPeriod), ["2026-03", "31.3.2026"]);
    assert_eq!(values(&totals, DimensionName::Entity), ["(none)", "SE01"]);
    assert_eq!(values(&totals, DimensionName::named("country").unwrap()), ["(none)", "SE"]);
    let march =
        CellName { dimension: DimensionName::AccountingPeriod, value: vec!["2026-03".into()] };
    assert_eq!(totals.cells[&march].currencies["USD"].primary.debit, 3 * UNITS);
    let by_date = totals_under(&policy_of("accounting_period = \"date\""), &shards).unwrap();
    let dates = ["2026-03-30", "2026-03-31", "31.3.2026"];
    assert_eq!(values(&by_date, DimensionName::AccountingPeriod), dates);
    let unmapped =
        [vec![exchange("a", Outcome::Matched, vec![line(Source::Both, None, "fares", "1", "0")])]];
    let totals = totals_of(&unmapped).unwrap();
    assert!(totals.cells.keys().all(|name| name.dimension.is_standard()), "no line has a value");
}

#[test]
fn days_are_told_apart_where_a_threshold_is_per_day() {
    let on = |id: &str, occurred_at_us, debit: &str| {
        let lines = vec![line(Source::Shadow, Some(Kind::Extra), "fares", debit, "0")];
        ExchangeRow { occurred_at_us, ..exchange(id, Outcome::Different, lines) }
    };
    let day = 86_400_000_000;
    let shards = [vec![on("a", day - 1, "1"), on("b", day, "2")], vec![on("c", 2 * day - 1, "4")]];
    let daily = "[certify.thresholds.gl_account]\nnet = 1\nper = \"day\"";
    let totals = totals_under(&policy_of(daily), &shards).unwrap();
    let name = CellName { dimension: DimensionName::GlAccount, value: vec!["fares".into()] };
    let days: Vec<_> = totals.cells[&name]
        .days
        .iter()
        .map(|(day, books)| {
            (*day, books["USD"].shadow.debit / UNITS, books["USD"].gross.debit / UNITS)
        })
        .collect();
    assert_eq!(days, [(0, 1, 1), (1, 6, 6)]);
    assert!(totals_of(&shards).unwrap().cells[&name].days.is_empty());
}

#[test]
fn a_sample_keeps_what_it_observed_and_what_that_stands_for() {
    let of = |id: &str, outcome, pi, lines| ExchangeRow { pi, ..exchange(id, outcome, lines) };
    let differing = || {
        vec![
            line(Source::Primary, Some(Kind::AmountChanged), "fares", "10", "0"),
            line(Source::Shadow, Some(Kind::AmountChanged), "fares", "13", "0"),
        ]
    };
    let not_examined = vec![line(Source::Primary, Some(Kind::NotExamined), "fares", "-7", "0")];
    let shards = [
        vec![of("a", Outcome::Different, PI_ONE / 4, differing())],
        vec![
            of("b", Outcome::Different, PI_ONE, differing()),
            of(
                "c",
                Outcome::Matched,
                PI_ONE / 2,
                vec![line(Source::Both, None, "fares", "5", "0")],
            ),
            of("d", Outcome::Unverified, PI_ONE / 2, not_examined),
        ],
    ];
    let totals = totals_of(&shards).unwrap();
    let fares = of_account(&totals, "fares");
    assert_eq!((fares.primary.debit, fares.shadow.debit), (25 * UNITS, 31 * UNITS));
    let beyond = |of: &crate::totals::Beyond| of.units() / whole(UNITS);
    // 3 · (4 − 1), 10 · 3 + 5 · (2 − 1), and 7 · (2 − 1).
    assert_eq!(beyond(&fares.projection.net[0]), whole(9));
    assert_eq!(beyond(&fares.projection.gross[0]), whole(9));
    assert_eq!(beyond(&fares.projection.primary[0]), whole(35));
    assert_eq!(beyond(&fares.projection.not_examined[0]), whole(7));
    assert_eq!(totals.exchanges.sampled, 3);
}

/// Source, account, amount, and whether it is a debit.
type Booked = (usize, usize, u32, bool);

/// Exchanges with a difference each, of any size and side.
fn exchanges() -> impl Strategy<Value = Vec<ExchangeRow>> {
    let lines = prop::collection::vec((0..3_usize, 0..3_usize, 1..1_000_u32, any::<bool>()), 0..4);
    prop::collection::vec((lines, 0..3_i64), 1..8).prop_map(|exchanges| {
        let row = |(n, (lines, halvings)): (usize, (Vec<Booked>, i64))| {
            let lines = (0..).zip(lines).map(|(number, (source, account, amount, is_debit))| {
                let source = [Source::Both, Source::Primary, Source::Shadow][source];
                let amount = format!("{amount}.5");
                let sides = if is_debit { [&*amount, "0"] } else { ["0", &*amount] };
                let account = ["fares", "tips", "cash"][account];
                EntryRow { line: number, ..line(source, None, account, sides[0], sides[1]) }
            });
            let pi = PI_ONE >> halvings;
            ExchangeRow { pi, ..exchange(&format!("e{n}"), Outcome::Different, lines.collect()) }
        };
        exchanges.into_iter().enumerate().map(row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn order_and_sharding_change_nothing(rows in exchanges(), cut in 0..8_usize) {
        let whole = totals_of(std::slice::from_ref(&rows)).unwrap();
        let mut turned = rows;
        turned.reverse();
        let rest = turned.split_off(cut.min(turned.len()));
        prop_assert_eq!(&whole, &totals_of(&[turned, vec![], rest]).unwrap());
    }
}

#[test]
fn a_shard_that_is_named_twice_is_summed_once() {
    let rows =
        vec![exchange("a", Outcome::Matched, vec![line(Source::Both, None, "fares", "5", "0")])];
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), std::slice::from_ref(&rows));
    let of = |shards: &[u32]| {
        totals(&Journal::of_run(folder.path(), &run_id(), 1, shards), &policy()).unwrap()
    };
    assert_eq!(of(&[0, 0]), of(&[0]));
}
