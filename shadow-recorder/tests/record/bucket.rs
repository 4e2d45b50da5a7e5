//! A bucket that is away, slow, refuses, fails or answers wrongly: nothing is lost that was kept, and nothing wrong is believed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shadow_recorder::store::bucket::{Encryption, Settings};
use shadow_recorder::store::{Store, StoreError};

use crate::faults::{Fault, Faults, variable};

const GONE: Fault = Fault::Status(503, "SlowDown");

/// Opens the tests' bucket through the proxy, in a folder of its own.
pub(crate) fn through(faults: &Faults, prefix: &str) -> Store {
    Store::bucket(settings(faults, prefix))
}

fn settings(faults: &Faults, prefix: &str) -> Settings {
    Settings {
        bucket: variable("SHADOW_TEST_S3_BUCKET"),
        prefix: prefix.into(),
        endpoint: Some(format!("http://{}", faults.address)),
        region: Some(variable("SHADOW_TEST_S3_REGION")),
        path_style: true,
        encryption: Encryption::OfBucket,
        connect_timeout: Duration::from_secs(5),
        attempt_timeout: Duration::from_secs(2),
        attempts_max: 3,
        multipart_bytes: 6 << 20,
        part_bytes: 5 << 20,
    }
}

/// Returns a prefix that no other test has, and no earlier run had.
pub(crate) fn unused_prefix() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = shadow_recorder::clock::now().as_microsecond();
    format!("{now}-{}-{}/", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn a_server_that_fails_for_a_while_is_asked_again() {
    let faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    for fault in [GONE, Fault::Status(500, "InternalError"), Fault::LostAnswer] {
        faults.next(&[fault, fault]);
        store.put("a", "content").await.unwrap();
        faults.next(&[fault, fault]);
        assert_eq!(store.get("a").await.unwrap(), b"content");
        faults.next(&[fault, fault]);
        store.create("once", "content").await.unwrap();
        faults.next(&[fault, fault]);
        assert_eq!(store.list("folder/").await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_broke_off_or_was_changed_on_the_way_is_read_again_and_never_believed() {
    let faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    store.put("a", vec![b'x'; 100_000]).await.unwrap();
    for (fault, said) in [(Fault::Truncated, "broke off"), (Fault::Damaged, "was changed")] {
        faults.next(&[fault, fault]);
        assert_eq!(store.get("a").await.unwrap(), vec![b'x'; 100_000], "{fault:?}");
        faults.all(fault);
        let error = store.get("a").await.unwrap_err();
        let error = format!("{:#}", anyhow::Error::new(error));
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_slowly_is_given_up() {
    let faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    store.put("a", vec![b'x'; 100_000]).await.unwrap();
    faults.all(Fault::Slow);
    let asked = Instant::now();
    let error = store.get("a").await.unwrap_err();
    assert!(!error.is_missing(), "{error}");
    // Three attempts of two seconds each, and the pauses between them.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_refusal_is_told_apart_from_an_outage() {
    let mut faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    faults.all(Fault::Status(403, "InvalidAccessKeyId"));
    for error in [
        store.put("a", "x").await.unwrap_err(),
        store.create("a", "x").await.unwrap_err(),
        store.get("a").await.unwrap_err(),
        store.list("a/").await.unwrap_err(),
        store.remove("a").await.unwrap_err(),
    ] {
        assert!(error.is_refused() && !error.is_missing(), "{error}");
    }
    let error = format!("{:#}", anyhow::Error::new(store.put("a", "x").await.unwrap_err()));
    assert!(error.contains("403 InvalidAccessKeyId") && error.contains("credentials"), "{error}");
    faults.down().await;
    let error = store.get("a").await.unwrap_err();
    assert!(!error.is_refused() && !error.is_missing(), "{error}");
    let error = format!("{:#}", anyhow::Error::new(error));
    assert!(error.contains("was not reached"), "{error}");
    faults.all(Fault::None);
    faults.up().await;
    assert!(store.get("a").await.unwrap_err().is_missing());
    // A bucket that does not exist is no object that does not exist.
    let prefix = unused_prefix();
    let nowhere = Settings { bucket: "nowhere".into(), ..settings(&faults, &prefix) };
    let error = Store::bucket(nowhere).get("a").await.unwrap_err();
    assert!(!error.is_missing(), "{error}");
}

#[tokio::test]
async fn an_object_that_is_written_once_is_so_whatever_the_server_knows_of_conditions() {
    let faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    // The answer to the first attempt is lost, and the second one is refused as AWS does.
    let exists = Fault::Status(412, "PreconditionFailed");
    faults.next(&[Fault::None, Fault::LostAnswer, exists]);
    store.create("a", "content").await.unwrap();
    assert_eq!(faults.seen("PUT"), 2);
    // Another writer comes between the question and the write: the question is answered as if nothing were there.
    let hidden = Fault::Status(404, "NoSuchKey");
    faults.next(&[hidden, exists]);
    store.create("a", "content").await.unwrap();
    faults.next(&[hidden, exists]);
    let error = store.create("a", "other").await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert_eq!(store.get("a").await.unwrap(), b"content");
    // Who may write and not ask.
    faults.next(&[Fault::Status(403, "AccessDenied")]);
    store.create("b", "content").await.unwrap();
    assert_eq!(store.get("b").await.unwrap(), b"content");
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_is_taken_back() {
    let faults = Faults::start().await;
    let store = through(&faults, &unused_prefix());
    let large = Bytes::from(vec![b'x'; 11 << 20]);
    // The question, the beginning, the first part; the second part fails at every attempt.
    faults.next(&[Fault::None, Fault::None, Fault::None, GONE, GONE, GONE]);
    store.create("large", large.clone()).await.unwrap_err();
    assert_eq!((faults.seen("partNumber=2"), faults.seen("DELETE")), (3, 1));
    assert!(store.get("large").await.unwrap_err().is_missing());
    // A part is sent again alone.
    faults.next(&[Fault::None, Fault::None, Fault::None, GONE, Fault::LostAnswer]);
    store.create("large", large.clone()).await.unwrap();
    assert_eq!((faults.seen("partNumber=1"), faults.seen("DELETE")), (2, 1));
    assert!(store.get("large").await.unwrap() == large);
}
