//! What the candidate remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::candidate::{Candidate, reply};
use crate::recording::{Boot, booked, exchange};
use crate::world::World;

#[tokio::test]
async fn a_snapshot_is_restored_before_every_attempt_and_replayed_in_recorded_order() {
    let world = World::new(
        "[replay]\nin_flight = 8\nshard_segments_max = 1\n[replay.state]\nmode = \"snapshot\"\nreset = [\"sh\", \"-c\", \"echo $SHADOW_SHARD >> restored\"]",
    );
    let segments = [(0..20).map(exchange).collect(), (20..40).map(exchange).collect()];
    Boot::default().write(&world.store(), &segments);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    world.replay(&candidate.url(), &[]).await.expect(0, "40 exchanges: 40 matched");
    let restored = std::fs::read_to_string(world.path("restored")).unwrap();
    assert_eq!(restored.lines().count(), 2, "{restored}");
    let asked: Vec<String> = candidate.asked().into_iter().map(|asked| asked.target).collect();
    let recorded: Vec<String> = (0..40).map(|n| format!("/bookings/{n}")).collect();
    assert_eq!(asked, recorded);
}

#[tokio::test]
async fn nothing_is_replayed_on_a_store_that_was_not_restored() {
    let restored = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&restored);
    let hook = Candidate::start(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        let sound = asked.method == "POST" && asked.target == "/restore";
        async move { reply(if sound { 503 } else { 404 }, "{}") }
    })
    .await;
    let world = World::new(&format!(
        "[replay.state]\nmode = \"snapshot\"\nreset_url = \"{}/restore\"",
        hook.url()
    ));
    world.record(vec![exchange(0)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(70, "/restore answered with 503 Service Unavailable; mend [replay.state]");
    assert!(candidate.asked().is_empty());
    assert_eq!(restored.load(Ordering::Relaxed), 1);
    world.configure("[replay.state]\nmode = \"snapshot\"");
    world.replay(&candidate.url(), &[]).await.expect(64, "needs one of `reset`");
}
