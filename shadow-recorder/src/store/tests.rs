use std::time::Duration;

use uuid::Uuid;

use super::bucket::{Encryption, Settings};
use super::*;
use crate::clock;

/// Every test of the contract runs on both kinds of store, each empty.
async fn on_both(test: impl AsyncFn(Store)) {
    let folder = tempfile::tempdir().unwrap();
    test(Store::directory(folder.path())).await;
    test(Store::bucket(settings())).await;
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run tests/run, which starts an S3 server, Garage")
    })
}

/// A folder of its own in the tests' bucket; parts as small as S3 takes them.
fn settings() -> Settings {
    Settings {
        bucket: variable("SHADOW_TEST_S3_BUCKET"),
        prefix: format!("{}/", Uuid::from_u128(clock::exchange_id(clock::now()))),
        endpoint: Some(variable("SHADOW_TEST_S3_ENDPOINT")),
        region: Some(variable("SHADOW_TEST_S3_REGION")),
        path_style: true,
        encryption: Encryption::OfBucket,
        connect_timeout: Duration::from_secs(5),
        attempt_timeout: Duration::from_secs(30),
        attempts_max: 3,
        multipart_bytes: 6 << 20,
        part_bytes: 5 << 20,
    }
}

#[tokio::test]
async fn an_object_reads_back_and_is_listed_in_order() {
    on_both(async |store| {
        assert_eq!(store.list("a/b/").await.unwrap(), Vec::<String>::new());
        for (key, content) in
            [("a/b/two", "2"), ("a/b/one", "1"), ("a/b/c/deeper", "3"), ("a/bc", "4")]
        {
            store.put(key, content).await.unwrap();
        }
        assert_eq!(store.list("a/b/").await.unwrap(), ["a/b/one", "a/b/two"]);
        assert_eq!(store.folders("a/b/").await.unwrap(), ["a/b/c/"]);
        assert_eq!(store.list("a/").await.unwrap(), ["a/bc"]);
        assert_eq!(store.get("a/b/one").await.unwrap(), b"1");
        assert!(store.get("a/b/three").await.unwrap_err().is_missing());
        store.remove("a/b/one").await.unwrap();
        store.remove("a/b/one").await.unwrap();
        assert!(store.get("a/b/one").await.unwrap_err().is_missing());
        store.put("empty", Bytes::new()).await.unwrap();
        assert_eq!(store.get("empty").await.unwrap(), b"");
    })
    .await;
}

#[tokio::test]
async fn a_key_never_leaves_the_store() {
    on_both(async |store| {
        for key in
            ["../x", "a/../x", "/etc/passwd", "a//b", "a/\0", "a/%2e%2e", "", "a b", "a\u{2215}b"]
        {
            assert!(matches!(store.get(key).await, Err(StoreError::Key(_))), "{key}");
            assert!(matches!(store.put(key, "x").await, Err(StoreError::Key(_))), "{key}");
            assert!(matches!(store.create(key, "x").await, Err(StoreError::Key(_))), "{key}");
            assert!(matches!(store.remove(key).await, Err(StoreError::Key(_))), "{key}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_written_once_is_never_replaced() {
    on_both(async |store| {
        store.create("a/segment", "first").await.unwrap();
        store.create("a/segment", "first").await.unwrap();
        let conflict = store.create("a/segment", "second").await.unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict { .. }), "{conflict}");
        assert_eq!(store.get("a/segment").await.unwrap(), b"first");
        assert_eq!(store.list("a/").await.unwrap(), ["a/segment"]);
        store.put("a/segment", "third").await.unwrap();
        assert_eq!(store.get("a/segment").await.unwrap(), b"third");
    })
    .await;
}

#[tokio::test]
async fn a_large_object_reads_back_whole_and_is_written_once_as_well() {
    on_both(async |store| {
        // Two parts and a last one that is smaller, which differ.
        let mut large = vec![b'a'; 5 << 20];
        large.extend(vec![b'b'; 5 << 20]);
        large.extend(vec![b'c'; 1 << 20]);
        let large = Bytes::from(large);
        store.create("large", large.clone()).await.unwrap();
        assert!(store.get("large").await.unwrap() == large);
        store.create("large", large.clone()).await.unwrap();
        let other = Bytes::from(vec![b'a'; 11 << 20]);
        let conflict = store.create("large", other.clone()).await.unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict { .. }), "{conflict}");
        store.put("large", other.clone()).await.unwrap();
        assert!(store.get("large").await.unwrap() == other);
    })
    .await;
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    on_both(async |store| {
        // More than the thousand that a bucket answers at once.
        let keys: Vec<String> = (0..1_050).map(|n| format!("many/{n:04}")).collect();
        let puts = keys.iter().map(|key| store.put(key, "x"));
        for put in futures_util::future::join_all(puts).await {
            put.unwrap();
        }
        assert_eq!(store.list("many/").await.unwrap(), keys);
    })
    .await;
}

#[tokio::test]
async fn only_a_directory_is_a_folder_and_both_say_where_an_object_lies() {
    let directory = Store::directory("/srv/store");
    assert_eq!(directory.root(), Some("/srv/store".as_ref()));
    assert_eq!(directory.location("a/b"), "/srv/store/a/b");
    let settings = Settings { bucket: "books".into(), prefix: "ledger/".into(), ..settings() };
    let bucket = Store::bucket(settings);
    assert_eq!(bucket.root(), None);
    assert_eq!(bucket.location("a/b"), "s3://books/ledger/a/b");
}
