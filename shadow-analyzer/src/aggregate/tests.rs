use std::path::Path;

use shadow_recorder::amount::UNITS;
use shadow_recorder::config::Document;
use shadow_recorder::ledger::Entry;
use shadow_replayer::control::Control;
use shadow_replayer::journal::{self, Blame, EntryRow, ExchangeRow, Kind, Outcome, Source};
use shadow_replayer::run::RunId;
use shadow_replayer::structure::{self, Change, Difference};

use super::*;
use crate::totals::{ControlTotals, CurrencyTotals};
use crate::verdict::{CellName, DIFFERING_EXCHANGES_MAX, DimensionName, EXCHANGE_LINES_MAX};

mod evidence;
mod grain;
mod kinds;

const PI_ONE: i64 = 1 << 53;

mod expected;
mod signature;

fn run_id() -> RunId {
    RunId::new(uuid::Uuid::nil())
}

fn policy() -> Policy {
    policy_of("")
}

fn policy_of(further: &str) -> Policy {
    let text = format!("[certify]\nreporting_currency = \"USD\"\n{further}");
    let document = Document::parse(Path::new("shadow.toml"), &text, |_| None).unwrap();
    let policy = crate::config::take(&document, None).unwrap();
    document.finish().unwrap();
    policy
}

fn line(
    source: Source,
    kind: Option<Kind>,
    gl_account: &str,
    debit: &str,
    credit: &str,
) -> EntryRow {
    let entry = Entry {
        line_of_business: "rides".into(),
        gl_account: gl_account.into(),
        currency: "USD".into(),
        debit: debit.parse().unwrap(),
        credit: credit.parse().unwrap(),
        ..Entry::default()
    };
    EntryRow {
        transaction: 0,
        transaction_key: Some("t".into()),
        line: 0,
        source,
        entry,
        kind,
        changed: None,
        blame: None,
    }
}

fn exchange(id: &str, outcome: Outcome, entries: Vec<EntryRow>) -> ExchangeRow {
    ExchangeRow {
        exchange_id: id.into(),
        occurred_at_us: 1_781_000_000_000_000,
        route: "POST /trips".into(),
        outcome,
        reason: None,
        detail: None,
        blame: None,
        primary_status: Some(201),
        shadow_status: Some(200),
        primary_duration_us: Some(1_000),
        shadow_duration_us: Some(2_000),
        upstream_hits: 2,
        upstream_misses: 0,
        upstream_unused: 1,
        newly_unbalanced: 0,
        primary_unbalanced: 0,
        shadow_unbalanced: 0,
        money_known: true,
        pi: PI_ONE,
        stratum: "all".into(),
        entries,
        transactions: None,
        control: None,
        second: None,
        structure: Vec::new(),
        calls: Vec::new(),
        upstream_assumed: 0,
    }
}

/// Writes each list of exchanges as a shard, with the writer of real runs.
fn write(folder: &Path, shards: &[Vec<ExchangeRow>]) {
    for (number, rows) in (0_u32..).zip(shards) {
        let attempt = tempfile::tempdir().unwrap();
        let mut writer =
            journal::Writer::create(attempt.path(), run_id(), vec!["country".into()]).unwrap();
        for row in rows {
            writer.append(row).unwrap();
        }
        writer.finish().unwrap();
        for table in journal::TABLES {
            publish(attempt.path(), folder, table, number);
        }
    }
}

/// Sums a run of these shards.
fn totals_of(shards: &[Vec<ExchangeRow>]) -> Result<Totals, AggregateError> {
    totals_under(&policy(), shards)
}

fn totals_under(policy: &Policy, shards: &[Vec<ExchangeRow>]) -> Result<Totals, AggregateError> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), shards);
    let numbers: Vec<u32> = (0_u32..).take(shards.len()).collect();
    totals(&Journal::of_run(folder.path(), &run_id(), 1, &numbers), policy)
}

fn publish(attempt: &Path, store: &Path, table: &str, shard: u32) {
    let target = store.join(journal::key(table, 1, &run_id(), shard));
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(attempt.join(format!("{table}.parquet")), target).unwrap();
}

fn of_account(totals: &Totals, gl_account: &str) -> CurrencyTotals {
    let name = CellName { dimension: DimensionName::GlAccount, value: vec![gl_account.into()] };
    totals.cells[&name].currencies["USD"].clone()
}

#[test]
fn every_line_is_summed_once_on_its_side_over_all_shards() {
    let matched = |id| {
        let both = |gl, debit, credit| line(Source::Both, None, gl, debit, credit);
        exchange(
            id,
            Outcome::Matched,
            vec![both("fares", "0", "70.10"), both("cash", "70.10", "0")],
        )
    };
    let moved = vec![
        line(Source::Primary, Some(Kind::Reclassified), "fares", "0", "100"),
        line(Source::Shadow, Some(Kind::Reclassified), "tips", "0", "100"),
        line(Source::Both, None, "cash", "100", "0"),
    ];
    let unverified = vec![line(Source::Primary, Some(Kind::NotExamined), "fares", "0", "-5")];
    let shards = [
        vec![matched("a"), exchange("b", Outcome::Different, moved)],
        vec![matched("c"), exchange("d", Outcome::Unverified, unverified)],
    ];
    let totals = totals_of(&shards).unwrap();
    let (fares, tips, cash) =
        (of_account(&totals, "fares"), of_account(&totals, "tips"), of_account(&totals, "cash"));
    assert_eq!(fares.primary.credit, 2402 * UNITS / 10);
    assert_eq!(fares.shadow.credit, 1402 * UNITS / 10);
    assert_eq!(fares.gross.credit, 100 * UNITS);
    assert_eq!(fares.not_examined.credit, 5 * UNITS, "money that was not examined is absolute");
    assert_eq!(tips.primary, Money::default());
    assert_eq!(tips.shadow.credit, 100 * UNITS);
    assert_eq!(cash.primary, cash.shadow);
    assert_eq!(cash.gross.debit, 0);
    let outcomes = &totals.exchanges.outcomes;
    assert_eq!(
        (outcomes.recorded, outcomes.matched, outcomes.different, outcomes.unverified),
        (4, 2, 1, 1)
    );
}

#[test]
fn the_control_is_compared_with_production_where_it_did_not_reproduce_it() {
    let booked = |id, outcome, control, lines| {
        let row = exchange(id, outcome, lines);
        ExchangeRow { control, ..row }
    };
    let both = |gl| line(Source::Both, None, gl, "10", "0");
    let of_control = |gl, debit| line(Source::Control, None, gl, debit, "0");
    let mut explained = booked(
        "b",
        Outcome::Different,
        Some(Control::Different),
        vec![
            line(Source::Primary, Some(Kind::Reclassified), "fares", "10", "0"),
            line(Source::Shadow, Some(Kind::Reclassified), "tips", "10", "0"),
            of_control("tips", "10"),
        ],
    );
    explained.blame = Some(Blame::Harness);
    let not_compared = vec![line(Source::Primary, Some(Kind::NotExamined), "cash", "7", "0")];
    let shards = [
        vec![
            booked("a", Outcome::Matched, Some(Control::Reproduced), vec![both("fares")]),
            explained,
        ],
        vec![
            booked(
                "c",
                Outcome::Matched,
                Some(Control::Different),
                vec![both("cash"), of_control("cash", "9")],
            ),
            booked("d", Outcome::Unverified, Some(Control::Failed), not_compared),
            booked("e", Outcome::Matched, None, vec![both("cash")]),
        ],
    ];
    let totals = totals_of(&shards).unwrap();
    let control = |gl| of_account(&totals, gl).control.debit;
    assert_eq!((control("fares"), control("tips")), (-10 * UNITS, 10 * UNITS));
    assert_eq!(control("cash"), -(1 + 7) * UNITS, "a control that fails has booked nothing");
    let counted = ControlTotals { replayed: 4, differing: 3, explained: 1 };
    assert_eq!(totals.control, counted);
    assert_eq!(of_account(&totals, "cash").shadow.debit, 20 * UNITS, "it is no part of a side");
    let shown = &totals.largest[0];
    assert_eq!((shown.lines.len(), shown.blame.as_deref()), (2, Some("harness")));
}

#[test]
fn what_rests_on_assumptions_is_shown_with_its_money() {
    let both = || vec![line(Source::Both, None, "fares", "10", "0")];
    let assumed = ExchangeRow { upstream_assumed: 1, ..exchange("a", Outcome::Matched, both()) };
    let shards = [vec![assumed], vec![exchange("b", Outcome::Matched, both())]];
    let totals = totals_of(&shards).unwrap();
    assert_eq!(totals.assumed.exchanges, 1);
    let money: Vec<_> = totals.assumed.money.iter().map(|of| (&*of.currency, &*of.debit)).collect();
    assert_eq!(money, [("USD", "10.00")]);
}

#[test]
fn structural_differences_are_added_over_shards() {
    let differing = |id: &str, path: &str| {
        let found = Difference {
            place: structure::Place::Body,
            path: path.into(),
            change: Change::Value,
            primary: Some("1".into()),
            shadow: Some("2".into()),
        };
        ExchangeRow { structure: vec![found], ..exchange(id, Outcome::Matched, vec![]) }
    };
    let shards = [
        vec![differing("d", "$.b"), differing("c", "$.a")],
        vec![differing("a", "$.b"), differing("b", "$.b")],
    ];
    let structure = totals_of(&shards).unwrap().structure;
    let counts: Vec<_> = structure.differences.iter().map(|of| (&*of.path, of.exchanges)).collect();
    assert_eq!((counts, structure.left_out), (vec![("$.b", 3), ("$.a", 1)], 0));
    let of = &structure.differences[0];
    assert_eq!([&*of.route, &*of.place, &*of.kind], ["POST /trips", "body", "value"]);
    let ids: Vec<_> = of.examples.iter().map(|example| &*example.exchange_id).collect();
    assert_eq!(ids, ["a", "b", "d"]);
}

#[test]
fn counts_reasons_and_latencies_come_from_the_exchanges() {
    let mut rows: Vec<_> =
        (0..100).map(|n| exchange(&format!("m{n:03}"), Outcome::Matched, vec![])).collect();
    for (n, row) in (1..).zip(&mut rows) {
        row.primary_duration_us = Some(n * 10);
        row.shadow_duration_us = Some(n);
    }
    let mut errored = exchange("e1", Outcome::Errored, vec![]);
    (errored.reason, errored.blame) = (Some("status".into()), Some(Blame::Candidate));
    errored.detail = Some("500".into());
    errored.shadow_duration_us = None;
    let mut unbalanced = exchange("u1", Outcome::Different, vec![]);
    unbalanced.newly_unbalanced = 2;
    unbalanced.shadow_duration_us = None;
    let mut unknown = exchange("x1", Outcome::Unverified, vec![]);
    (unknown.money_known, unknown.pi, unknown.shadow_duration_us) = (false, PI_ONE / 2, None);
    let totals =
        totals_of(&[rows, vec![errored.clone(), unbalanced, unknown], vec![errored]]).unwrap();
    let found = &totals.exchanges;
    assert_eq!(found.outcomes.recorded, 104);
    assert_eq!(
        (found.newly_unbalanced, found.newly_unbalanced_example.as_deref()),
        (2, Some("u1"))
    );
    assert_eq!((found.money_unknown, found.sampled), (1, 1));
    assert_eq!((found.upstream.hits, found.upstream.unused), (208, 104));
    let first = &found.reasons[0];
    assert_eq!(
        (&*first.outcome, &*first.reason, first.count, &*first.example),
        ("errored", "status, for example 500", 2, "e1")
    );
    assert_eq!(first.blame.as_deref(), Some("candidate"));
    let latency = &found.latency;
    assert_eq!(
        (latency.primary.p50_us, latency.primary.p95_us, latency.shadow.p99_us),
        (Some(500), Some(950), Some(99))
    );
}

#[test]
fn the_largest_differences_are_kept_with_their_lines() {
    let amount_of = |n: usize| format!("{}.50", n + 1);
    let differing = |n: usize| {
        let extra = line(Source::Shadow, Some(Kind::Extra), "fares", &amount_of(n), "0");
        let same = line(Source::Both, None, "cash", "1", "0");
        exchange(&format!("d{n:03}"), Outcome::Different, vec![extra, same])
    };
    let wide =
        (0..150).map(|_| line(Source::Shadow, Some(Kind::Extra), "fares", "1000", "0")).collect();
    let mut rows: Vec<_> = (0..DIFFERING_EXCHANGES_MAX + 10).map(differing).collect();
    rows.push(exchange("wide", Outcome::Different, wide));
    let totals = totals_of(&[rows]).unwrap();
    assert_eq!(totals.largest.len(), DIFFERING_EXCHANGES_MAX);
    let first = &totals.largest[0];
    assert_eq!((&*first.exchange_id, &*first.money), ("wide", "150000.00"));
    assert_eq!((first.lines.len(), first.lines_left_out), (EXCHANGE_LINES_MAX, 50));
    let second = &totals.largest[1];
    assert_eq!(
        (&*second.exchange_id, &*second.money, &second.kinds[..]),
        ("d209", "210.50", &["extra".to_owned()][..])
    );
    assert_eq!(second.lines.len(), 2);
    assert_eq!(second.occurred_at.as_microsecond(), 1_781_000_000_000_000);
    assert_eq!(totals.largest.last().unwrap().exchange_id, "d011");
}

#[test]
fn an_exchange_that_differs_without_a_line_is_listed() {
    let mut row = exchange("e1", Outcome::Errored, vec![]);
    (row.reason, row.detail) = (Some("timeout".into()), Some("after 10 s".into()));
    let totals = totals_of(&[vec![row]]).unwrap();
    assert_eq!(totals.largest[0].reason.as_deref(), Some("timeout: after 10 s"));
    assert_eq!((&*totals.largest[0].exchange_id, &*totals.largest[0].money), ("e1", "0.00"));
}

#[test]
fn no_shards_and_empty_shards_have_empty_totals() {
    assert_eq!(totals_of(&[]).unwrap(), Totals::default());
    assert_eq!(totals_of(&[vec![]]).unwrap(), Totals::default());
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let journal = Journal::of_run(Path::new("/nonexistent"), &run_id(), 1, &[0]);
    let error = totals(&journal, &policy()).unwrap_err().to_string();
    assert!(
        error.contains(
            "cannot read the journal table `entry` (/nonexistent/journal/entry/revision=1/"
        ),
        "{error}"
    );
}

/// Sums debits in the streaming engine, as a run's are.
fn sum(debits: &[i128]) -> Result<i128, AggregateError> {
    let money = |name: &str, units: &[i128]| {
        Int128Chunked::from_slice(name.into(), units)
            .into_decimal_unchecked(38, 9)
            .into_series()
            .into_column()
    };
    let key = Column::new("key".into(), vec!["one"; debits.len()]);
    let columns = vec![key, money("debit", debits), money("credit", &vec![0; debits.len()])];
    let frame = DataFrame::new(debits.len(), columns).unwrap();
    let sums = run("sums", frame.lazy().group_by([col("key")]).agg(sums())).unwrap();
    Ok(Rows::of("sums", &sums).money(0)?.debit)
}

#[test]
fn a_sum_at_the_end_of_decimal_38_is_exact_or_an_error_and_never_wraps() {
    let large = 10_i128.pow(36);
    assert_eq!(sum(&vec![large; 99]).unwrap(), 99 * large);
    assert_eq!(sum(&vec![-large; 99]).unwrap(), -99 * large);
    assert_eq!(sum(&[10_i128.pow(38) - 1]).unwrap(), 10_i128.pow(38) - 1);
    // 100 reach 10³⁸, which decimal(38) cannot hold; 200 are beyond 2¹²⁷, where polars would wrap to a negative sum.
    for lines in [100, 200, 1_000] {
        assert!(matches!(sum(&vec![large; lines]), Err(AggregateError::Overflow(_))), "{lines}");
        assert!(matches!(sum(&vec![-large; lines]), Err(AggregateError::Overflow(_))), "{lines}");
    }
}

#[test]
fn percentiles_are_nearest_ranks() {
    let of = |values: &[i64]| {
        let ranks = nearest_ranks(values.to_vec());
        (ranks.p50_us, ranks.p95_us, ranks.p99_us)
    };
    assert_eq!(of(&[]), (None, None, None));
    assert_eq!(of(&[7]), (Some(7), Some(7), Some(7)));
    assert_eq!(of(&[4, 1, 3, 2]), (Some(2), Some(4), Some(4)));
}

#[test]
fn a_line_that_moved_in_time_is_counted_though_no_money_differs() {
    let moved = |id: &str, kind| {
        let lines = [Source::Primary, Source::Shadow];
        let lines = lines.map(|source| line(source, Some(kind), "fares", "1", "0"));
        exchange(id, Outcome::Different, lines.into())
    };
    let totals = totals_of(&[
        vec![moved("d2", Kind::EntityChanged), moved("d3", Kind::Reclassified)],
        vec![moved("d1", Kind::PeriodChanged)],
    ])
    .unwrap();
    let found = |moved: &Redated| (moved.exchanges, moved.example.clone());
    let exchanges = &totals.exchanges;
    assert_eq!(found(&exchanges.entity_changed), (1, Some("d2".into())));
    assert_eq!(found(&exchanges.period_changed), (1, Some("d1".into())));
}
