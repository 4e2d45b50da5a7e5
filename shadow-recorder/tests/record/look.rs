//! The commands beside running, on what a recorder has stored.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::*;

/// Runs a command on the store of a folder; returns its exit code, its output and what it said.
async fn command(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_shadow-recorder"))
        .args(arguments)
        .arg("--config")
        .arg(folder.join("shadow.toml"))
        .env("USER", "ada")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output).await.expect("it ends by itself").unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs a command that must succeed; returns its output.
async fn out(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, said) = command(folder, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {out}{said}");
    out
}

/// Records some exchanges by two starts.
async fn recorded(folder: &Path) -> Stored {
    let origin = server(async |request| text(request.into_body())).await;
    for n in 0..2 {
        let sidecar = Sidecar::start(folder, origin, &[], "").await;
        for k in 0..3 {
            send(sidecar.clients, post(&format!("/book?n={n}"), format!("{{\"k\":{k}}}"))).await;
        }
        sidecar.stop().await;
    }
    Stored::read(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "");
    let nothing = out(folder.path(), &["segments"]).await;
    assert!(nothing.starts_with("nothing was recorded in this range under "), "{nothing}");
    let stored = recorded(folder.path()).await;

    let table = out(folder.path(), &["segments"]).await;
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("pod-1")).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.contains("stopped")), "{table}");
    let json: Value =
        serde_json::from_str(&out(folder.path(), &["segments", "--json"]).await).unwrap();
    let recorded = |boot: &Value| boot["exchanges"]["recorded"].as_u64().unwrap();
    assert_eq!(json["boots"].as_array().unwrap().iter().map(recorded).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(json["segments"].as_array().unwrap().len(), stored.manifests.len());

    // The lines are the recording's own.
    let shown = out(folder.path(), &["show"]).await;
    let mut expected = stored.exchanges.clone();
    expected.sort_by_key(|exchange| exchange.received_at);
    let expected: Vec<String> =
        expected.iter().map(|exchange| serde_json::to_string(exchange).unwrap()).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    let third: Value = serde_json::from_str(&expected[2]).unwrap();
    let id = third["id"].as_str().unwrap();
    assert_eq!(out(folder.path(), &["show", "--id", id]).await, format!("{}\n", expected[2]));
    let from = third["received_at"].as_str().unwrap();
    assert_eq!(out(folder.path(), &["show", "--from", from]).await.lines().count(), 4);
    assert_eq!(out(folder.path(), &["show", "--to", from]).await.lines().count(), 2);
    let later = ["--from", "2126-01-01T00:00:00Z"];
    assert_eq!(out(folder.path(), &[&["show"], &later[..]].concat()).await, "");
    assert!(out(folder.path(), &[&["segments"], &later[..]].concat()).await.starts_with("nothing"));

    for arguments in [&["show", "--har"][..], &["show", "--har", "--to", "2026-01-01T00:00:00Z"]] {
        let har: Value = serde_json::from_str(&out(folder.path(), arguments).await).unwrap();
        let entries = har["log"]["entries"].as_array().unwrap();
        assert_eq!(entries.len(), if arguments.len() == 2 { 6 } else { 0 });
        assert!(entries.iter().all(|entry| entry["request"]["postData"]["text"].is_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_said_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let stored = recorded(folder.path()).await;
    let damaged = stored.manifests.iter().find(|manifest| manifest.exchanges > 0).unwrap();
    std::fs::write(folder.path().join("store").join(&damaged.segment), "not a segment").unwrap();
    let (code, shown, said) = command(folder.path(), &["show"]).await;
    assert_eq!((code, shown.lines().count()), (70, 3), "{said}");
    assert!(said.contains("is not what its manifest describes: 0 of 3 exchanges"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_expires_unless_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let stored = recorded(folder.path()).await;
    let kept = out(folder.path(), &["expire", "--older-than", "1d", "--delete"]).await;
    assert!(kept.starts_with("0 segments "), "{kept}");
    let range = ["--from", "2020-01-01T00:00:00Z", "--to", "2120-01-01T00:00:00Z"];
    let place = [&["hold", "place", "matter-7", "--reason", "an audit"], &range[..]].concat();
    out(folder.path(), &place).await;
    let held = out(folder.path(), &["expire", "--older-than", "0s", "--delete"]).await;
    assert!(held.contains(&format!("{} are kept by a hold", stored.manifests.len())), "{held}");
    let holds: Value =
        serde_json::from_str(&out(folder.path(), &["hold", "list", "--json"]).await).unwrap();
    assert_eq!((&holds[0]["placed_by"], &holds[0]["reason"]), (&"ada".into(), &"an audit".into()));
    assert_eq!(command(folder.path(), &place).await.0, 64, "a hold is placed once");

    out(folder.path(), &["hold", "release", "matter-7", "--by", "bob"]).await;
    assert!(out(folder.path(), &["hold", "list"]).await.contains(" by bob"));
    let dry = out(folder.path(), &["expire", "--older-than", "0s"]).await;
    assert!(
        dry.contains("would be removed, with 6 exchanges")
            && dry.contains("next: the same with --delete"),
        "{dry}"
    );
    assert_eq!(out(folder.path(), &["show"]).await.lines().count(), 6);
    out(folder.path(), &["expire", "--older-than", "0s", "--delete"]).await;
    assert_eq!(out(folder.path(), &["show"]).await, "");
    assert_eq!(files(&folder.path().join("store/captures")), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifecycle_rule_is_a_buckets() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "");
    let rule = ["expire", "--older-than", "14d", "--lifecycle-rule"];
    let (code, _, said) = command(folder.path(), &rule).await;
    assert!(code == 64 && said.contains("[store] is a directory"), "{said}");
    let file = folder.path().join("shadow.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let bucket = text.replace("directory = \"store\"", "bucket = \"books\"\nprefix = \"shadow\"");
    std::fs::write(&file, bucket).unwrap();
    let (code, rule, said) = command(folder.path(), &rule).await;
    assert!(code == 0 && said.contains("knows no holds"), "{said}");
    let rule: Value = serde_json::from_str(&rule).unwrap();
    let rule = &rule["Rules"][0];
    assert_eq!(rule["Filter"]["Prefix"], "shadow/captures/ledger/");
    assert_eq!((&rule["Expiration"]["Days"], &rule["Status"]), (&14.into(), &"Enabled".into()));
    let (code, _, said) =
        command(folder.path(), &["expire", "--older-than", "36h", "--lifecycle-rule"]).await;
    assert!(code == 64 && said.contains("whole days"), "{said}");
}

#[tokio::test]
async fn wrong_usage_of_a_command_is_64_and_a_store_that_fails_is_70() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "");
    for wrong in [
        &["segment"][..],
        &["show", "--id", "nonsense"],
        &["show", "--id", "00000000-0000-0000-0000-000000000001"],
        &["show", "--id", "0197a0e5-0000-7000-8000-000000000001"],
        &["show", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
        &["expire"],
        &["expire", "--older-than", "14"],
        &["--check", "segments"],
        &["hold", "release", "nothing"],
    ] {
        let (code, out, said) = command(folder.path(), wrong).await;
        assert_eq!((code, &*out), (64, ""), "{wrong:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    std::fs::write(folder.path().join("store"), "a file where the store should be").unwrap();
    assert_eq!(command(folder.path(), &["segments"]).await.0, 70);
}
