//! A range that ends where every recorder has sealed.

use jiff::SignedDuration;
use shadow_recorder::clock;
use shadow_recorder::exchange::Exchange;

use crate::candidate::Candidate;
use crate::recording::{Boot, booked, exchange};
use crate::world::World;

#[tokio::test]
async fn the_latest_half_hour_ends_where_the_recorder_has_sealed() {
    let world = World::new("[replay]\nwatermark_wait = \"1ms\"");
    let begins = clock::now() - SignedDuration::from_hours(2);
    let at_minute = |n: u32| {
        let received_at = begins + SignedDuration::from_mins(i64::from(n));
        Exchange { received_at, ..exchange(n) }
    };
    // It records still, and has sealed the first hour.
    let boot = Boot { ended: false, begins, ..Boot::default() };
    boot.write(&world.store(), &[(0..60).map(at_minute).collect()]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let range = ["--latest", "30m"];
    let common = ["run", "--candidate", &candidate.url(), "--build", "rc1"];
    let said = world.replayer(&[&common[..], &range].concat()).await;
    said.expect(0, "30 exchanges: 30 matched");
    assert!(!said.err.contains("not covered"), "{said:#?}");
    said.expect(0, &(begins + SignedDuration::from_mins(30)).to_string());
}

#[tokio::test]
async fn a_range_is_from_and_to_or_the_latest() {
    let world = World::new("");
    let common = ["run", "--candidate", "http://127.0.0.1:9", "--build", "rc1"];
    for (range, part) in [
        (&[][..], "give --from and --to, or --latest"),
        (&["--from", "2026-05-01T10:00:00Z"], "--to <TIME>"),
        (&["--from", "2026-05-01T10:00:00Z", "--latest", "1h"], "cannot be used with"),
        (&["--latest", "1h"], "nothing was recorded in the 1h"),
        (&["--latest", "soon"], "soon"),
    ] {
        let said = world.replayer(&[&common, range].concat()).await;
        said.expect(64, part);
    }
}
