//! A restart that no client notices.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use command_fds::{CommandFdExt, FdMapping};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::harness::*;
use crate::load::Load;

const BINARY: &str = env!("CARGO_BIN_EXE_shadow-recorder");

/// A command that passes listening sockets under names, as systemd does.
fn passing(sockets: &[(&str, &TcpListener)]) -> Command {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mut command = Command::new(BINARY);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let mapping = |(child_fd, (_, socket)): (i32, &(&str, &TcpListener))| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd,
    };
    command.fd_mappings((3..).zip(sockets).map(mapping).collect()).unwrap();
    command
}

async fn echo() -> SocketAddr {
    server(async |request| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        text(request.into_body())
    })
    .await
}

/// Checks that everything that was answered was recorded, once, in boots that ended cleanly.
fn assert_all_recorded(folder: &Path, answered: u64, boots: usize) {
    let stored = Stored::read(folder);
    assert_eq!((stored.tally.observed, stored.tally.recorded), (answered, answered));
    let bodies: std::collections::BTreeSet<_> =
        stored.exchanges.iter().map(|exchange| exchange.request.body.text.clone()).collect();
    assert_eq!(bodies.len() as u64, answered);
    let ends = stored.manifests.iter().filter(|manifest| manifest.last && !manifest.torn);
    assert_eq!(ends.count(), boots);
    let left = files(&folder.join("spool"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_kept_sockets_refuses_nobody_and_fails_nothing() {
    const RESTARTS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), echo().await, &[], "");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sidecar = Sidecar::run(folder.path(), passing(&[("clients", &socket)])).await;
    assert_eq!(sidecar.clients, socket.local_addr().unwrap());
    let load = Load::start(sidecar.clients, 16);
    let mut gaps = Vec::new();
    for _ in 0..RESTARTS {
        load.goes_on(300).await;
        load.seen.gap();
        // One after the other, as systemd does it.
        sidecar.signal("-TERM").await;
        assert!(sidecar.ended().await.success());
        sidecar = Sidecar::run(folder.path(), passing(&[("clients", &socket)])).await;
        load.goes_on(300).await;
        gaps.push(load.seen.gap());
    }
    let seen = load.end().await;
    sidecar.stop().await;
    seen.assert_nothing_failed();
    assert_eq!(seen.refused.load(Ordering::Relaxed), 0);
    println!("the longest times without an answer were {gaps:?}");
    // A machine that is busy with other tests may be slow once.
    assert!(gaps.iter().any(|gap| *gap < Duration::from_secs(1)), "{gaps:?}");
    assert_all_recorded(folder.path(), seen.answered.load(Ordering::Relaxed), RESTARTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_recorder_records_while_the_one_before_still_drains() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = server(move |request: http::Request<Bytes>| {
        let gate = Arc::clone(&held);
        async move {
            if request.body() == "slow" {
                gate.acquire().await.unwrap().forget();
            }
            text(request.into_body())
        }
    })
    .await;
    write_config(folder.path(), origin, &[], "segment_age_max = \"200ms\"");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = Sidecar::run(folder.path(), passing(&[("clients", &socket)])).await;
    let load = Load::start(first.clients, 16);
    load.goes_on(100).await;
    let at = first.clients;
    let slow = tokio::spawn(async move { send(at, post("/", "slow")).await });
    first.until_stored(|stored| stored.tally.recorded > 0).await;
    first.signal("-TERM").await;
    let second = Sidecar::run(folder.path(), passing(&[("clients", &socket)])).await;
    load.goes_on(100).await;
    // The second stores what it recorded, again and again, while the slow request still holds the first.
    let boots = |stored: &Stored| {
        stored.manifests.iter().map(|m| m.boot.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    second.until_stored(|stored| boots(stored).len() == 2).await;
    assert!(first.child.try_wait().unwrap().is_none());
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap().body(), "slow");
    assert!(first.ended().await.success());
    let seen = load.end().await;
    second.stop().await;
    seen.assert_nothing_failed();
    assert_eq!(seen.refused.load(Ordering::Relaxed), 0);
    let gap = seen.gap();
    println!("the longest time without an answer was {gap:?}");
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    assert_all_recorded(folder.path(), seen.answered.load(Ordering::Relaxed) + 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_takes_over_from_another_without_a_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("1.1")).await;
    let more = "hand_over = \"hand-over\"";
    write_config(folder.path(), echo().await, &[("fx", fx)], more);
    let start = || {
        let mut command = Command::new(BINARY);
        command.arg("--take-over");
        command
    };
    // Nobody is there yet.
    let mut first = Sidecar::run(folder.path(), start()).await;
    let load = Load::start(first.clients, 16);
    load.goes_on(300).await;
    // A probe never fails, and never meets the one that stops.
    let (admin, over) = (first.admin, Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&over);
    let probe = tokio::spawn(async move {
        while !end.load(Ordering::Relaxed) {
            assert_eq!(send(admin, get("/ready")).await.body(), "ready\n");
        }
    });
    // One that takes the sockets and dies changes nothing.
    let mut dies = UnixStream::connect(folder.path().join("hand-over")).await.unwrap();
    let length = dies.read(&mut [0; 1000]).await.unwrap();
    assert!(length > 0);
    drop(dies);
    first.until_logged("the listening sockets were not taken over").await;
    load.goes_on(100).await;
    let mut second = Sidecar::run(folder.path(), start()).await;
    assert_eq!((second.clients, second.admin), (first.clients, first.admin));
    assert_eq!(second.egress, first.egress);
    // Without a signal.
    assert!(first.ended().await.success());
    load.goes_on(300).await;
    assert_eq!(send(second.egress["fx"], get("/")).await.body(), "1.1");
    assert_eq!(second.admin(get("/recording")).await.0, 200);
    let third = Sidecar::run(folder.path(), start()).await;
    assert!(second.ended().await.success());
    load.goes_on(100).await;
    let seen = load.end().await;
    over.store(true, Ordering::Relaxed);
    probe.await.unwrap();
    third.stop().await;
    seen.assert_nothing_failed();
    assert_eq!(seen.refused.load(Ordering::Relaxed), 0);
    let gap = seen.gap();
    println!("the longest time without an answer was {gap:?}");
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    assert_all_recorded(folder.path(), seen.answered.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_passed_for_nothing_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), echo().await, &[], "");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = async |mut command: Command| {
        let file = folder.path().join("shadow.toml");
        let output = command.arg("--config").arg(file).kill_on_drop(true).output();
        let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = started(passing(&[("customers", &socket)])).await;
    assert_eq!(code, Some(64), "{stderr}");
    let at = socket.local_addr().unwrap();
    let expected = format!(
        "the socket passed for {at} belongs to no listener of the configuration: name it one of clients, admin"
    );
    assert!(stderr.contains(&expected), "{stderr}");

    // Something else under the number of a socket.
    let mut wrong = Command::new("sh");
    wrong.env("LISTEN_FDS", "1").args(["-c", "exec \"$0\" \"$@\" 3</dev/null", BINARY]);
    let (code, stderr) = started(wrong).await;
    assert_eq!(code, Some(64), "{stderr}");
    assert!(stderr.contains("number 1 (``) is no listening TCP socket"), "{stderr}");

    let mut nothing = Command::new(BINARY);
    nothing.arg("--take-over");
    let (code, stderr) = started(nothing).await;
    assert_eq!(code, Some(64), "{stderr}");
    assert!(stderr.contains("set `hand_over` in [recorder]"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_for_another_process_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), echo().await, &[], "");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = passing(&[("clients", &socket)]);
    command.env("LISTEN_PID", "1");
    let sidecar = Sidecar::run(folder.path(), command).await;
    assert_ne!(sidecar.clients, socket.local_addr().unwrap());
    sidecar.stop().await;
}
