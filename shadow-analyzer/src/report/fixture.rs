//! Verdicts to draw reports from: a refusal, a certificate, and one that decides nothing.

use std::collections::BTreeMap;

use crate::verdict::{
    Basis, Candidate, Cell, CellName, CellPolicy, Completeness, Coverage, CurrencyMoney, Decision,
    Differing, DifferingExchange, Dimension, DimensionName, DimensionPolicy, FORMAT, Judged,
    KindCount, Kinds, Latency, LedgerValidation, Line, Losses, Measure, OutcomeReason, Outcomes,
    Percentiles, Policy, Reason, Rule, Sides, Structure, ThresholdPolicy, TimeCoverage,
    UpstreamCalls, VERSION, Verdict,
};
use crate::verdict::{History, Signatures};

mod evidence;

pub(super) fn sides(primary: &str, shadow: &str, difference: &str, gross: &str) -> Sides {
    Sides {
        primary: primary.into(),
        shadow: shadow.into(),
        difference: difference.into(),
        gross: gross.into(),
    }
}

pub(super) fn money(currency: &str, debit: Sides, credit: Sides, balance: Sides) -> CurrencyMoney {
    let not_examined = || "0.00".to_owned();
    CurrencyMoney {
        currency: currency.into(),
        debit,
        credit,
        balance,
        expected: None,
        not_examined_debit: not_examined(),
        not_examined_credit: not_examined(),
    }
}

/// Returns a judged difference; `of` is debit, credit, balance, threshold.
pub(super) fn judged(of: [&str; 4], worst: Measure, confidence: u8) -> Judged {
    let [debit, credit, balance, threshold] = of.map(str::to_owned);
    let breached = confidence < 100;
    Judged {
        debit,
        credit,
        balance,
        worst,
        threshold: Some(threshold),
        confidence: Some(confidence),
        breached,
        day: None,
        observed: None,
    }
}

pub(super) fn cell(
    value: &[&str],
    currencies: Vec<CurrencyMoney>,
    net: Judged,
    gross: Judged,
    differing: u64,
) -> Cell {
    Cell {
        value: value.iter().map(|value| (*value).to_owned()).collect(),
        new: false,
        declared: false,
        currencies,
        confidence: net.confidence.min(gross.confidence),
        net: Some(net),
        gross: Some(gross),
        not_examined: Some("0.00".into()),
        exchanges_differing: differing,
        entries_primary: 1_204,
        entries_shadow: 1_204,
    }
}

/// Returns a cell in which nothing differs.
pub(super) fn equal(value: &[&str], debit: &str, credit: &str) -> Cell {
    let same = |amount: &str| sides(amount, amount, "0.00", "0.00");
    let none = |threshold| judged(["0.00", "0.00", "0.00", threshold], Measure::Debit, 100);
    let of = money("USD", same(debit), same(credit), same("12.50"));
    cell(value, vec![of], none("1000.00"), none("5000.00"), 0)
}

/// Returns a cell in one currency whose credits differ.
pub(super) fn differing(value: &[&str], credit: Sides, confidence: u8) -> Cell {
    let off = credit.difference.trim_start_matches('-').to_owned();
    let sign = if credit.difference.starts_with('-') { "" } else { "-" };
    let balance = sides("-96420.75", "-94420.75", &format!("{sign}{off}"), &credit.gross);
    let gross = credit.gross.clone();
    let of = money("USD", sides("1204.00", "1204.00", "0.00", "0.00"), credit, balance);
    let net = judged(["0.00", &off, &off, "1000.00"], Measure::Credit, confidence);
    cell(
        value,
        vec![of],
        net,
        judged(["0.00", &gross, &gross, "5000.00"], Measure::Credit, 100),
        20,
    )
}

pub(super) fn line(
    number: i32,
    source: &str,
    kind: Option<&str>,
    at: [&str; 2],
    amounts: [&str; 2],
) -> Line {
    Line {
        transaction: 0,
        transaction_key: Some("trip-000417/settlement".into()),
        line: number,
        source: source.into(),
        kind: kind.map(str::to_owned),
        blame: None,
        line_of_business: at[0].into(),
        gl_account: at[1].into(),
        currency: "USD".into(),
        debit: amounts[0].into(),
        credit: amounts[1].into(),
        accounting_date: None,
        entity: None,
        dimensions: BTreeMap::new(),
        change: None,
    }
}

fn kinds() -> Kinds {
    let count = |kind: &str, exchanges, lines| KindCount {
        kind: kind.into(),
        field: None,
        exchanges,
        lines,
    };
    let lines = vec![
        count("reclassified", 212, 424),
        count("amount_changed", 71, 142),
        count("missing", 71, 71),
    ];
    Kinds { lines, ..Kinds::default() }
}

pub(super) fn exchange(number: u32) -> DifferingExchange {
    let kind = Some("reclassified");
    let mut lines = vec![
        line(0, "both", None, ["Rides", "1100 Receivables"], ["124.00", "0.00"]),
        line(1, "primary", kind, ["Eats", "4000 Revenue"], ["0.00", "100.00"]),
        line(2, "shadow", kind, ["Rides", "4000 Revenue"], ["0.00", "100.00"]),
        line(3, "both", None, ["Rides", "2200 Tax payable"], ["0.00", "24.00"]),
    ];
    let mut kinds = vec!["reclassified".to_owned()];
    if number % 3 == 1 {
        let kind = Some("amount_changed");
        lines.push(line(4, "primary", kind, ["Eats", "6100 Courier pay"], ["18.105", "0.00"]));
        lines.push(line(5, "shadow", kind, ["Eats", "6100 Courier pay"], ["18.11", "0.00"]));
        lines.push(line(
            6,
            "primary",
            Some("missing"),
            ["Eats", "6900 Rounding"],
            ["0.005", "0.00"],
        ));
        kinds.extend(["amount_changed".to_owned(), "missing".to_owned()]);
    }
    DifferingExchange {
        exchange_id: format!("0195b6a1-7c40-7e3b-9d12-{number:012x}"),
        occurred_at: "2026-03-14T09:26:53.589793Z".parse().expect("a timestamp"),
        route: "POST /v1/trips/{id}/settlement".into(),
        outcome: "different".into(),
        reason: None,
        blame: None,
        primary_status: Some(200),
        shadow_status: Some(200),
        kinds,
        money: "100.00".into(),
        lines,
        lines_left_out: 0,
        fields: Vec::new(),
        fields_left_out: 0,
    }
}

fn policy() -> Policy {
    let threshold = |net: &str| ThresholdPolicy {
        net: Some(net.into()),
        share: None,
        floor: None,
        gross: None,
        per: None,
    };
    let relative = ThresholdPolicy {
        net: None,
        share: Some("0.0005".into()),
        floor: Some("250.00".into()),
        gross: Some("7500.00".into()),
        per: None,
    };
    let thresholds = DimensionName::STANDARD.map(|dimension| DimensionPolicy {
        dimension,
        gate: true,
        default: Some(threshold("1000.00")),
        cells: vec![CellPolicy {
            value: vec!["Freight".into()],
            threshold: relative.clone(),
            declared: false,
        }],
    });
    Policy {
        sha256: "9f2c41d8a6b7e05d3c1f8e7a4b6d90c2e5f1a3b8d7c6049e2b1a5f3c8d7e6b90".into(),
        mapping_sha256: "17ab90cd34ef56128790abcdef1234567890fedcba0987654321aabbccddeeff".into(),
        min_exchanges: 1_000,
        min_range_seconds: 3_600,
        candidate_errors_max: 0,
        money_unknown_max: 0,
        accounting_period: "month".into(),
        assurance: None,
        rates_file: None,
        chart_sha256: None,
        thresholds: thresholds.into(),
        state: "stateless".into(),
        ignored: Vec::new(),
        expected_sha256: None,
        expected: Vec::new(),
        assumptions: Vec::new(),
    }
}

fn differing_dimensions() -> Vec<Dimension> {
    let eur = || {
        money(
            "EUR",
            sides("8100.00", "8100.00", "0.00", "0.00"),
            sides("402311.005", "402271.005", "-40.00", "40.00"),
            sides("0.00", "40.00", "40.00", "40.00"),
        )
    };
    let usd = || {
        money(
            "USD",
            sides("0.00", "0.00", "0.00", "0.00"),
            sides("1250000.00", "1250070.00", "70.00", "130.00"),
            sides("0.00", "-70.00", "-70.00", "130.00"),
        )
    };
    let moved = |gone| {
        sides(
            "96420.75",
            if gone { "94420.75" } else { "98420.75" },
            if gone { "-2000.00" } else { "2000.00" },
            "2000.00",
        )
    };
    let freight = |value: &[&str]| {
        let net = judged(["0.00", "113.20", "113.20", "826.1555025"], Measure::Credit, 100);
        cell(
            value,
            vec![eur(), usd()],
            net,
            judged(["0.00", "173.20", "173.20", "7500.00"], Measure::Credit, 100),
            3,
        )
    };
    let lines = vec![
        differing(&["Eats"], moved(true), 50),
        differing(&["Rides"], moved(false), 50),
        freight(&["Freight"]),
        equal(&["Transit"], "48120.00", "48120.00"),
    ];
    let accounts = vec![
        freight(&["4000 Revenue"]),
        equal(&["1100 Receivables"], "2004310.40", "1990000.00"),
        equal(&["2200 Tax payable"], "0.00", "310204.18"),
        equal(&["6100 Courier pay"], "88102.335", "0.00"),
    ];
    let both = vec![
        differing(&["Eats", "4000 Revenue"], moved(true), 50),
        differing(&["Rides", "4000 Revenue"], moved(false), 50),
        freight(&["Freight", "4000 Revenue"]),
        equal(&["Eats", "6100 Courier pay"], "88102.335", "0.00"),
        equal(&["Rides", "1100 Receivables"], "1600000.00", "1590000.00"),
        equal(&["Rides", "2200 Tax payable"], "0.00", "210204.18"),
        equal(&["Transit", "1100 Receivables"], "48120.00", "48120.00"),
    ];
    let names = DimensionName::STANDARD.into_iter();
    names
        .zip([lines, accounts, both])
        .map(|(name, cells)| Dimension { name, gated: true, cells })
        .collect()
}

fn empty(verdict: Decision) -> Verdict {
    let time = |text: &str| text.parse().expect("a timestamp");
    Verdict {
        format: FORMAT.into(),
        version: VERSION,
        run_id: "0195b6f0-2d11-7c55-8a90-6e1f0c2b7d44".into(),
        revision: 1,
        service: "banker".into(),
        candidate: Candidate { build: "2026.11-rc2".into(), url: "http://127.0.0.1:18080".into() },
        primary_build: Some("2026.10".into()),
        from: time("2026-03-14T00:00:00Z"),
        to: time("2026-03-15T00:00:00Z"),
        decided_at: time("2026-03-15T06:12:09Z"),
        verdict,
        confidence: 0,
        decided: false,
        why: String::new(),
        reasons: Vec::new(),
        basis: Basis { sampled: false, text: "all traffic of the range".into() },
        next: String::new(),
        exchanges: Outcomes::default(),
        completeness: Completeness {
            complete: true,
            text: "0 recorded exchanges, 0 accounted for.".into(),
            strata: Vec::new(),
        },
        time: TimeCoverage::default(),
        ledger: LedgerValidation::default(),
        coverage: Coverage::default(),
        reporting_currency: "USD".into(),
        rates: BTreeMap::from([("EUR".into(), "1.08".into()), ("USD".into(), "1.00".into())]),
        dimensions: Vec::new(),
        differing: Differing::default(),
        not_compared: Vec::new(),
        losses: Losses::default(),
        upstream: UpstreamCalls::default(),
        latency: Latency::default(),
        signatures: Signatures::default(),
        history: History::default(),
        expected: Vec::new(),
        policy: policy(),
        control: None,
        outside_chart: None,
        replay: None,
        supplied: None,
        structure: Structure::default(),
        kinds: Kinds::default(),
    }
}

/// A build that books revenue of one line of business under another, twice its threshold.
pub(crate) fn refused() -> Verdict {
    let reason = |rule, line: &str, more: &str| Reason {
        rule,
        effect: Rule::effect(rule),
        text: format!(
            "Credits of {line} differ by 2000.00 USD net, 2.0 times the 1000.00 USD allowed. {more}"
        ),
        cell: Some(CellName { dimension: DimensionName::LineOfBusiness, value: vec![line.into()] }),
    };
    let mut dimensions = differing_dimensions();
    dimensions[0].cells[2].not_examined = Some("14210.55".into());
    let percentiles =
        |p50, p95, p99| Percentiles { p50_us: Some(p50), p95_us: Some(p95), p99_us: Some(p99) };
    let unverified =
        "the candidate made an upstream call that production never made: GET /fares/surge";
    let mut verdict = Verdict {
        confidence: 50,
        decided: true,
        why: "Eats strayed 2.0 times its threshold: 2000.00 USD of its revenue is booked under Rides.".into(),
        reasons: vec![
            reason(Rule::NetBeyondThreshold, "Eats", "Look at the exchanges of kind reclassified."),
            reason(Rule::NetBeyondThreshold, "Rides", ""),
        ],
        next: "Open the largest differing exchange below, correct the booking rule of the candidate, and certify again.".into(),
        exchanges: Outcomes { recorded: 4_218, matched: 4_189, different: 20, filtered: 4, errored: 0, unverified: 5 },
        completeness: Completeness { complete: true, text: "4218 recorded exchanges, 4218 accounted for.".into(), strata: Vec::new() },
        dimensions,
        kinds: kinds(),
        differing: Differing { total: 20, left_out: 0, exchanges: (0..20).map(exchange).collect() },
        not_compared: vec![
            OutcomeReason { outcome: "unverified".into(), reason: unverified.into(), blame: Some("candidate".into()), count: 5, example: "0195b6a1-7c40-7e3b-9d12-0000000000ff".into() },
            OutcomeReason { outcome: "filtered".into(), reason: "recorded by another build: 2026.09".into(), blame: None, count: 4, example: "0195b6a1-7c40-7e3b-9d12-0000000000fe".into() },
        ],
        losses: Losses { gaps: vec!["instance pod-7 recorded nothing from 03:10:00 to 03:10:41".into()], ..Losses::default() },
        upstream: UpstreamCalls { hits: 12_640, misses: 5, unused: 2 },
        latency: Latency { primary: percentiles(12_345, 48_002, 131_900), shadow: percentiles(9_120, 30_777, 88_051) },
        ..empty(Decision::Refused)
    };
    evidence::add(&mut verdict);
    verdict
}

/// A build that differs within its thresholds.
pub(crate) fn certified() -> Verdict {
    let mut verdict = Verdict {
        confidence: 100,
        decided: true,
        why:
            "Every cell is within its thresholds; the largest difference is 113.20 USD in Freight."
                .into(),
        next: "Ship it. Keep this report with the release.".into(),
        ..Verdict { verdict: Decision::Certified, reasons: Vec::new(), ..refused() }
    };
    for dimension in &mut verdict.dimensions {
        dimension.cells.retain(|cell| cell.confidence == Some(100));
    }
    verdict.dimensions[0].cells[0].not_examined = Some("0.00".into());
    verdict.exchanges =
        Outcomes { recorded: 4_218, matched: 4_215, different: 3, ..Outcomes::default() };
    verdict.differing =
        Differing { total: 3, left_out: 0, exchanges: (0..3).map(exchange).collect() };
    verdict.not_compared = Vec::new();
    verdict.losses = Losses::default();
    verdict.upstream.misses = 0;
    verdict
}

/// A range that held nothing.
pub(super) fn inconclusive() -> Verdict {
    let reason = |rule, text: &str| Reason {
        rule,
        effect: Rule::effect(rule),
        text: text.into(),
        cell: None,
    };
    Verdict {
        why: "No exchange of the range could be compared, so nothing was decided.".into(),
        next: "Check that the candidate listens at its address, and run again.".into(),
        reasons: vec![
            reason(
                Rule::RunFailed,
                "The candidate could not be reached at http://127.0.0.1:18080: connection refused.",
            ),
            reason(
                Rule::TooFewExchanges,
                "0 exchanges were compared; 1000 are the fewest that carry a judgement.",
            ),
        ],
        primary_build: None,
        ..empty(Decision::Inconclusive)
    }
}
