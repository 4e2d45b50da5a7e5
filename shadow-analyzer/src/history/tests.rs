use std::fmt::Write;

use serde_json::json;
use shadow_replayer::run::{Evidence, Run, Settings, State};
use shadow_replayer::store::NewVerdict;

use super::*;
use crate::report::fixture;
use crate::verdict::{FirstSeen, SIGNATURES_MAX, Signature};

/// Returns the changes as `line: before → after`.
fn changes(before: &serde_json::Value, after: &serde_json::Value) -> String {
    let mut text = String::new();
    for change in lines::changes(before, after) {
        let of = |side: Option<String>| side.unwrap_or_else(|| "none".into());
        let _ = writeln!(text, "{}: {} → {}", change.line, of(change.before), of(change.after));
    }
    text
}

fn policy() -> serde_json::Value {
    json!({
        "reporting_currency": "USD",
        "rates": { "EUR": "1.08", "USD": "1" },
        "policy": {
            "sha256": "a",
            "min_exchanges": 100,
            "thresholds": [
                { "dimension": "gl_account", "gate": true, "default": { "net": "1000.00", "gross": null }, "cells": [] },
                { "dimension": "line_of_business", "gate": true, "default": null, "cells": [
                    { "value": ["Rides"], "threshold": { "net": "5.00" }, "declared": false },
                ] },
            ],
            "ignored": [{ "route": null, "path": "$..at", "reason": "the time" }],
        },
    })
}

#[test]
fn an_unchanged_policy_has_no_changed_lines() {
    assert_eq!(changes(&policy(), &policy()), "");
    let mut digest = policy();
    digest["policy"]["sha256"] = "b".into();
    assert_eq!(changes(&policy(), &digest), "", "the digest says nothing beside the lines");
}

#[test]
fn every_changed_line_is_told_with_its_place() {
    let mut after = policy();
    after["rates"] = json!({ "USD": "1", "GBP": "1.3" });
    after["policy"]["min_exchanges"] = 5.into();
    let thresholds = &mut after["policy"]["thresholds"];
    thresholds[0]["default"]["net"] = "5000.00".into();
    thresholds[0]["default"]["gross"] = "9000.00".into();
    thresholds[1]["gate"] = false.into();
    thresholds[1]["cells"][0]["threshold"]["net"] = "6.00".into();
    after["policy"]["ignored"] = json!([
        { "route": null, "path": "$..at", "reason": "the time" },
        { "route": "GET /x", "path": "$.id", "reason": "random" },
    ]);
    let expected = "\
gl_account default gross: none → 9000.00
gl_account default net: 1000.00 → 5000.00
ignored: none → path $.id, reason random, route GET /x
line_of_business Rides net: 5.00 → 6.00
line_of_business gate: true → false
min_exchanges: 100 → 5
rates EUR: 1.08 → none
rates GBP: none → 1.3
";
    assert_eq!(changes(&policy(), &after), expected);
}

fn seen(name: &str, first: Option<(&str, i64)>) -> Signature {
    let first = first.map(|(run, us)| FirstSeen {
        run_id: run.into(),
        build: format!("build of {run}"),
        decided_at: jiff::Timestamp::from_microsecond(us).unwrap(),
    });
    Signature { sha256: name.into(), first, ..Signature::default() }
}

fn list(shown: Vec<Signature>) -> Signatures {
    Signatures { shown, left_out: 0 }
}

/// Marks differences `a`, `b` and `c` of a run; returns name, whether new, and the run where first seen.
fn marked(
    last: Option<&Signatures>,
    searched: &[&Signatures],
) -> Vec<(String, Option<bool>, String)> {
    let mut verdict = fixture::certified();
    verdict.run_id = "here".into();
    verdict.signatures = list(["a", "b", "c"].map(|name| seen(name, None)).into());
    known::mark(&mut verdict, last, searched);
    let shown = verdict.signatures.shown.into_iter();
    shown.map(|of| (of.sha256, of.new, of.first.unwrap().run_id)).collect()
}

fn row(name: &str, new: Option<bool>, first: &str) -> (String, Option<bool>, String) {
    (name.into(), new, first.into())
}

#[test]
fn without_a_certified_run_nothing_is_new_or_known() {
    assert_eq!(
        marked(None, &[]),
        [row("a", None, "here"), row("b", None, "here"), row("c", None, "here")]
    );
}

#[test]
fn what_the_last_certified_run_did_not_show_is_new_and_comes_first() {
    let last = list(vec![seen("a", Some(("r1", 10))), seen("c", Some(("r2", 20)))]);
    let refused = list(vec![seen("b", Some(("r3", 30))), seen("a", Some(("r0", 5)))]);
    assert_eq!(
        marked(Some(&last), &[&refused]),
        [row("b", Some(true), "r3"), row("a", Some(false), "r0"), row("c", Some(false), "r2")]
    );
}

#[test]
fn what_a_list_may_have_left_out_is_not_called_new() {
    let last = Signatures { shown: vec![seen("b", Some(("r1", 10)))], left_out: 1 };
    assert_eq!(
        marked(Some(&last), &[]),
        [row("a", None, "here"), row("c", None, "here"), row("b", Some(false), "r1")]
    );
}

#[test]
fn a_list_is_cut_where_new_ones_are_not() {
    let mut verdict = fixture::certified();
    let many = (0..SIGNATURES_MAX).map(|n| seen(&format!("known {n}"), None));
    verdict.signatures = list(many.clone().chain([seen("new", None)]).collect());
    known::mark(&mut verdict, Some(&list(many.collect())), &[]);
    let signatures = &verdict.signatures;
    assert_eq!((signatures.shown.len(), signatures.left_out), (SIGNATURES_MAX, 1));
    assert_eq!((&*signatures.shown[0].sha256, signatures.shown[0].new), ("new", Some(true)));
}

fn at(us: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(us).unwrap()
}

fn run(build: &str) -> Run {
    Run {
        id: RunId::new(uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))),
        service: "banker".into(),
        candidate_build: build.into(),
        candidate_url: "http://127.0.0.1:1".into(),
        from: at(1),
        to: at(2),
        state: State::Finished,
        failure: None,
        created_at: at(3),
        finished_at: None,
        evidence: Evidence::default(),
        settings: Settings::default(),
    }
}

#[tokio::test]
async fn a_verdict_is_completed_from_the_run_store() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shadow.db?mode=rwc", folder.path().display());
    let runs = RunStore::open(&url).await.unwrap();
    let give = async |run: &Run, us: i64, word: Decision, change: &dyn Fn(&mut Verdict)| {
        let mut verdict = fixture::certified();
        (verdict.run_id, verdict.decided_at) = (run.id.to_string(), at(us));
        verdict.candidate.build.clone_from(&run.candidate_build);
        verdict.signatures = list(vec![seen("a", None)]);
        change(&mut verdict);
        complete(&runs, &run.id, &mut verdict).await.unwrap();
        let document = serde_json::to_string(&verdict).unwrap();
        let new = NewVerdict {
            revision: 1,
            decided_at: verdict.decided_at,
            verdict: word.word(),
            policy_sha256: "p",
            document: &document,
        };
        runs.append_verdict(&run.id, &new).await.unwrap();
        verdict
    };
    let (first, second) = (run("1"), run("2"));
    for run in [&first, &second] {
        runs.insert(run, "abc", &[]).await.unwrap();
    }
    let certified = give(&first, 10, Decision::Certified, &|_| ()).await;
    assert_eq!(certified.history, History::default());
    let refused = give(&second, 20, Decision::Refused, &|verdict| {
        verdict.policy.min_exchanges += 1;
        verdict.signatures = list(vec![seen("a", None), seen("b", None)]);
    })
    .await;
    let last = refused.history.last_certified.as_ref().unwrap();
    assert_eq!((&last.run_id, &*last.build), (&first.id.to_string(), "1"));
    assert_eq!(refused.history.policy_changes[0].line, "min_exchanges");
    let states: Vec<_> = refused.signatures.shown.iter().map(|of| (&*of.sha256, of.new)).collect();
    assert_eq!(states, [("b", Some(true)), ("a", Some(false))]);
    let again = give(&second, 30, Decision::Certified, &|_| ()).await;
    let before: Vec<_> = again.history.same_build.iter().map(|of| of.verdict).collect();
    assert_eq!(before, [Decision::Refused], "a build that was judged before says so");
    assert_eq!(again.signatures.shown[0].first.as_ref().unwrap().run_id, first.id.to_string());
}

#[tokio::test]
async fn a_verdict_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shadow.db?mode=rwc", folder.path().display());
    let runs = RunStore::open(&url).await.unwrap();
    let (first, second) = (run("1"), run("2"));
    runs.insert(&first, "abc", &[]).await.unwrap();
    let new = NewVerdict {
        revision: 1,
        decided_at: at(10),
        verdict: "certified",
        policy_sha256: "p",
        document: "{}",
    };
    runs.append_verdict(&first.id, &new).await.unwrap();
    let completed = complete(&runs, &second.id, &mut fixture::certified()).await;
    assert!(matches!(completed, Err(RunStoreError::Document("verdict", _))), "{completed:?}");
}
