//! What lies in the store is read whole, in order, and what is damaged is named.

use std::path::PathBuf;

use crate::candidate::Candidate;
use crate::recording::{Boot, booked, exchange};
use crate::world::World;

fn segments_of(world: &World) -> Vec<PathBuf> {
    let folder = world.store().join("captures/books/2026/05/01/10");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "zst")).collect();
    segments.sort();
    segments
}

#[tokio::test]
async fn a_segment_of_many_frames_is_read_whole() {
    let world = World::new("[replay]\nin_flight = 16");
    let many = (0..700).map(exchange).collect();
    Boot::default().write(&world.store(), &[many, vec![exchange(700)]]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "701 exchanges: 701 matched");
    let rows = world.rows("exchange", &said.run());
    let ids: Vec<&str> = rows.iter().map(|row| &*row["exchange_id"]).collect();
    let expected: Vec<String> = (0..=700).map(|n| exchange(n).id.0).collect();
    assert_eq!(ids, expected, "in recorded order");
}

#[tokio::test]
async fn what_is_sound_of_a_damaged_segment_is_compared_and_the_damage_named() {
    let world = World::new("");
    let some = |from: u32| (from..from + 150).map(exchange).collect();
    Boot::default().write(&world.store(), &[some(0), some(150)]);
    let segment = &segments_of(&world)[0];
    let mut bytes = std::fs::read(segment).unwrap();
    let last = bytes.len() - 8;
    bytes[last] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "250 exchanges: 250 matched");
    said.expect(0, "100 of 150 exchanges could be read, 1 frames and 0 lines are damaged");
}
