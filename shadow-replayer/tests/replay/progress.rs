//! What is told while a run goes on.

use crate::candidate::Candidate;
use crate::recording::{booked, exchange};
use crate::world::World;

#[tokio::test]
async fn the_range_and_its_size_are_told_unless_nothing_is_to_be() {
    let world = World::new("");
    world.record((0..3).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let told = world.replay(&candidate.url(), &[]).await;
    told.expect(
        0,
        "2026-05-01T10:00:00Z to 2026-05-01T11:00:00Z, at most 3 exchanges in 1 segment",
    );
    let quiet = world.replay(&candidate.url(), &["--quiet"]).await;
    quiet.expect(0, "3 exchanges: 3 matched");
    assert!(!quiet.err.contains("at most"), "{quiet:#?}");
}
