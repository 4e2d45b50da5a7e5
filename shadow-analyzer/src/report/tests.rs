//! What a reader may rely on.

use std::collections::BTreeSet;

use jiff::civil::date;

use crate::report::fixture::{certified, differing, equal, exchange, inconclusive, refused, sides};
use crate::report::render;
use crate::verdict::{
    Assumed, AssumedMoney, Control, Decision, Dimension, DimensionName, IgnoredPath, Observed,
    OutsideChart, OutsidePlace, RatesFile, Replay, StructuralDifference, StructuralExample,
    Structure, Verdict,
};

fn page(verdict: &Verdict) -> String {
    render(verdict).expect("writing to a string does not fail")
}

/// Returns the exact and the shown text of every figure of a page.
fn figures(page: &str) -> Vec<(&str, &str)> {
    page.split("<data value=\"")
        .skip(1)
        .map(|rest| {
            let (exact, rest) = rest.split_once('"').expect("a value ends");
            let (_, rest) = rest.split_once('>').expect("a tag ends");
            (exact, rest.split_once("</data>").expect("an element ends").0)
        })
        .collect()
}

/// Returns the page as a reader sees it: no markup, no style.
fn seen(page: &str) -> String {
    let (head, rest) = page.split_once("<style>").expect("a style");
    let body = rest.split_once("</style>").expect("its end").1;
    let mut text = String::new();
    for part in [head, body].concat().split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collects every text of a JSON document.
fn texts(json: &serde_json::Value, into: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::String(text) => {
            into.insert(text.clone());
        }
        serde_json::Value::Array(all) => all.iter().for_each(|one| texts(one, into)),
        serde_json::Value::Object(all) => all.values().for_each(|one| texts(one, into)),
        _ => {}
    }
}

#[test]
fn every_figure_is_the_verdicts_and_every_amount_of_a_cell_is_shown() {
    for verdict in [refused(), certified(), inconclusive()] {
        let page = page(&verdict);
        keep(verdict.verdict.word(), &page);
        let mut known = BTreeSet::new();
        texts(&serde_json::to_value(&verdict).expect("a verdict is JSON"), &mut known);
        let figures = figures(&page);
        for (exact, shown) in &figures {
            assert!(known.contains(*exact), "{exact} is not in the verdict");
            let plain = shown.replace(',', "").replace('\u{2212}', "-").replace('+', "");
            let (whole, decimals) = exact.split_once('.').unwrap_or((exact, ""));
            assert_eq!(plain, format!("{whole}.{decimals:0<2}"));
        }
        let shown: BTreeSet<_> = figures.iter().map(|(exact, _)| *exact).collect();
        for cell in verdict.dimensions.iter().flat_map(|dimension| &dimension.cells) {
            for side in cell.currencies.iter().flat_map(|of| [&of.debit, &of.credit]) {
                for money in [&side.primary, &side.shadow, &side.difference, &side.gross] {
                    assert!(shown.contains(money.as_str()), "{money} is not on the page");
                }
            }
            for judged in [&cell.net, &cell.gross].into_iter().flatten() {
                assert!(shown.contains(judged.difference()));
                assert!(judged.threshold.as_deref().is_none_or(|most| shown.contains(most)));
            }
        }
    }
}

#[test]
fn a_refusal_tells_its_score_and_its_worst_cell() {
    let seen = seen(&page(&refused()));
    for text in [
        "50 of 100 : the worst cell strayed to 2.0 times its threshold",
        "Worst cell Eats (line of business): net difference of credits 2,000.00 USD against 1,000.00 allowed",
        "Basis all traffic of the range",
        "−2,000.00",
        "402,271.005",
        "Freight 14,210.55 USD",
        "5: the candidate made an upstream call that production never made: GET /fares/surge",
        "No control",
        "instance pod-7 recorded nothing",
        "≠ changed: Eats",
    ] {
        assert!(seen.contains(text), "{text:?} is not on the page: {seen}");
    }
}

#[test]
fn what_differs_beside_money_and_what_the_control_shows_is_on_the_page() {
    let mut verdict = refused();
    let example = StructuralExample {
        exchange_id: "0195b6a1-7c40-7e3b-9d12-0000000000aa".into(),
        primary: Some("v1".into()),
        shadow: None,
    };
    verdict.structure = Structure {
        differences: vec![StructuralDifference {
            route: "GET /v1/trips/{id}".into(),
            place: "body".into(),
            path: "$.stops[*].note".into(),
            kind: "missing".into(),
            exchanges: 1_200,
            examples: vec![example],
        }],
        left_out: 3,
        ignored: vec![IgnoredPath { route: None, path: "$..at".into(), reason: "the time".into() }],
    };
    verdict.control = Some(Control {
        build: "2026.10".into(),
        exchanges_replayed: 4_218,
        exchanges_differing: 2,
        exchanges_explained: 1,
        cells: vec![],
    });
    let money =
        AssumedMoney { currency: "USD".into(), debit: "12.50".into(), credit: "0.00".into() };
    verdict.replay = Some(Replay {
        upstreams: "own".into(),
        isolation_proven: false,
        isolation: "isolation not proven: it was not looked at".into(),
        state: "snapshot".into(),
        assumed: Assumed { exchanges: 4, money: vec![money] },
    });
    verdict.differing.exchanges[0].blame = Some("harness".into());
    let seen = seen(&page(&verdict));
    for text in [
        "GET /v1/trips/{id} body $.stops[*].note missing 1,200 v1 – 0195b6a1-7c40-7e3b-9d12-0000000000aa",
        "3 more in verdict.json or the journal",
        "$..at of every route: the time",
        "differed from what it had booked in 2 exchanges of 4,218 exchanges",
        "isolation not proven snapshot; upstreams of its own",
        "Isolation isolation not proven: it was not looked at",
        "4 exchanges rest on declared answers",
        "12.50 USD debit",
        "In 1 exchange it shows all that the candidate shows",
        "the control shows the same, so the replay is to blame",
    ] {
        assert!(seen.contains(text), "{text:?} is not on the page: {seen}");
    }
}

#[test]
fn what_the_verdict_rests_on_is_on_the_page() {
    let seen = seen(&page(&refused()));
    for expected in [
        "large bookings ✕ not all 5,001 0 0 0 783 4,218 4,189 20 4 0 5",
        "3559.00 of 3600.00 instance-seconds are covered, 0.988611 of 1, from 1 instance",
        "pod-7 ended without a clean stop 2026-03-14 00:10:00 UTC 2026-03-14 00:10:41 UTC 41.00",
        "No recorder was there from 2026-03-14 00:10:00 UTC to 2026-03-14 00:10:41 UTC, 41.00 seconds",
        "4 accounts and currencies, 1 beyond the threshold",
        "Eats 4000 Revenue 2026-03 USD 31 29 0.00 9,100.25 0.00 7,100.25 0.00 −2,000.00 +2,000.00 1,000.00 ✕ fail",
        "All accounts USD 31 29",
        "1 of 9 scenarios of production compared, with 0.50 of 1 of the money that it booked",
        "Not reached: 8",
        "Eats 4000 Revenue POST /v1/refunds 0 12 0.00 640.50",
        "7 more in verdict.json or the journal",
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }
}

#[test]
fn a_field_that_moved_is_named_beside_its_line() {
    let mut verdict = refused();
    for (line, date) in [(1, "2026-03-31"), (2, "2026-04-01")] {
        verdict.differing.exchanges[0].lines[line].accounting_date = Some(date.into());
    }
    let seen = seen(&page(&verdict));
    assert!(seen.contains("≠ changed accounting date: 2026-03-31 → 2026-04-01"), "{seen}");
}

#[test]
fn a_score_is_never_a_percentage() {
    for verdict in [refused(), certified(), inconclusive()] {
        assert!(!seen(&page(&verdict)).contains('%'));
    }
}

#[test]
fn a_certificate_and_an_undecided_run_say_so() {
    let certified = seen(&page(&certified()));
    assert!(certified.contains("100 of 100 : no cell strayed beyond its threshold"));
    assert!(certified.contains("Money not examined: none"));

    let undecided = page(&inconclusive());
    assert!(undecided.contains("score undecided"));
    assert!(seen(&undecided).contains("Confidence nothing was decided"));
    assert!(!seen(&undecided).contains("of 100 :"));
    assert!(seen(&undecided).contains("No exchange was compared."));
    assert!(!seen(&undecided).contains("None:"), "nothing that was not examined is called sound");

    let mut partly = refused();
    partly.verdict = Decision::Inconclusive;
    assert!(seen(&page(&partly)).contains("50 of 100 : on what was examined, the worst cell"));
}

#[test]
fn a_page_loads_and_runs_nothing() {
    for verdict in [refused(), certified(), inconclusive()] {
        // An empty icon keeps a browser from asking its server for one.
        let page = page(&verdict).replacen("<link rel=\"icon\" href=\"data:,\">", "", 1);
        for part in [
            "<script",
            "<link",
            "<img",
            "<iframe",
            "@import",
            "url(h",
            "src=",
            "xmlns",
            "https://",
            "\"http:",
            "javascript:",
        ] {
            assert!(!page.contains(part), "{part}");
        }
        // The candidate's address is text, never a reference.
        for reference in page.split("href=\"").skip(1) {
            assert!(reference.starts_with('#'));
        }
    }
}

#[test]
fn hostile_strings_are_text() {
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=y>\u{0}\u{7f}\u{85}\u{202e}\u{2066}\u{200b}\u{feff}\n{{7*7}}";
    let escapes = serde_json::to_string(hostile).expect("a string is JSON");
    let mut json = serde_json::to_string(&refused()).expect("a verdict is JSON");
    // Every text of the document that is not an instant or a word of the format.
    let mut all = BTreeSet::new();
    texts(&serde_json::from_str(&json).expect("JSON"), &mut all);
    for text in all {
        let word = serde_json::to_string(&text).expect("JSON");
        let changed = json
            .replace(&format!(":{word}"), &format!(":{escapes}"))
            .replace(&format!("[{word}"), &format!("[{escapes}"));
        if serde_json::from_str::<Verdict>(&changed).is_ok() {
            json = changed;
        }
    }
    let page = page(&serde_json::from_str(&json).expect("a verdict"));
    keep("hostile", &page);
    assert!(page.matches("script&#62;alert(1)").count() > 100);
    assert!(page.contains("␀␡⟨U+0085⟩⟨U+202E⟩⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩␊{{7*7}}"));
    for part in [
        "<script", "<img", "\u{0}", "\u{7f}", "\u{85}", "\u{202e}", "\u{2066}", "\u{200b}",
        "\u{feff}",
    ] {
        assert!(!page.contains(part), "{part:?}");
    }
    // A name cannot reorder its neighbours: each stands alone in an element that isolates it.
    for part in page.split('<').filter(|part| part.contains(">&#60;script")) {
        assert!(["bdi", "data", "title"].iter().any(|element| part.starts_with(element)), "{part}");
    }
    // A quote of an attribute is never closed early: every attribute value of the page stands between two quotes of its tag.
    for tag in page.split_once("</style>").expect("a style").1.split('<').skip(1) {
        let tag = tag.split_once('>').expect("a tag ends").0;
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
}

#[test]
fn the_size_is_bounded_and_what_is_left_out_is_said() {
    let mut verdict = refused();
    let cells: Vec<_> = (0..10_000)
        .map(|number| {
            let moved = sides("1234567.00", "1234568.00", "1.00", "1.00");
            let (line, account) =
                (format!("LOB {}", number / 100), format!("Account {}", number % 100));
            differing(&[&line, &account], moved, 100)
        })
        .collect();
    for name in DimensionName::STANDARD {
        let at = verdict
            .dimensions
            .iter_mut()
            .find(|dimension| dimension.name == name)
            .expect("fixture");
        *at = Dimension { name, gated: true, cells: cells.clone() };
    }
    verdict.differing.total = 10_000;
    verdict.differing.left_out = 9_800;
    verdict.differing.exchanges = (0..200).map(exchange).collect();
    for exchange in &mut verdict.differing.exchanges {
        exchange.lines = exchange.lines.iter().cycle().take(100).cloned().collect();
    }
    let page = page(&verdict);
    keep("large", &page);
    assert!(page.len() < 5 * 1024 * 1024, "{} bytes", page.len());
    let seen = seen(&page);
    assert!(seen.contains("9,960 more in verdict.json"));
    assert!(seen.contains("75 more lines of business, 92 more GL accounts"));
    assert!(seen.contains("9,800 more only in the journal"));
}

#[test]
fn the_size_is_bounded_where_every_cell_has_many_currencies() {
    let mut verdict = refused();
    let freight = verdict.dimensions[0].cells[2].clone();
    let currencies = |from: u32| {
        let mut money = freight.currencies[0].clone();
        money.currency = format!("X{from:02}");
        money
    };
    let cell =
        crate::verdict::Cell { currencies: (0..90).map(currencies).collect(), ..freight.clone() };
    for dimension in &mut verdict.dimensions {
        let names = (0..100).map(|number| vec![format!("LOB {number}"), "4000 Revenue".to_owned()]);
        dimension.cells =
            names.map(|value| crate::verdict::Cell { value, ..cell.clone() }).collect();
    }
    let page = page(&verdict);
    assert!(page.len() < 3 * 1024 * 1024, "{} bytes", page.len());
    assert!(seen(&page).contains("78 more currencies in verdict.json"));
}

#[test]
fn several_currencies_are_shown_apart_and_together() {
    let seen = seen(&page(&refused()));
    assert!(seen.contains("Credit EUR 402,311.005 402,271.005 −40.00"));
    assert!(seen.contains("Credit all, in USD absolute, converted 113.20 826.1555025"));
}

#[test]
fn a_missing_rate_or_threshold_is_said() {
    let mut verdict = certified();
    let mut cell = equal(&["New line"], "10.00", "10.00");
    (cell.net, cell.gross, cell.confidence, cell.not_examined) = (None, None, None, None);
    cell.currencies[0].not_examined_debit = "77.00".into();
    verdict.dimensions[0].cells.insert(0, cell);
    let seen = seen(&page(&verdict));
    assert!(seen.contains("? not judged"));
    assert!(seen.contains("New line 77.00 USD debit"));
}

#[test]
fn tables_have_captions_and_headers() {
    let page = page(&refused());
    assert_eq!(page.matches("<table").count(), page.matches("<caption").count());
    for header in page.split("<th").skip(1).filter(|rest| !rest.starts_with("ead")) {
        assert!(header.starts_with(" scope=\""), "{}", &header[..40]);
    }
}

#[test]
fn a_day_a_projection_and_a_further_dimension_are_said() {
    let mut verdict = certified();
    let country = DimensionName::named("country").expect("a name");
    let mut cell = equal(&["NL"], "10.00", "10.00");
    let net = cell.net.as_mut().expect("judged");
    (net.day, net.debit) = (Some(date(2026, 3, 14)), "40.00".into());
    let [debit, credit, balance] = ["4.00", "0.00", "4.00"].map(str::to_owned);
    net.observed = Some(Observed { debit, credit, balance, breached: false });
    verdict.dimensions.push(Dimension { name: country, gated: true, cells: vec![cell] });
    verdict.policy.assurance = Some("none".into());
    verdict.policy.thresholds[0].default.as_mut().expect("a threshold").per = Some("day".into());
    let page = page(&verdict);
    assert!(page.contains("id=\"dimension-country\""));
    let seen = seen(&page);
    for said in [
        "By country",
        "net judged per UTC day; the worst is 2026-03-14",
        "net debit: 4.00 USD observed, 40.00 USD projected to all traffic",
        "every other per UTC day",
        "none : its projection is judged, without a bound",
        "the month of the accounting date",
    ] {
        assert!(seen.contains(said), "{said} in {seen}");
    }
}

#[test]
fn the_sources_of_rates_and_accounts_are_said() {
    let mut verdict = certified();
    let place = |gl_account: &str, entries_primary| OutsidePlace {
        line_of_business: "Rides".into(),
        gl_account: gl_account.into(),
        entries_primary,
        entries_shadow: 3,
    };
    let places = vec![place("9999", 0), place("4000", 12)];
    verdict.outside_chart = Some(OutsideChart { places, left_out: 2 });
    verdict.policy.chart_sha256 = Some("c0ffee".into());
    verdict.policy.rates_file = Some(RatesFile {
        sha256: "beef".into(),
        age_max_seconds: 86_400,
        day: Some(date(2026, 3, 14)),
        dates: [("EUR".to_owned(), date(2026, 3, 13))].into(),
    });
    let seen = seen(&page(&verdict));
    for said in [
        "Rides ▲ the candidate alone 9999 0 3",
        "Rides 4000 12 3",
        "2 more in verdict.json or in the journal",
        "beef , those of 2026-03-14 or at most 24 h older",
        "EUR of 2026-03-13",
        "c0ffee",
    ] {
        assert!(seen.contains(said), "{said} in {seen}");
    }
}

/// Writes a page into the directory that a developer names, to look at it.
fn keep(name: &str, page: &str) {
    let Some(directory) = std::env::var_os("SHADOW_REPORT_FIXTURES") else { return };
    let file = std::path::Path::new(&directory).join(format!("report-{name}.html"));
    std::fs::write(file, page).expect("a writable directory");
}
