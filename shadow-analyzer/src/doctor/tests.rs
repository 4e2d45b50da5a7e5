use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use shadow_recorder::config::Document;
use shadow_recorder::manifest::{FORMAT, Manifest};
use shadow_recorder::segment::Calls;

use super::*;
use crate::map::Summary;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn manifest(instance: &str, sealed_at: &str, calls: Calls) -> Manifest {
    let sealed_at = at(sealed_at);
    Manifest {
        format: FORMAT.into(),
        version: 1,
        service: "books".into(),
        build: "1".into(),
        instance: instance.into(),
        boot: "b".into(),
        sequence: 1,
        segment: String::new(),
        bytes: 0,
        sha256: String::new(),
        opened_at: sealed_at,
        sealed_at,
        sealed_through: sealed_at,
        first_received_at: None,
        last_received_at: None,
        last: false,
        torn: false,
        exchanges: 0,
        ambient: 0,
        strata: BTreeMap::new(),
        calls,
        census: None,
    }
}

#[test]
fn a_recorder_that_is_silent_and_stale_is_to_be_started() {
    let now = at("2026-11-20T12:00:00Z");
    let seal = |instance, sealed_at| manifest(instance, sealed_at, Calls::default());
    let fresh = [seal("a", "2026-11-20T08:00:00Z"), seal("b", "2026-11-20T11:59:00Z")];
    let step = step::recorder(None, &fresh, now);
    assert_eq!(step.state, State::Fine);
    assert!(
        step.found.contains("2 instances (a, b)") && step.found.contains("60 s ago"),
        "{}",
        step.found
    );
    let silent = || Some(("127.0.0.1:9", Err("refused")));
    let step = step::recorder(silent(), &fresh[..1], now);
    assert_eq!(step.state, State::Act);
    assert!(step.found.contains("refused") && step.found.contains("4 h ago"), "{}", step.found);
    assert_eq!(step::recorder(Some(("127.0.0.1:9", Ok(()))), &[], now).state, State::Fine);
    assert_eq!(step::recorder(None, &[], now).state, State::Act);
}

#[test]
fn calls_that_belong_to_no_exchange_are_to_be_explained() {
    let calls = |attributed, ambiguous, unattributed, late| {
        let calls = Calls { attributed, ambiguous, unattributed, late, ..Calls::default() };
        [manifest("a", "2026-11-20T08:00:00Z", calls)]
    };
    assert_eq!(step::upstream_calls(&[], false).state, State::Fine);
    assert_eq!(step::upstream_calls(&calls(9, 0, 0, 0), false).state, State::Fine);
    let step = step::upstream_calls(&calls(7, 1, 0, 1), false);
    assert!(step.found.starts_with("7 of 9 calls attributed"), "{}", step.found);
    assert!(step.next.unwrap().contains("business_key"));
    assert!(step::upstream_calls(&calls(7, 0, 0, 1), false).next.unwrap().contains("linger"));
    assert!(
        step::upstream_calls(&calls(7, 0, 1, 0), false).next.unwrap().contains("ambient_age_max")
    );
    assert_eq!(step::upstream_calls(&calls(7, 0, 1, 0), true).state, State::Fine);
}

#[test]
fn nothing_recorded_and_no_policy_is_not_fine() {
    let none = Summary::default();
    assert_eq!(step::mapping(Ok(&none)).state, State::Act);
    assert_eq!(step::mapping(Err("nothing was recorded")).state, State::Act);
    for step in step::policy(None, &none) {
        assert_eq!(step.state, State::Act);
        assert!(step.next.unwrap().contains("[certify]"));
    }
}

#[test]
fn every_step_is_a_line_and_the_last_line_sums_up() {
    let report = Report::of(vec![
        Step::fine("store", "lists"),
        Step::act("ledger mapping", "3 unmapped\u{1b}[2J", "write one"),
        step::own_build_not_tried(Path::new("shadow.toml")),
    ]);
    assert!(!report.fine);
    let text = report.render(false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "  ok   store                   lists");
    assert_eq!(lines[1], "  act  ledger mapping          3 unmapped [2J");
    assert!(lines[2].trim_start().starts_with("next: write one"));
    assert!(text.ends_with("\none step needs an action\n"));
    assert!(!text.contains('\u{1b}') && report.render(true).contains("\u{1b}[31mact"));
    let not_tried = Report::of(vec![step::own_build_not_tried(Path::new("shadow.toml"))]);
    assert!(not_tried.fine);
}

const CONFIG: &str = r#"
[service]
name = "books"
[store]
directory = "store"
[recorder]
admin = "@admin@"
[[upstream]]
name = "fx"
listen = "@fx@"
forward_to = "http://127.0.0.1:1"
[[ledger]]
route = "POST /bookings"
no_entries = true
[certify]
reporting_currency = "USD"
[certify.thresholds.line_of_business]
net = 1000
[certify.thresholds.gl_account]
net = 1000
[certify.thresholds.line_of_business_gl_account]
gate = false
"#;

/// Looks at a configuration in a folder of its own.
async fn looked(text: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shadow.toml");
    let document = Document::parse(&file, text, |_| None).unwrap();
    let admin = document.section("recorder").address("admin");
    let replay = shadow_replayer::config::Config::take(&document).unwrap();
    let policy = crate::config::take(&document, Some(&replay));
    document.finish().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (candidate, latest) = (None, std::time::Duration::from_mins(15));
    look::report(&replay, policy, &look::Asked { file: &file, admin, candidate, latest }).await
}

#[tokio::test]
async fn each_step_looks_at_the_world() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let admin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at_admin, at_fx) = (admin.local_addr().unwrap(), taken.local_addr().unwrap());
    let config =
        CONFIG.replace("@admin@", &at_admin.to_string()).replace("@fx@", &at_fx.to_string());
    let recorder = tokio::spawn(async move {
        let (mut stream, _) = admin.accept().await.unwrap();
        let _ = stream.read(&mut [0; 512]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    });
    let states = |report: &Report| -> Vec<(&'static str, State)> {
        report.steps.iter().map(|step| (step.step, step.state)).collect()
    };
    let fine = [("configuration", State::Fine), ("store", State::Fine), ("run store", State::Fine)];
    let report = Box::pin(looked(&config)).await;
    recorder.await.unwrap();
    let expected = [
        ("recorder", State::Fine),
        ("upstream calls", State::Fine),
        ("ledger mapping", State::Act),
        ("thresholds", State::Fine),
        ("exchange rates", State::Fine),
        ("stub", State::Act),
        ("production's own build", State::NotTried),
    ];
    assert_eq!(states(&report), [&fine[..], &expected].concat(), "{}", report.render(false));
    assert!(!report.fine);

    // Nobody answers any more, nobody listens where the stub would, and a threshold is missing.
    drop(taken);
    let config = config.replace("[certify.thresholds.gl_account]\nnet = 1000\n", "");
    let report = Box::pin(looked(&config)).await;
    let of = |name: &str| report.steps.iter().find(|step| step.step == name).unwrap();
    assert_eq!((of("recorder").state, of("stub").state), (State::Act, State::Fine));
    assert!(of("stub").found.contains(&format!("fx at {at_fx}")));
    assert!(of("thresholds").next.as_ref().unwrap().contains("[certify.thresholds.gl_account]"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["fine"], &json["steps"][3]["state"]), (&false.into(), &"act".into()));
}
