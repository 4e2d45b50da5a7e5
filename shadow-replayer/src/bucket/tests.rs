use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use shadow_recorder::exchange::ExchangeId;
use shadow_recorder::segment;

use super::*;
use crate::compare::tests::recorded;
use crate::plan::Range;

fn exchange(n: u32, key: Option<&str>, at_ms: i64) -> Exchange {
    let recorded = recorded(200, "{}");
    let received_at = recorded.received_at + SignedDuration::from_millis(at_ms);
    let order_key = key.map(Into::into);
    let id = ExchangeId(n.to_string());
    Exchange { id, sequence: n.into(), order_key, received_at, ..recorded }
}

/// A segment of a boot that was recorded under rules that drop a header.
fn segment(boot: &str, header: &str, exchanges: &[Exchange]) -> (FrozenSegment, Vec<u8>) {
    let redaction = Redaction { headers_dropped: vec![header.into()], ..Redaction::default() };
    let header = serde_json::json!({
        "format": segment::FORMAT, "version": 1, "service": "books", "build": "1", "instance": "pod", "boot": boot,
        "sequence": 1, "opened_at": "2026-05-01T10:00:00Z", "service_address": "", "upstream_addresses": {},
        "sampling": {"rule": "everything"}, "redaction": redaction,
    });
    let header = segment::Line::Header(serde_json::from_value(header).unwrap());
    let mut bytes = Vec::new();
    write_frame(&mut bytes, &[header]).unwrap();
    let lines: Vec<_> =
        exchanges.iter().map(|e| segment::Line::Exchange(e.clone().into())).collect();
    write_frame(&mut bytes, &lines).unwrap();
    let key = format!("captures/books/1970/01/01/00/0-9-pod-{boot}-1.ndjson.zst");
    (FrozenSegment { key, sha256: sha256(&bytes), exchanges: exchanges.len() as u64 }, bytes)
}

fn range() -> Range {
    let from = jiff::Timestamp::UNIX_EPOCH;
    Range { from, to: from + SignedDuration::from_secs(10) }
}

/// Takes segments, puts each aside, and reads so many buckets back.
fn bucketed(segments: &[(FrozenSegment, Vec<u8>)], count: usize) -> Vec<Vec<(String, Exchange)>> {
    let mut spill = Spill::new(count).unwrap();
    for (segment, bytes) in segments {
        let losses = spill.take(bytes, segment, range(), &BTreeSet::new()).unwrap();
        assert_eq!(losses, Vec::<String>::new());
        spill.put_aside().unwrap();
    }
    let spilled = spill.finish().unwrap();
    (0..count).map(|bucket| read_back(&spilled, bucket)).collect()
}

fn read_back(spilled: &Spilled, bucket: usize) -> Vec<(String, Exchange)> {
    let (mut merge, mut found) = (Merge::of(spilled, bucket), Vec::new());
    let part = part(&mut merge, &RunId::fresh(), bucket, &spilled.rules).unwrap();
    let Some((bytes, exchanges)) = part else { return found };
    let frozen = FrozenSegment { key: "buckets/x".into(), sha256: sha256(&bytes), exchanges };
    let losses = read(&bytes, &frozen, |rules, exchange| {
        found.push((rules.unwrap().headers_dropped[0].clone(), exchange));
        ControlFlow::Continue(())
    });
    assert_eq!(losses, Vec::<String>::new());
    assert_eq!(found.len() as u64, exchanges);
    found
}

#[test]
fn every_exchange_of_a_key_is_in_one_bucket_in_recorded_order_with_its_own_rules() {
    let key = |n: u32| ["a", "b", "c", "d", "e"][n as usize % 5];
    // The second instance recorded between the first one's exchanges, and each wrote what ended first.
    let of = |from: u32, step: i64| -> Vec<Exchange> {
        (0..100).rev().map(|n| exchange(n, Some(key(n)), step + i64::from(n + from) * 10)).collect()
    };
    let first = segment("b1", "x-one", &of(0, 0));
    let second = segment("b2", "x-two", &of(0, 5));
    let buckets = bucketed(&[first, second], 3);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (bucket, exchanges) in buckets.iter().enumerate() {
        let times: Vec<_> = exchanges.iter().map(|(_, exchange)| exchange.received_at).collect();
        assert!(times.is_sorted());
        for (rules, exchange) in exchanges {
            let key = exchange.order_key.clone().unwrap();
            assert_eq!(*places.entry(key).or_insert(bucket), bucket);
            let odd = exchange.received_at.as_millisecond() % 10 == 5;
            assert_eq!(rules, if odd { "x-two" } else { "x-one" });
        }
    }
    assert_eq!(buckets.iter().map(Vec::len).sum::<usize>(), 200);
}

#[test]
fn an_exchange_without_a_key_is_on_its_own_and_one_outside_the_range_in_no_bucket() {
    let mut exchanges: Vec<Exchange> = (0..60).map(|n| exchange(n, None, 1)).collect();
    exchanges.push(exchange(60, None, 10_000));
    let buckets = bucketed(&[segment("b1", "x", &exchanges)], 4);
    assert_eq!(buckets.iter().map(Vec::len).sum::<usize>(), 60);
    assert!(buckets.iter().all(|bucket| bucket.len() > 3), "spread");
}

#[test]
fn an_exchange_that_lies_in_two_segments_is_in_its_bucket_once() {
    let twice = [exchange(1, Some("a"), 1), exchange(2, Some("a"), 2)];
    let buckets = bucketed(&[segment("b1", "x", &twice), segment("b1", "x", &twice[1..])], 1);
    let ids: Vec<&str> = buckets[0].iter().map(|(_, exchange)| &*exchange.id.0).collect();
    assert_eq!(ids, ["1", "2"]);
}

#[test]
fn damage_is_named() {
    let (frozen, mut bytes) = segment("b1", "x", &[exchange(1, Some("a"), 1)]);
    let last = bytes.len() - 6;
    bytes[last] ^= 1;
    let mut spill = Spill::new(1).unwrap();
    let losses = spill.take(&bytes, &frozen, range(), &BTreeSet::new()).unwrap();
    assert!(losses[0].contains("is not what its manifest describes"), "{losses:?}");
    let frozen = FrozenSegment { key: "buckets/x".into(), ..frozen };
    let losses = read(&bytes, &frozen, |_, _| ControlFlow::Continue(()));
    assert!(losses[0].contains("is not what the plan wrote"), "{losses:?}");
}

#[test]
fn the_number_of_buckets_follows_from_the_bytes() {
    assert_eq!((count(0, 10), count(10, 10), count(11, 10)), (1, 1, 2));
    assert_eq!(count(u64::MAX, 1), 4_096);
}
