use std::collections::BTreeMap;

use super::*;
use shadow_recorder::census::{Cell, Census, Sums};
use shadow_recorder::manifest::FORMAT;
use shadow_recorder::segment::{Calls, Tally, VERSION};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

pub(super) const RANGE: fn() -> Range = || Range { from: at(0), to: at(100) };

pub(super) fn manifest(boot: &str, sequence: u64, opened: i64, sealed: i64) -> Manifest {
    Manifest {
        format: FORMAT.into(),
        version: VERSION,
        service: "ledger".into(),
        build: format!("build-{sequence}"),
        instance: "pod".into(),
        boot: boot.into(),
        sequence,
        segment: format!("{boot}-{sequence}"),
        bytes: 1,
        sha256: "00".into(),
        opened_at: at(opened),
        sealed_at: at(sealed),
        sealed_through: at(sealed),
        first_received_at: Some(at(opened)),
        last_received_at: Some(at(sealed - 1)),
        last: false,
        torn: false,
        exchanges: 5,
        ambient: 0,
        strata: BTreeMap::new(),
        calls: Calls::default(),
        census: None,
    }
}

fn examined(manifests: &[Manifest]) -> Evidence {
    examine(&Found { manifests: manifests.to_vec(), unreadable: vec![] }, RANGE())
}

#[test]
fn a_range_is_covered_by_gapless_segments_that_are_sealed_through_its_end() {
    let evidence = examined(&[manifest("a", 3, -10, 50), manifest("a", 4, 50, 100)]);
    assert_eq!(evidence.gaps, Vec::<String>::new());
    assert_eq!(evidence.segments.len(), 2);
    assert_eq!(evidence.primary_build.as_deref(), Some("build-4"));
}

#[test]
fn an_instance_that_has_not_sealed_the_range_is_named() {
    let evidence = examined(&[manifest("a", 1, -10, 50), manifest("b", 1, -10, 101)]);
    assert_eq!(evidence.gaps.len(), 1);
    assert!(
        evidence.gaps[0].starts_with("instance pod (boot a) has sealed only"),
        "{:?}",
        evidence.gaps
    );
}

#[test]
fn an_instance_that_stopped_cleanly_needs_to_seal_nothing_more() {
    let stopped = Manifest { last: true, ..manifest("a", 1, -10, 50) };
    assert_eq!(examined(&[stopped]).gaps, Vec::<String>::new());
}

#[test]
fn a_missing_segment_is_named() {
    let evidence = examined(&[manifest("a", 1, -10, 30), manifest("a", 3, 60, 100)]);
    let (from, to) = (at(30), at(60));
    assert_eq!(
        evidence.gaps,
        [format!(
            "segment 2 of instance pod (boot a) is missing from the store, from {from} to {to} (30s)"
        )]
    );
    let evidence = examined(&[manifest("a", 2, 10, 100)]);
    assert!(evidence.gaps[0].starts_with("segment 1 of instance pod (boot a) is missing"));
}

#[test]
fn what_a_crash_lost_is_named() {
    let torn = Manifest { last: true, torn: true, ..manifest("a", 1, -10, 50) };
    assert!(examined(&[torn]).gaps[0].contains("ended without a clean stop"));
}

#[test]
fn a_boot_outside_the_range_proves_and_spoils_nothing() {
    let before = Manifest { last: true, ..manifest("a", 1, -500, -400) };
    let after = manifest("b", 1, 100, 150);
    let evidence = examined(&[before, after]);
    assert_eq!((evidence.gaps.len(), evidence.segments.len()), (0, 0));
}

#[test]
fn what_production_dropped_is_counted_even_in_an_empty_segment() {
    let tally = Tally {
        observed: 3,
        recorded: 1,
        sampled_out: 0,
        dropped: [("queue_full".to_owned(), 2)].into(),
    };
    let empty = Manifest {
        first_received_at: None,
        last_received_at: None,
        strata: [("all".to_owned(), tally)].into(),
        ..manifest("a", 1, -10, 100)
    };
    assert_eq!(examined(&[empty]).dropped, [("queue_full".to_owned(), 2)].into());
}

#[test]
fn what_passed_is_counted_per_stratum_and_what_may_lie_outside_is_told_apart() {
    let tally = |recorded, dropped| Tally {
        observed: recorded + dropped,
        recorded,
        sampled_out: 0,
        dropped: [("queue_full".to_owned(), dropped)].into(),
    };
    let strata = |small, large| [("large".to_owned(), large), ("small".to_owned(), small)].into();
    let edge = Manifest { strata: strata(tally(5, 1), tally(2, 0)), ..manifest("a", 1, -10, 50) };
    let inside = Manifest { strata: strata(tally(7, 0), tally(0, 0)), ..manifest("a", 2, 50, 90) };
    // What took long lies in a segment that was opened after the range.
    let late = Manifest {
        first_received_at: Some(at(95)),
        strata: strata(tally(1, 4), tally(0, 9)),
        ..manifest("a", 3, 120, 150)
    };
    let before = Manifest { sealed_at: at(110), sealed_through: at(110), ..inside.clone() };
    let evidence = examined(&[edge, before, late]);
    let small = &evidence.strata["small"];
    assert_eq!((small.tally.observed, small.tally.recorded, small.beyond), (14, 13, 6));
    assert!(evidence.strata.values().all(|of| of.tally.balances()), "{:?}", evidence.strata);
    let large = &evidence.strata["large"];
    assert_eq!((large.tally.recorded, large.beyond), (2, 2));
    assert_eq!(evidence.dropped.values().sum::<u64>(), 1);
}

#[test]
fn what_no_census_looked_at_is_counted_and_a_segment_beyond_the_range_only_bounds_it() {
    let of = |exchanges, units| {
        let cell = Cell { currency: "USD".into(), ..Cell::default() };
        let sums = Sums { debit_entries: exchanges, debit_units: units, ..Sums::default() };
        Some(Census { exchanges, unread: 0, cells: [(cell, sums)].into() })
    };
    let strata = |observed| {
        let tally = Tally { observed, recorded: 1, ..Tally::default() };
        BTreeMap::from([("all".to_owned(), tally)])
    };
    let first = Manifest { census: of(3, 30), strata: strata(3), ..manifest("a", 1, 0, 50) };
    let second = Manifest { census: of(4, 70), strata: strata(6), ..manifest("a", 2, 50, 100) };
    let counted = examined(&[first.clone(), second.clone()]).counted;
    let units: i128 = counted.census.cells.values().map(|sums| sums.debit_units).sum();
    assert_eq!((units, counted.uncounted, counted.beyond), (100, 2, false));
    let without = Manifest { census: None, ..second };
    assert_eq!(examined(&[first.clone(), without]).counted.uncounted, 6);
    let across = Manifest { opened_at: at(-1), ..first };
    assert!(examined(&[across]).counted.beyond);
}

#[test]
fn a_range_is_half_open() {
    assert!(RANGE().contains(at(0)));
    assert!(RANGE().contains(at(99)));
    assert!(!RANGE().contains(at(100)));
}

#[test]
fn only_an_instance_that_has_not_sealed_is_worth_waiting_for() {
    let waits = |manifests: &[Manifest]| {
        may_still_seal(&Found { manifests: manifests.to_vec(), unreadable: vec![] }, RANGE())
    };
    assert!(waits(&[manifest("a", 1, -10, 50)]));
    assert!(
        !waits(&[manifest("a", 1, -10, 30), manifest("a", 3, 60, 100)]),
        "a missing segment stays missing"
    );
    assert!(!waits(&[Manifest { last: true, torn: true, ..manifest("a", 1, -10, 50) }]));
    assert!(!waits(&[]));
}

#[test]
fn what_was_lost_while_no_segment_could_be_opened_is_counted_where_it_was_lost() {
    let tally = Tally {
        observed: 2,
        recorded: 0,
        sampled_out: 0,
        dropped: [("disk".to_owned(), 2)].into(),
    };
    let after =
        Manifest { strata: [("all".to_owned(), tally)].into(), ..manifest("a", 2, 110, 150) };
    let evidence = examined(&[manifest("a", 1, -10, 90), after]);
    assert_eq!(evidence.dropped, [("disk".to_owned(), 2)].into());
}

#[test]
fn a_crash_is_a_gap_even_where_the_boot_was_idle_before_the_range() {
    let torn = Manifest { last: true, torn: true, ..manifest("a", 1, -50, -20) };
    assert!(examined(std::slice::from_ref(&torn)).gaps[0].contains("ended without a clean stop"));
    let restarted_before = [torn, Manifest { last: true, ..manifest("b", 1, -5, 100) }];
    assert_eq!(examined(&restarted_before).gaps, Vec::<String>::new());
}

#[test]
fn a_wide_hole_is_one_gap() {
    let far = Manifest { sequence: u64::MAX, last: true, ..manifest("a", 9, 60, 100) };
    let gaps = examined(&[manifest("a", 1, -10, 30), far]).gaps;
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].starts_with("segments 2 to "), "{gaps:?}");
}

#[test]
fn the_latest_range_ends_where_every_instance_that_records_has_sealed() {
    let found =
        |manifests: &[Manifest]| Found { manifests: manifests.to_vec(), unreadable: vec![] };
    let of = |manifests: &[Manifest]| {
        latest(&found(manifests), SignedDuration::from_secs(30), at(200)).map(|r| (r.from, r.to))
    };
    let (a, b) = (manifest("a", 1, 0, 90), manifest("b", 1, 0, 120));
    let b = Manifest { instance: "other".into(), ..b };
    assert_eq!(of(&[a.clone(), b.clone()]), Ok((at(60), at(90))));
    let stopped = Manifest { last: true, ..a.clone() };
    assert_eq!(of(&[stopped.clone(), b]), Ok((at(90), at(120))));
    assert_eq!(of(&[stopped]), Ok((at(170), at(200))), "nothing records any more");
    let again = Manifest { opened_at: at(95), ..manifest("c", 1, 95, 150) };
    assert_eq!(of(&[a, again]), Ok((at(120), at(150))), "the first boot has died");
    assert!(of(&[]).unwrap_err().contains("nothing was recorded"));
}

#[test]
fn a_bucket_is_a_shard() {
    let part = |key: &str| FrozenSegment { key: key.into(), sha256: String::new(), exchanges: 1 };
    let buckets = vec![vec![part("b0p0"), part("b0p1")], vec![], vec![part("b2p0")]];
    let evidence = Evidence { segments: vec![part("s")], buckets, ..Evidence::default() };
    assert_eq!(shards(&evidence, 16), [vec!["b0p0", "b0p1"], vec!["b2p0"]]);
}

#[tokio::test]
async fn ten_thousand_segments_are_planned_from_their_manifests_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::directory(folder.path());
    // Of a hundred instances, each a segment a minute; the segments themselves are not there to be read.
    for (instance, minute) in (0..100).flat_map(|i| (0..100_u32).map(move |minute| (i, minute))) {
        let opened = i64::from(minute) * 60;
        let first = at(opened);
        let key = format!("{}{instance}-{minute}", hour_prefix("ledger", first.as_microsecond()));
        let path = folder.path().join(format!("{key}{MANIFEST_SUFFIX}"));
        let manifest = Manifest {
            instance: format!("pod-{instance}"),
            segment: format!("{key}.ndjson.zst"),
            ..manifest(&instance.to_string(), u64::from(minute) + 1, opened, opened + 60)
        };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    }
    let range = Range { from: at(0), to: at(6_000) };
    let found = find(&store, "ledger", range, SignedDuration::from_hours(1), at(9_000)).await;
    let evidence = examine(&found.unwrap(), range);
    assert_eq!(evidence.gaps, Vec::<String>::new());
    assert_eq!((evidence.segments.len(), shards(&evidence, 16).len()), (10_000, 625));
}
