//! Exchanges of one order key follow each other as they were recorded.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shadow_recorder::exchange::Exchange;

use crate::candidate::{Candidate, reply};
use crate::recording::{Boot, booked, exchange};
use crate::world::World;

const CONFIGURATION: &str = "[replay]\norder = \"key\"\nbucket_bytes = 1000\nin_flight = 16";

/// Two instances that served the same four keys in turn, each exchange written when it ended and not when it began.
fn record(world: &World) {
    let keyed = |n: u32| Exchange { order_key: Some(format!("k{}", n % 4)), ..exchange(n) };
    let of = |instance: u32| -> Vec<Exchange> {
        (0..120).rev().filter(|n| (n / 4) % 2 == instance).map(keyed).collect()
    };
    Boot::default().write(&world.store(), &[of(0)]);
    Boot { name: "b2".into(), ..Boot::default() }.write(&world.store(), &[of(1)]);
}

#[tokio::test]
async fn exchanges_of_a_key_follow_each_other_as_recorded_across_instances() {
    let world = World::new(CONFIGURATION);
    record(&world);
    let log = Arc::new(Mutex::new(Vec::new()));
    let candidate = Candidate::start({
        let log = Arc::clone(&log);
        move |asked| {
            let log = Arc::clone(&log);
            async move {
                let n: u32 = asked.target.rsplit('/').next().unwrap().parse().unwrap();
                log.lock().unwrap().push((n, "begins"));
                tokio::time::sleep(Duration::from_millis(1)).await;
                log.lock().unwrap().push((n, "ends"));
                reply(200, booked("Rides", "4000"))
            }
        }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "120 exchanges: 120 matched");
    let log = log.lock().unwrap().clone();
    for key in 0..4 {
        let of_key: Vec<_> = log.iter().filter(|(n, _)| n % 4 == key).copied().collect();
        let expected = (0..30).flat_map(|n| [(n * 4 + key, "begins"), (n * 4 + key, "ends")]);
        assert_eq!(of_key, expected.collect::<Vec<_>>());
    }
    let left = world.store().join(format!("buckets/run_id={}", said.run()));
    let left = walk(&left);
    assert_eq!(left, Vec::<String>::new(), "buckets are gone when the run has ended");
}

#[tokio::test]
async fn a_run_by_order_key_is_compared_again_though_its_buckets_are_gone() {
    let world = World::new(CONFIGURATION);
    record(&world);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let run = world.replay(&candidate.url(), &[]).await.run();
    let again = world.replayer(&["compare", "--run", &run]).await;
    again.expect(0, "journal revision 2");
    let ids = |revision: u32| -> BTreeSet<String> {
        let rows = world.rows_of("exchange", revision, &run).into_iter();
        rows.filter(|row| row["outcome"] == "matched")
            .map(|row| row["exchange_id"].clone())
            .collect()
    };
    assert_eq!((ids(1).len(), ids(1)), (120, ids(2)));
}

#[tokio::test]
async fn a_recording_without_order_keys_is_not_wholly_covered() {
    let world = World::new("");
    world.record((0..3).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &["--order", "key"]).await;
    said.expect(0, "3 exchanges: 3 matched");
    said.expect(0, "no exchange of the range has an order key: set [recorder] order_key");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = |path: std::path::PathBuf| {
        if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }
    };
    paths.flat_map(below).collect()
}
