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
async fn check_tries_what_a_start_does_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let upstreams = [("fx", "127.0.0.1:9".parse().unwrap())];
    write_config(folder.path(), "127.0.0.1:9".parse().unwrap(), &upstreams, "");
    let file = folder.path().join("shadow.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // RFC 6761: a name that never has an address.
    let text = text.replacen("spool = \"spool\"", "spool = \"new/spool\"", 1);
    let (service, fx) = text.split_once("[[upstream]]").unwrap();
    let fx = fx.replace("http://127.0.0.1:9", "http://fx.invalid");
    std::fs::write(&file, format!("{service}[[upstream]]{fx}")).unwrap();
    let (code, stdout, stderr) = run(&["--check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for expected in [
        "ok: clients: 127.0.0.1:0 is free",
        "ok: upstream.fx: 127.0.0.1:0 is free",
        "ok: admin: 127.0.0.1:0 is free",
        "new/spool can be written and locked",
        "ok: the service: 127.0.0.1 has an address",
        "warning: fx: fx.invalid has no address: ",
    ] {
        assert!(stdout.contains(expected), "{expected}\n--- in\n{stdout}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    // A file where a folder should be.
    std::fs::write(folder.path().join("new"), "").unwrap();
    let (code, stdout, _) = run(&["--check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(64));
    assert!(stdout.contains("error: the spool ") && stdout.contains("set `spool`"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_the_recorder_that_runs_from_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let running = Sidecar::start(folder.path(), "127.0.0.1:9".parse().unwrap(), &[], "").await;
    let file = folder.path().join("shadow.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("127.0.0.1:0", &running.clients.to_string(), 1);
    std::fs::write(&file, text.replacen("127.0.0.1:0", &running.admin.to_string(), 1)).unwrap();
    let check = ["--check", "--config", file.to_str().unwrap()];
    let (code, stdout, stderr) = run(&check).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (at, pid) = (running.clients, running.child.id().unwrap());
    for expected in [
        format!(
            "ok: clients: {at} is in use by the recorder that runs with this spool (pid {pid}, instance pod-1,"
        ),
        format!("ok: the spool is in use by a recorder that runs (pid {pid}, instance pod-1,"),
    ] {
        assert!(stdout.contains(&expected), "{expected}\n--- in\n{stdout}");
    }
    // The recorder is not disturbed.
    running.stop().await;

    let taken = TcpListener::bind(at).await.unwrap();
    let (code, stdout, _) = run(&check).await;
    assert_eq!(code, Some(64));
    let expected = format!("error: clients: {at} is in use by another program");
    assert!(stdout.contains(&expected) && stdout.contains("`[recorder] listen`"), "{stdout}");
    drop(taken);
    assert_eq!(run(&check).await.0, Some(0));
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
