use jiff::SignedDuration;

use super::*;
use crate::catalog::manifests;
use crate::hold::{Release, VERSION, place, release};
use crate::manifest::SegmentKey;
use crate::sampling::Sampling;
use crate::segment::Header;
use crate::totals::Totals;

fn at(hours: i64) -> Timestamp {
    let base: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    base.checked_add(SignedDuration::from_hours(hours)).unwrap()
}

/// Commits a segment that was opened at an hour and has one exchange half an hour later; returns its names.
async fn commit(store: &Store, sequence: u64, hour: i64) -> SegmentKey {
    let header = Header {
        format: crate::segment::FORMAT.into(),
        version: crate::segment::VERSION,
        service: "ledger".into(),
        build: "p1".into(),
        instance: "pod-1".into(),
        boot: "b".into(),
        sequence,
        opened_at: at(hour),
        sealed_through: at(hour),
        service_address: String::new(),
        upstream_addresses: std::collections::BTreeMap::new(),
        host: None,
        sampling: Sampling::everything().rule(),
        redaction: Box::default(),
    };
    let mut totals = Totals::default();
    totals.add_exchange(at(hour).checked_add(SignedDuration::from_mins(30)).unwrap());
    let key = totals.key(&header);
    let manifest = totals.manifest(&header, b"content", false);
    store.put(&key.segment(), "content").await.unwrap();
    store.put(&key.manifest(), serde_json::to_vec(&manifest).unwrap()).await.unwrap();
    key
}

fn hold(name: &str, from: i64, to: i64) -> Hold {
    Hold {
        format: hold::FORMAT.into(),
        version: VERSION,
        name: name.into(),
        from: at(from),
        to: at(to),
        reason: "an audit".into(),
        placed_by: "ada".into(),
        placed_at: at(0),
        released: None,
    }
}

async fn left(store: &Store) -> Vec<u64> {
    let found = manifests(store, "ledger", Range::default()).await.unwrap();
    found.into_iter().map(|manifest| manifest.unwrap().sequence).collect()
}

#[test]
fn a_segment_goes_when_all_of_it_is_old_and_nothing_holds_it() {
    let holds = [
        hold("a", 10, 12),
        Hold { released: Some(Release { by: "bob".into(), at: at(1) }), ..hold("b", 0, 99) },
    ];
    let fate = |first, last| fate((at(first), at(last)), at(20), &holds);
    assert_eq!(fate(8, 9), Fate::Goes);
    assert_eq!(fate(19, 20), Fate::Stays);
    assert_eq!(fate(18, 19), Fate::Goes);
    // The range is half-open, what a segment covers is not.
    assert_eq!(fate(9, 10), Fate::Held("a".into()));
    assert_eq!(fate(11, 13), Fate::Held("a".into()));
    assert_eq!(fate(12, 13), Fate::Goes);
    assert_eq!(fate(1, 19), Fate::Held("a".into()));
}

#[tokio::test]
async fn what_is_old_and_not_held_goes_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::directory(folder.path());
    for (sequence, hour) in [(1, 0), (2, 5), (3, 30), (4, 31), (5, 60)] {
        commit(&store, sequence, hour).await;
    }
    place(&store, "ledger", &hold("matter-7", 5, 6)).await.unwrap();
    let dry = expire(&store, "ledger", at(40), false).await.unwrap();
    assert_eq!((dry.segments, dry.exchanges, dry.bytes, dry.held), (3, 3, 21, 1));
    assert_eq!(left(&store).await, [1, 2, 3, 4, 5]);

    assert_eq!(expire(&store, "ledger", at(40), true).await.unwrap(), dry);
    assert_eq!(left(&store).await, [2, 5]);
    // Nothing of another service's, and no hold, went with them.
    assert_eq!(store.list("holds/ledger/").await.unwrap(), ["holds/ledger/matter-7.json"]);

    release(&store, "ledger", "matter-7", Release { by: "bob".into(), at: at(9) }).await.unwrap();
    let after = expire(&store, "ledger", at(40), true).await.unwrap();
    assert_eq!((after.segments, after.held), (1, 0));
    assert_eq!(left(&store).await, [5]);
}

#[tokio::test]
async fn what_a_crash_left_without_a_manifest_goes_with_the_next_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::directory(folder.path());
    let key = commit(&store, 1, 0).await;
    // A folder where the segment is: it cannot be removed, as if the process had died before.
    std::fs::remove_file(folder.path().join(key.segment())).unwrap();
    std::fs::create_dir(folder.path().join(key.segment())).unwrap();
    expire(&store, "ledger", at(40), true).await.unwrap_err();
    assert!(store.get(&key.manifest()).await.unwrap_err().is_missing(), "the manifest goes first");

    std::fs::remove_dir(folder.path().join(key.segment())).unwrap();
    store.put(&key.segment(), "content").await.unwrap();
    let expired = expire(&store, "ledger", at(40), true).await.unwrap();
    assert_eq!((expired.segments, expired.uncommitted), (1, 1));
    assert!(store.get(&key.segment()).await.unwrap_err().is_missing());
}

#[tokio::test]
async fn what_cannot_be_judged_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::directory(folder.path());
    let key = commit(&store, 1, 0).await;
    store.put(&key.manifest(), "not a manifest").await.unwrap();
    let expired = expire(&store, "ledger", at(40), true).await.unwrap();
    assert_eq!((expired.segments, expired.unknown.len()), (0, 1));
    assert!(store.get(&key.segment()).await.is_ok());
    // A hold that cannot be read may hold anything.
    commit(&store, 2, 0).await;
    store.put("holds/ledger/odd.json", "{}").await.unwrap();
    let error = expire(&store, "ledger", at(40), true).await.unwrap_err();
    assert!(matches!(error, ExpiryError::Holds(_)), "{error}");
    assert_eq!(
        store
            .list(&crate::manifest::hour_prefix("ledger", at(0).as_microsecond()))
            .await
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn a_hold_is_placed_once_and_stays_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::directory(folder.path());
    place(&store, "ledger", &hold("a", 1, 2)).await.unwrap();
    for (wrong, expected) in [
        (place(&store, "ledger", &hold("a", 1, 3)).await, "there is a hold a already"),
        (place(&store, "ledger", &hold("b", 2, 2)).await, "the range is empty"),
        (place(&store, "ledger", &hold("../b", 1, 2)).await, "is not a name of a hold"),
        (
            release(&store, "ledger", "b", Release { by: "bob".into(), at: at(3) }).await,
            "there is no hold b",
        ),
    ] {
        let error = wrong.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(expected), "{error}");
    }
    let released = Release { by: "bob".into(), at: at(3) };
    release(&store, "ledger", "a", released.clone()).await.unwrap();
    let again = release(&store, "ledger", "a", Release { by: "eve".into(), at: at(4) }).await;
    assert!(again.unwrap_err().to_string().contains("was released by bob"));
    let holds = hold::all(&store, "ledger").await.unwrap();
    assert_eq!(holds, [Hold { released: Some(released), ..hold("a", 1, 2) }]);
    assert_eq!(hold::all(&store, "other").await.unwrap(), []);
}
