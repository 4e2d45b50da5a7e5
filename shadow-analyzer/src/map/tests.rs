use std::path::Path;

use jiff::Timestamp;
use shadow_recorder::config::Document;
use shadow_recorder::exchange::{Body, End, ExchangeId, Response, Sample};
use shadow_recorder::ledger::config::mapping;
use shadow_replayer::plan::Range;
use shadow_replayer::run::Evidence;

use super::*;
use crate::config::take;
use crate::policy::Policy;

const LEDGER: &str = r#"
[[ledger]]
route = "POST /trips/*"
transactions = "$.transactions[*]"
entries = "$.entries[*]"
line_of_business = "$.lob"
gl_account = "$.gl"
currency = "$.currency"
debit = "$.debit"
credit = "$.credit"
[[ledger]]
route = "GET /health"
no_entries = true
"#;

const CERTIFY: &str = r#"
[certify]
reporting_currency = "USD"
[certify.thresholds.line_of_business]
net = 1
[certify.thresholds.gl_account]
net = 1
[certify.thresholds.line_of_business_gl_account]
net = 1
"#;

fn read_mapping() -> Mapping {
    let document = Document::parse(Path::new("shadow.toml"), LEDGER, |_| None).unwrap();
    let mapping = mapping(&document, &[]);
    document.finish().unwrap();
    mapping
}

fn policy(text: &str) -> Policy {
    let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
    let policy = take(&document, None).unwrap();
    document.finish().unwrap();
    policy
}

fn exchange(method: &str, target: &str, answer: Option<(u16, &str)>) -> Exchange {
    Exchange {
        id: ExchangeId("0197".into()),
        trace_id: "0".repeat(32),
        received_at: at("2026-11-20T07:30:00Z"),
        sequence: 1,
        duration_us: 1,
        service: "trips".into(),
        build: "1".into(),
        order_key: None,
        request: Request {
            method: method.into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            headers: Vec::new(),
            body: Body::default(),
            trailers: Vec::new(),
            principal: None,
        },
        response: answer.map(|(status, body)| Response {
            status,
            headers: Vec::new(),
            body: Body::of_text(body),
            trailers: Vec::new(),
        }),
        end: End::Complete,
        upstream: Vec::new(),
        sample: Sample::everything(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn range() -> Range {
    Range { from: at("2026-11-20T07:00:00Z"), to: at("2026-11-20T08:00:00Z") }
}

fn trip(currency: &str, debit: &str) -> String {
    format!(
        r#"{{"transactions":[{{"entries":[{{"lob":"rides","gl":"cash","currency":"{currency}","debit":"{debit}","credit":"0"}},{{"lob":"rides","gl":"fares","currency":"{currency}","debit":"0","credit":"1070.10"}}]}}]}}"#
    )
}

/// An exchange of which a whole answer happens to be there, and which nevertheless did not end.
fn broken_off(target: &str, end: End) -> Exchange {
    Exchange { end, ..exchange("POST", target, Some((201, &trip("USD", "1070.10")))) }
}

fn summary_of(exchanges: &[Exchange]) -> Summary {
    let mapping = read_mapping();
    let mut summary = Summary::default();
    for exchange in exchanges {
        summary.add(&mapping, exchange);
    }
    summary
}

fn text(summary: &Summary, policy: Option<&Policy>) -> String {
    render(summary, &Evidence::default(), policy)
}

fn render(summary: &Summary, evidence: &Evidence, policy: Option<&Policy>) -> String {
    summary.render(range(), evidence, policy, Path::new("shadow.toml"))
}

#[test]
fn every_answer_is_counted_once_by_route() {
    let summary = summary_of(&[
        exchange("POST", "/trips/1", Some((201, &trip("USD", "1070.10")))),
        exchange("POST", "/trips/2?x=1", Some((201, &trip("EUR", "1000")))),
        exchange("POST", "/trips/3", Some((201, r#"{"transactions":[]}"#))),
        exchange("POST", "/trips/4", Some((500, "oops"))),
        exchange("POST", "/trips/5", Some((201, "oops"))),
        exchange("POST", "/trips/6", Some((302, ""))),
        exchange("POST", "/trips/7", None),
        broken_off("/trips/8", End::ClientAborted),
        broken_off("/trips/9", End::UpstreamFailed),
        exchange("GET", "/health", Some((200, "ok"))),
        exchange("GET", "/else", Some((200, "{}"))),
    ]);
    let expected = r#"11 exchanges recorded from 2026-11-20T07:00:00Z to 2026-11-20T08:00:00Z

answers by route
  ROUTE          MAPPED  EMPTY  FAILED  UNMAPPED  UNPARSEABLE  BROKEN OFF
  GET /else           0      0       0         1            0           0
  GET /health         0      1       0         0            0           0
  POST /trips/*       2      1       1         1            1           3
  GET /else: 1 x no [[ledger]] for status 200
  POST /trips/*: 1 x answer: the body is not JSON: expected value at line 1 column 1
  POST /trips/*: 1 x no [[ledger]] for status 302
  BROKEN OFF: the answer was not recorded to its end, so that its money is unknown

what production booked
  LINE OF BUSINESS  GL ACCOUNT  CURRENCY  LINES     DEBIT    CREDIT
  rides             cash        EUR           1  1,000.00      0.00
  rides             cash        USD           1  1,070.10      0.00
  rides             fares       EUR           1      0.00  1,070.10
  rides             fares       USD           1      0.00  1,070.10

unbalanced transactions: 1 of 2, for example in exchange 0197
without a threshold in [certify.thresholds.line_of_business]: none
without a threshold in [certify.thresholds.gl_account]: none
without a threshold in [certify.thresholds.line_of_business_gl_account]: none
currencies without a rate: EUR

one answer: POST /trips/1 (exchange 0197)
  {"transactions":[{"entries":[{"lob":"rides","gl":"cash","currency":"USD","debit":"1070.10","credit":"0"},{"lob":"rides","gl":"fares","currency":"USD","debit":"0","credit":"1070.10"}]}]}

what was read from it
  KEY  LINE OF BUSINESS  GL ACCOUNT  CURRENCY     DEBIT    CREDIT
  -    rides             cash        USD       1,070.10      0.00
  -    rides             fares       USD           0.00  1,070.10

next: mend the [[ledger]] of POST /trips/*: the reasons above say which field of which entry cannot be read
"#;
    assert_eq!(text(&summary, Some(&policy(CERTIFY))), expected);
}

fn next(text: &str) -> &str {
    text.lines().last().unwrap().strip_prefix("next: ").unwrap()
}

const RATES: &str = "[certify.rates]\nEUR = \"1.25\"\n";

#[test]
fn the_next_step_is_the_first_obstacle() {
    let good = || exchange("POST", "/trips/1", Some((201, &trip("EUR", "1070.10"))));
    let aborted = || broken_off("/trips/2", End::ClientAborted);
    let without =
        |section: &str| CERTIFY.replace(&format!("[certify.thresholds.{section}]\nnet = 1\n"), "");
    for (exchanges, certify, expected) in [
        (vec![], Some(CERTIFY.to_owned()), "nothing was recorded in this range"),
        (
            vec![good(), exchange("GET", "/x", Some((200, "")))],
            None,
            "write a [[ledger]] for GET /x",
        ),
        (
            vec![exchange("GET", "/health", Some((200, "")))],
            None,
            "choose a range in which money was booked",
        ),
        (vec![aborted()], None, "here, every one broke off"),
        (
            vec![exchange("POST", "/trips/1", Some((201, &trip("EUR", "1"))))],
            None,
            "should balance",
        ),
        (vec![good()], None, "write [certify]"),
        (
            vec![good()],
            Some(without("line_of_business")),
            "set `net` in [certify.thresholds.line_of_business]: rides has no threshold",
        ),
        (
            vec![good()],
            Some(without("gl_account")),
            "set `net` in [certify.thresholds.gl_account]: cash has no threshold",
        ),
        (
            vec![good()],
            Some(without("line_of_business_gl_account")),
            "set `net` in [certify.thresholds.line_of_business_gl_account]: rides / cash has no",
        ),
        (
            vec![good()],
            Some(CERTIFY.replace("net = 1", "gate = false")),
            "no dimension would be judged",
        ),
        (vec![good()], Some(CERTIFY.to_owned()), "set the rate of EUR in [certify.rates]"),
        (
            vec![good(), aborted()],
            Some(format!("{CERTIFY}{RATES}")),
            "without the 1 exchange that broke off, or accept them: [certify] money_unknown_max = 1",
        ),
        (
            vec![good(), aborted()],
            Some(
                format!("{CERTIFY}{RATES}")
                    .replace("[certify]", "[certify]\nmoney_unknown_max = 1"),
            ),
            "shadow-analyzer --config shadow.toml certify --candidate",
        ),
        (
            vec![good()],
            Some(format!("{CERTIFY}{RATES}")),
            "shadow-analyzer --config shadow.toml certify --candidate",
        ),
    ] {
        let policy = certify.map(|text| policy(&text));
        let text = text(&summary_of(&exchanges), policy.as_ref());
        assert!(next(&text).contains(expected), "{expected}\n--- in\n{text}");
    }
}

#[test]
fn what_a_range_lacks_is_said_whole_and_before_anything_else() {
    let gap = format!("segment captures/{}/7.ndjson.zst\u{1b} is damaged", "long/".repeat(30));
    let gaps = Evidence { gaps: vec![gap, "segment 2 is missing".into()], ..Evidence::default() };
    let dropped =
        Evidence { dropped: [("queue_full".into(), 1_234)].into(), ..Evidence::default() };
    let nothing = Summary::default();
    let text = render(&nothing, &gaps, None);
    let whole =
        format!("  not covered: segment captures/{}/7.ndjson.zst  is damaged", "long/".repeat(30));
    assert_eq!(text.lines().nth(1), Some(&*whole));
    assert_eq!(text.lines().nth(2), Some("  not covered: segment 2 is missing"));
    assert!(next(&text).contains("damaged or missing") && !text.contains("send traffic"), "{text}");

    let text = render(&nothing, &dropped, None);
    assert_eq!(text.lines().nth(1), Some("  passed unrecorded: 1,234 exchanges (queue_full)"));
    assert!(next(&text).contains("raise the limit") && !text.contains("send traffic"), "{text}");

    // With everything configured, what certify would not accept of the range is left.
    let summary = summary_of(&[exchange("POST", "/trips/1", Some((201, &trip("EUR", "1070.10"))))]);
    let policy = policy(&format!("{CERTIFY}{RATES}"));
    for (evidence, expected) in
        [(&gaps, "a range without what is not covered"), (&dropped, "that passed unrecorded")]
    {
        let text = render(&summary, evidence, Some(&policy));
        assert!(next(&text).contains(expected), "{expected}\n--- in\n{text}");
    }
}

#[test]
fn every_gated_dimension_is_checked_over_everything_that_was_read() {
    let summary = summary_of(&[exchange("POST", "/trips/1", Some((201, &trip("USD", "1070.10"))))]);
    let one_cell = r#"
[certify]
reporting_currency = "USD"
[certify.thresholds.line_of_business]
gate = false
[[certify.threshold]]
dimension = "gl_account"
value = "cash"
net = 1
"#;
    let shown = text(&summary, Some(&policy(one_cell)));
    for line in [
        "without a threshold in [certify.thresholds.line_of_business]: none needed (gate = false)",
        "without a threshold in [certify.thresholds.gl_account]: fares",
        "without a threshold in [certify.thresholds.line_of_business_gl_account]: rides / cash, rides / fares",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n--- in\n{shown}");
    }
    let nothing_read =
        text(&summary_of(&[exchange("GET", "/health", Some((200, "ok")))]), Some(&policy(CERTIFY)));
    for line in [
        "unbalanced transactions: unknown, nothing was read",
        "without a threshold in [certify.thresholds.line_of_business]: unknown, nothing was read",
        "without a threshold in [certify.thresholds.gl_account]: unknown, nothing was read",
        "without a threshold in [certify.thresholds.line_of_business_gl_account]: unknown, nothing was read",
        "currencies without a rate: unknown, nothing was read",
    ] {
        assert!(nothing_read.lines().any(|shown| shown == line), "{line}\n--- in\n{nothing_read}");
    }
}

#[test]
fn many_names_without_a_threshold_are_counted() {
    let many: Vec<_> = (0..1_500)
        .map(|n| {
            let answer = trip("USD", "1070.10").replace("cash", &format!("{n:04}"));
            exchange("POST", "/trips/1", Some((201, &answer)))
        })
        .collect();
    let text = text(&summary_of(&many), None);
    assert!(text.starts_with("1,500 exchanges recorded"), "{text}");
    assert!(text.contains("0018, 0019, and 1,481 more\n"), "{text}");
    assert!(text.contains("\n  and 1,441 further combinations\n"), "{text}");
}

#[test]
fn hostile_traffic_stays_bounded_and_off_the_terminal() {
    let many: Vec<_> =
        (0..ROUTES_MAX + 50).map(|n| exchange("GET", &format!("/{n}"), Some((200, "")))).collect();
    let summary = summary_of(&many);
    assert_eq!(summary.routes.len(), ROUTES_MAX + 1);
    assert_eq!(summary.exchanges(), (ROUTES_MAX + 50) as u64);
    let shouting = summary_of(&[exchange("POST", "/trips/1", Some((201, "\u{1b}[31m")))]);
    assert!(!text(&shouting, None).contains('\u{1b}'));
}
