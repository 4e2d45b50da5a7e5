use std::path::Path;

use jiff::Timestamp;
use shadow_recorder::config::Document;
use shadow_recorder::exchange::{Body, End, ExchangeId, Response, Sample};
use shadow_recorder::ledger::config::mapping;
use shadow_replayer::plan::Range;

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
"#;

fn read_mapping() -> Mapping {
    let document = Document::parse(Path::new("shadow.toml"), LEDGER, |_| None).unwrap();
    let mapping = mapping(&document);
    document.finish().unwrap();
    mapping
}

fn policy(text: &str) -> Policy {
    let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
    let policy = take(&document).unwrap();
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
        },
        response: answer.map(|(status, body)| Response {
            status,
            headers: Vec::new(),
            body: Body::of_text(body),
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

fn summary_of(exchanges: &[Exchange]) -> Summary {
    let mapping = read_mapping();
    let mut summary = Summary::default();
    for exchange in exchanges {
        summary.add(&mapping, exchange);
    }
    summary
}

fn text(summary: &Summary, policy: Option<&Policy>) -> String {
    summary.render(range(), &[], policy, Path::new("shadow.toml"))
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
        exchange("GET", "/health", Some((200, "ok"))),
        exchange("GET", "/else", Some((200, "{}"))),
    ]);
    let expected = r#"9 exchanges recorded from 2026-11-20T07:00:00Z to 2026-11-20T08:00:00Z

answers by route
  ROUTE          MAPPED  EMPTY  FAILED  UNMAPPED  UNPARSEABLE  NO ANSWER
  GET /else           0      0       0         1            0          0
  GET /health         0      1       0         0            0          0
  POST /trips/*       2      1       1         1            1          1
  GET /else: 1 x no [[ledger]] for status 200
  POST /trips/*: 1 x answer: the body is not JSON: expected value at line 1 column 1
  POST /trips/*: 1 x no [[ledger]] for status 302

what production booked
  LINE OF BUSINESS  GL ACCOUNT  CURRENCY  LINES     DEBIT    CREDIT
  rides             cash        EUR           1  1,000.00      0.00
  rides             cash        USD           1  1,070.10      0.00
  rides             fares       EUR           1      0.00  1,070.10
  rides             fares       USD           1      0.00  1,070.10

unbalanced transactions: 1 of 2, for example in exchange 0197
lines of business without a threshold: none
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

#[test]
fn the_next_step_is_the_first_obstacle() {
    let good = || exchange("POST", "/trips/1", Some((201, &trip("EUR", "1070.10"))));
    let rate = "[certify.rates]\nEUR = \"1.25\"\n";
    let without_thresholds = "[certify]\nreporting_currency = \"USD\"\n";
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
        (
            vec![exchange("POST", "/trips/1", Some((201, &trip("EUR", "1"))))],
            None,
            "should balance",
        ),
        (vec![good()], None, "write [certify]"),
        (
            vec![good()],
            Some(without_thresholds.to_owned()),
            "set `net` in [certify.thresholds.line_of_business]",
        ),
        (vec![good()], Some(CERTIFY.to_owned()), "set the rate of EUR in [certify.rates]"),
        (
            vec![good()],
            Some(format!("{CERTIFY}{rate}")),
            "shadow-analyzer --config shadow.toml certify --candidate",
        ),
    ] {
        let policy = certify.map(|text| policy(&text));
        let text = text(&summary_of(&exchanges), policy.as_ref());
        let next = text.lines().last().unwrap();
        assert!(
            next.starts_with("next: ") && next.contains(expected),
            "{expected}\n--- in\n{text}"
        );
    }
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
