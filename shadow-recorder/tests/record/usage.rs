//! Configurations that cannot be used.

use std::process::Output;

use tokio::net::TcpListener;
use tokio::process::Command;

use crate::harness::*;

async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let binary = env!("CARGO_BIN_EXE_shadow-recorder");
    let output = Command::new(binary).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(DEADLINE, output).await.expect("it ends by itself");
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn every_mistake_is_listed_and_the_exit_code_is_64() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shadow.toml");
    std::fs::write(
        &file,
        "[service]\nname = \"ledger\"\n[recorder]\nlisten = \"nowhere\"\nforward_to = \"http://127.0.0.1:1\"\nspol = \"x\"\n[[ledger]]\nroute = \"POST /book\"\n",
    )
    .unwrap();
    let (code, _, stderr) = run(&["--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(64), "{stderr}");
    for expected in [
        "shadow-recorder: the configuration has ",
        "shadow.toml:1: [service]: `build` is missing: set it, or SHADOW_SERVICE_BUILD",
        "section [store] is missing",
        "`nowhere` is not an address",
        "unknown key `spol`; did you mean `spool`?",
        "`spool` is missing",
        "[ledger]: `transactions` is missing",
    ] {
        assert!(stderr.contains(expected), "{expected}\n--- in\n{stderr}");
    }
    assert_eq!(run(&["--config", "/nonexistent.toml"]).await.0, Some(64));
}

#[tokio::test]
async fn the_command_line_keeps_the_exit_codes() {
    assert_eq!(run(&["--nonsense"]).await.0, Some(64));
    assert_eq!(run(&["--help"]).await.0, Some(0));
    let (code, stdout, _) = run(&["--version"]).await;
    assert_eq!((code, stdout.starts_with("shadow-recorder ")), (Some(0), true));
}

#[tokio::test]
async fn check_verifies_and_exits() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "");
    let file = folder.path().join("shadow.toml");
    assert_eq!(run(&["--check", "--config", file.to_str().unwrap()]).await.0, Some(0));
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn an_address_in_use_is_said_with_the_key_to_change() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "");
    let file = folder.path().join("shadow.toml");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
    std::fs::write(&file, text).unwrap();
    let (code, _, stderr) = run(&["--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(64));
    let expected =
        format!("cannot listen on {address}: set `[recorder] listen` to an address that is free");
    assert!(stderr.contains(&expected), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recorders_do_not_share_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    let first = Sidecar::start(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "").await;
    let file = folder.path().join("shadow.toml");
    let (code, _, stderr) = run(&["--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(64));
    assert!(stderr.contains("is in use by another recorder"), "{stderr}");
    first.stop().await;
}
