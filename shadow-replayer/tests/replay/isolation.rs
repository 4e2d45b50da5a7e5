//! Whether the candidate can reach anything else.

use tokio::process::Command;

use crate::candidate::Candidate;
use crate::recording::{booked, exchange};
use crate::world::World;

/// Says to this test that it runs in a namespace of its own.
const INSIDE: &str = "SHADOW_TEST_INSIDE";

#[tokio::test]
async fn the_whole_run_works_without_a_network_and_says_that_isolation_is_proven() {
    if std::env::var_os(INSIDE).is_none() {
        let name =
            "isolation::the_whole_run_works_without_a_network_and_says_that_isolation_is_proven";
        let up = "ip link set lo up && exec \"$0\" \"$@\"";
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", up])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
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
