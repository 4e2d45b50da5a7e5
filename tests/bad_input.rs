use std::net::TcpListener;

use shadow_analyzer::verdict::{Decision, Rule};

use crate::harness::{Range, Scene, binary};
use crate::http::{Context, ask, client, serve};

/// No verdict of the scene is `certified`, and there is one.
#[track_caller]
fn never_certified(scene: &Scene) {
    let verdicts = scene.verdicts();
    assert!(!verdicts.is_empty(), "there is no verdict");
    assert!(verdicts.iter().all(|verdict| verdict.verdict != Decision::Certified), "{verdicts:#?}");
}

const LATER: [&str; 4] = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z"];
const NOBODY: [&str; 4] = ["--candidate", "http://127.0.0.1:9", "--build", "x"];

#[test]
fn every_mistake_of_the_configuration_is_reported_with_its_line_by_every_program() {
    let scene = Scene::new();
    scene.edit("spool = \"spool\"", "spol = \"spool\"");
    let recorder = std::process::Command::new(binary("shadow-recorder"))
        .arg("--config")
        .arg(scene.config())
        .output()
        .unwrap();
    crate::harness::Said::from(recorder).expect(64, "unknown key `spol`; did you mean `spool`?");

    scene.edit("in_flight = 8", "inflight = 8\nlinger = \"soon\"");
    let said = scene.run("shadow-replayer", &[&["run"], &NOBODY[..], &LATER[..]].concat());
    said.expect(64, "unknown key `inflight`; did you mean `in_flight`?");
    said.expect(64, "`soon` is not a duration");
    let said = scene.run("shadow-analyzer", &[&["certify"], &NOBODY[..], &LATER[..]].concat());
    said.expect(64, "unknown key `inflight`; did you mean `in_flight`?");

    scene.edit("[store]\ndirectory = \"store\"", "");
    let said = scene.run("shadow-replayer", &[&["run"], &NOBODY[..], &LATER[..]].concat());
    said.expect(64, "section [store] is missing; it needs `directory`");
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    let scene = Scene::new();
    for program in ["shadow-replayer", "shadow-analyzer"] {
        scene.run(program, &["frobnicate"]).expect(64, "frobnicate");
        scene.run(program, &["--help"]).expect(0, "Usage");
    }
    let reversed = ["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"];
    scene
        .run("shadow-replayer", &[&["run"], &NOBODY[..], &reversed[..]].concat())
        .expect(64, "is not before --to");
    scene
        .run("shadow-analyzer", &[&["certify"], &NOBODY[..], &reversed[..]].concat())
        .expect(64, "is not before");
    let odd = ["--candidate", "ftp://x", "--build", "x"];
    scene
        .run("shadow-replayer", &[&["run"], &odd[..], &LATER[..]].concat())
        .expect(64, "write http://HOST:PORT");
    scene.run("shadow-analyzer", &["certify", "--run", "../../x"]).expect(64, "is not a RunID");
    let unknown = "01a1f813-2846-73f1-8959-3b839401d8a0";
    scene.run("shadow-analyzer", &["certify", "--run", unknown]).expect(64, "there is no run");
    scene.run("shadow-replayer", &["compare", "--run", unknown]).expect(64, "there is no run");
}

#[tokio::test]
async fn an_unreachable_candidate_is_inconclusive() {
    let scene = Scene::new();
    scene.edit("in_flight = 8", "candidate_wait = \"300ms\"");
    let range = scene.record(12).await;
    scene.certify("2.0.0", range).expect(2, "never reachable");
    assert_eq!(scene.verdict("2.0.0").reasons[0].rule, Rule::RunFailed);
    never_certified(&scene);
}

#[test]
fn an_empty_range_is_inconclusive() {
    let scene = Scene::new();
    let range = Range { from: LATER[1].parse().unwrap(), to: LATER[3].parse().unwrap() };
    scene.certify("2.0.0", range).expect(2, "no exchange of service bookings was recorded");
    never_certified(&scene);
}

#[tokio::test]
async fn a_stub_address_that_is_taken_is_a_usage_error_that_names_the_key() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    let _taken = TcpListener::bind(scene.addresses["fx"]).unwrap();
    scene.certify("2.0.0", range).expect(64, "set [replay.stub] fx");
}

#[tokio::test]
async fn a_production_address_is_refused_as_candidate() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    scene.edit(
        "forward_to = \"http://@fx_origin@\""
            .replace("@fx_origin@", &scene.addresses["fx_origin"].to_string())
            .as_str(),
        &format!("forward_to = \"http://{}\"", scene.addresses["candidate"]),
    );
    scene.certify("2.0.0", range).expect(64, "is upstream fx in production");
}

#[tokio::test]
async fn a_segment_that_is_gone_torn_or_flipped_is_named_and_never_certified() {
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let flip: Damage = |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Some(bytes)
    };
    let damages: [(&str, Damage); 3] = [
        ("gone", |_| None),
        ("torn", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
        ("flipped", flip),
    ];
    for (name, damage) in damages {
        let scene = Scene::new();
        let range = scene.record(30).await;
        let segment = &scene.stored(".ndjson.zst")[0];
        match damage(std::fs::read(segment).unwrap()) {
            Some(bytes) => std::fs::write(segment, bytes).unwrap(),
            None => std::fs::remove_file(segment).unwrap(),
        }
        let _candidate = scene.service("candidate", "2.0.0");
        let key = segment.file_name().unwrap().to_string_lossy().into_owned();
        let said = scene.certify("2.0.0", range);
        assert_eq!(said.code, 2, "{name}: {said:?}");
        let verdict = scene.verdict("2.0.0");
        let losses = format!("{:?}", verdict.losses);
        assert!(losses.contains(&key), "{name}: {key} is not named in {losses}");
        never_certified(&scene);
    }
}

#[tokio::test]
async fn a_segment_without_its_manifest_does_not_exist_and_leaves_a_gap() {
    let scene = Scene::new();
    let often = "spool = \"spool\"\nsegment_bytes_max = 1\nfsync_interval = \"10ms\"";
    scene.edit("spool = \"spool\"", often);
    let range = scene.record(30).await;
    let manifests = scene.stored(".manifest.json");
    assert!(manifests.len() > 4, "several segments are sealed");
    let within = &manifests[2];
    std::fs::remove_file(within).unwrap();
    let _candidate = scene.service("candidate", "2.0.0");
    scene.certify("gone", range).expect(2, "is missing from the store");
    std::fs::write(within, "{}").unwrap();
    scene.certify("empty", range).expect(2, "cannot be read");
    never_certified(&scene);
}

#[tokio::test]
async fn a_journal_that_was_changed_or_lost_is_not_judged() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    let candidate = scene.service("candidate", "2.0.0");
    scene.certify("first", range).expect(0, "CERTIFIED");
    scene.certify("second", range).expect(0, "CERTIFIED");
    drop(candidate);
    let run = scene.verdict("first").run_id;
    let entries: Vec<_> = scene
        .stored(".parquet")
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("/entry/"))
        .collect();
    let of_run = |path: &&std::path::PathBuf| path.to_string_lossy().contains(&run);
    let (mine, other) =
        (entries.iter().find(of_run).unwrap(), entries.iter().find(|path| !of_run(path)).unwrap());
    std::fs::copy(other, mine).unwrap();
    scene
        .run("shadow-analyzer", &["certify", "--run", &run])
        .expect(70, "is not what the replay published");
    std::fs::remove_file(mine).unwrap();
    scene.run("shadow-analyzer", &["certify", "--run", &run]).expect(70, "replay the range again");
}

#[tokio::test]
async fn a_mapping_that_changed_since_the_replay_is_inconclusive_until_it_is_compared_again() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    let candidate = scene.service("candidate", "2.0.0");
    scene.certify("2.0.0", range).expect(0, "CERTIFIED");
    drop(candidate);
    let run = scene.verdict("2.0.0").run_id;
    scene.edit("key = \"$.id\"\n", "");
    let again = ["certify", "--run", &run];
    scene.run("shadow-analyzer", &again).expect(2, &format!("shadow-replayer compare --run {run}"));
    scene.run("shadow-replayer", &["compare", "--run", &run]).expect(0, "journal revision 2");
    scene.run("shadow-analyzer", &again).expect(0, "CERTIFIED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_answer_that_is_no_json_is_inconclusive() {
    let scene = Scene::new();
    let serve_html =
        |role| tokio::spawn(serve(scene.addresses[role], async |_| (200, "<html>".to_owned())));
    let production = serve_html("service");
    crate::harness::wait_for(scene.addresses["service"]);
    let recorder = scene.recorder();
    let from = crate::harness::now();
    let url = format!("http://{}/bookings", scene.addresses["recorder"]);
    for _ in 0..12 {
        let answer = ask(&client(), "POST", &url, &Context::default(), None).await;
        assert!(answer.is_err(), "it is no JSON for the client either");
    }
    recorder.stop();
    production.abort();
    let _candidate = serve_html("candidate");
    crate::harness::wait_for(scene.addresses["candidate"]);
    scene.certify("html", Range { from, to: crate::harness::now() }).expect(2, "not JSON");
    assert_eq!(scene.verdict("html").losses.money_unknown, 12);
    never_certified(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_answers_no_json_is_refused() {
    let scene = Scene::new();
    // It calls no upstream, which would be the first thing to be said of it.
    scene.edit("in_flight = 8", "in_flight = 8\nupstreams = \"own\"");
    let range = scene.record(12).await;
    let candidate =
        tokio::spawn(serve(scene.addresses["candidate"], async |_| (200, "<html>".to_owned())));
    crate::harness::wait_for(scene.addresses["candidate"]);
    scene.certify("html", range).expect(1, "REFUSED");
    candidate.abort();
    let verdict = scene.verdict("html");
    assert_eq!(verdict.exchanges.errored, 12);
    assert!(verdict.not_compared[0].reason.contains("not JSON"), "{:?}", verdict.not_compared);
}

#[tokio::test]
async fn production_answers_that_the_mapping_cannot_read_are_inconclusive() {
    for (from, to, why) in [
        ("entries = \"$.entries[*]\"", "entries = \"$.rows[*]\"", "`$.rows[*]` is absent"),
        (
            "transactions = \"$.transactions[*]\"",
            "transactions = \"$.bookings[*]\"",
            "`$.bookings[*]` is absent",
        ),
        (
            "route = \"POST /bookings\"",
            "route = \"POST /trips\"",
            "no [[ledger]] for POST /bookings",
        ),
        ("debit = \"$.debit\"", "debit = \"$.line_of_business\"", "is not a decimal number"),
    ] {
        let scene = Scene::new();
        let range = scene.record(12).await;
        scene.edit(from, to);
        let _candidate = scene.service("candidate", "2.0.0");
        let said = scene.certify("2.0.0", range);
        assert_eq!(said.code, 2, "{why}: {said:?}");
        let verdict = scene.verdict("2.0.0");
        assert_eq!((verdict.exchanges.unverified, verdict.losses.money_unknown), (12, 12));
        assert!(verdict.not_compared[0].reason.contains(why), "{why}: {:?}", verdict.not_compared);
        never_certified(&scene);
    }
}

#[tokio::test]
async fn without_thresholds_or_with_too_little_evidence_nothing_is_certified() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    let _candidate = scene.service("candidate", "2.0.0");
    scene.edit("min_exchanges = 10", "min_exchanges = 13");
    scene.certify("few", range).expect(2, "INCONCLUSIVE");
    assert_eq!(scene.verdict("few").reasons[0].rule, Rule::TooFewExchanges);
    scene.edit("min_exchanges = 13", "min_exchanges = 1");
    scene.edit("EUR = \"1.0825\"\n", "");
    scene.certify("rate", range).expect(2, "EUR");
    assert_eq!(scene.verdict("rate").reasons[0].rule, Rule::NoRate);
    scene.edit("CZK = ", "EUR = \"1.1\"\nCZK = ");
    scene.edit("net = 1000", "gate = true");
    scene.certify("thresholds", range).expect(2, "threshold");
    never_certified(&scene);
}
