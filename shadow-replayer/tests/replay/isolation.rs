//! Whether the candidate can reach anything else.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::candidate::Candidate;
use crate::recording::{booked, exchange};
use crate::world::{Said, World, free_address};

/// Says to this test that it runs in a namespace of its own.
const INSIDE: &str = "SHADOW_TEST_INSIDE";

/// Runs a test of this module in a network namespace of its own, made ready by shell commands; returns whether this is there already.
async fn inside(name: &str, ready: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let script = format!("{ready} && exec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("isolation::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    false
}

#[tokio::test]
async fn the_whole_run_works_without_a_network_and_says_that_isolation_is_proven() {
    let name = "the_whole_run_works_without_a_network_and_says_that_isolation_is_proven";
    if !inside(name, "ip link set lo up").await {
        return;
    }
    let world = World::new("[replay.state]\ntrial_exchanges = 3");
    world.record((0..10).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "10 exchanges: 10 matched");
    said.expect(0, "isolation proven: its network namespace has no device but loopback");
}

#[tokio::test]
async fn where_there_is_a_network_isolation_is_not_proven() {
    let world = World::new("");
    world.record(vec![exchange(0)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "isolation not proven: its network namespace has the device");
}

/// Starts the probe beside the candidate, as its user.
async fn probe(world: &World, listen: SocketAddr) -> Child {
    let probe = world.command(&["probe"]).stderr(Stdio::null()).spawn().unwrap();
    while TcpStream::connect(listen).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    probe
}

/// Replays one exchange beside a probe that tries `outside`.
async fn replayed_beside_a_probe(outside: &str) -> Said {
    let listen = free_address();
    let world =
        World::new(&format!("[replay.isolation]\nlisten = \"{listen}\"\nprobe = [\"{outside}\"]"));
    world.record(vec![exchange(0)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let _probe = probe(&world, listen).await;
    world.replay(&candidate.url(), &[]).await
}

#[tokio::test]
async fn a_probe_that_reaches_nothing_as_the_candidates_user_proves_isolation() {
    // A network with a device and a way out, on which nobody answers: as behind a rule that drops.
    let silent = "ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 10.9.9.1/24 dev v0 \
        && ip link set v0 up && ip link set v1 up && ip route add default via 10.9.9.2";
    if !inside("a_probe_that_reaches_nothing_as_the_candidates_user_proves_isolation", silent).await
    {
        return;
    }
    let said = replayed_beside_a_probe("192.0.2.1:443").await;
    said.expect(0, "isolation proven: user 0, as whom it runs, reached none of 10.9.9.2:443, 10.9.9.2:53, 192.0.2.1:443");
}

#[tokio::test]
async fn a_probe_that_reaches_somebody_names_the_address() {
    let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = outside.local_addr().unwrap().to_string();
    let said = replayed_beside_a_probe(&address).await;
    said.expect(0, "isolation not proven: user ");
    said.expect(0, &format!(" connected to {address}"));
}

#[tokio::test]
async fn without_its_probe_isolation_is_not_proven() {
    let world = World::new(&format!("[replay.isolation]\nlisten = \"{}\"", free_address()));
    world.record(vec![exchange(0)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "isolation not proven: the probe at 127.0.0.1:");
    said.expect(0, "run `shadow-replayer probe` beside the candidate, as its user");
    let unset = World::new("").replayer(&["probe"]).await;
    unset.expect(64, "set [replay.isolation] listen");
}
