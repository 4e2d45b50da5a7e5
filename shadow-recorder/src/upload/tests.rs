use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::sampling::Sampling;
use crate::spool::Spool;

fn header(service: &str, sequence: u64) -> Header {
    Header {
        format: crate::segment::FORMAT.into(),
        version: crate::segment::VERSION,
        service: service.into(),
        build: "p1".into(),
        instance: "pod-1".into(),
        boot: "b".into(),
        sequence,
        opened_at: Timestamp::UNIX_EPOCH,
        service_address: String::new(),
        upstream_addresses: std::collections::BTreeMap::new(),
        sampling: Sampling::everything().rule(),
        redaction: Box::default(),
    }
}

fn upload(store: Store) -> Upload {
    let metrics = Metrics::register(&mut Registry::default());
    let (stopping, now) = (CancellationToken::new(), CancellationToken::new());
    Upload { service: "ledger".into(), store, metrics, stopping, now }
}

/// Seals an empty segment that waits behind so many others.
fn sealed(spool: &mut Spool, sequence: u64, waiting: u64) -> Sealed {
    let header = header("ledger", sequence);
    let file = spool.create(sequence, b"content").unwrap();
    Sealed::new(file, header, Totals::default(), waiting)
}

#[tokio::test]
async fn what_follows_a_segment_that_is_given_up_is_left_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path().join("spool"), "b".into(), String::new());
    let [first, second] = [1, 2].map(|sequence| sealed(&mut spool, sequence, 0));
    // A folder where the object should be.
    let store = Store::directory(folder.path().join("store"));
    let path = store.path(&first.totals.key(&first.header).segment()).unwrap();
    fs::create_dir_all(path).unwrap();
    let (sender, parcels) = unbounded_channel();
    for sealed in [first, second] {
        sender.send(Parcel::Sealed(sealed.into())).unwrap();
    }
    drop(sender);
    let upload = upload(store);
    upload.stopping.cancel();
    let uploaded = upload.run(parcels).await;
    // The second alone would end the boot, and the first would seem to.
    assert_eq!((uploaded.committed, uploaded.left), (0, 2));
    let left = |sequence| folder.path().join(format!("spool/b-{sequence}.ndjson.zst")).exists();
    assert!(left(1) && left(2));
}

#[test]
fn a_segment_reads_back_whether_its_file_stayed_open_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path().join("spool"), "b".into(), String::new());
    for (sequence, waiting, is_open) in [(1, OPEN_FILES_MAX - 1, true), (2, OPEN_FILES_MAX, false)]
    {
        let sealed = sealed(&mut spool, sequence, waiting);
        assert_eq!(sealed.file.is_some(), is_open);
        // Twice, as after a failed attempt.
        for _ in 0..2 {
            assert_eq!(sealed.read().unwrap(), b"content");
        }
        fs::remove_file(&sealed.path).unwrap();
        assert_eq!(sealed.read().is_ok(), is_open);
    }
}

#[tokio::test]
async fn what_another_service_left_behind_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("spool");
    let before = |boot: &str| Spool::new(directory.clone(), boot.into(), String::new());
    for (boot, service) in [("a", "other"), ("b", "ledger")] {
        let mut frame = Vec::new();
        let line = Line::Header(header(service, 1));
        crate::segment::write_frame(&mut frame, &[line]).unwrap();
        before(boot).create(1, &frame).unwrap();
    }
    let (sender, parcels) = unbounded_channel();
    for leftover in before("c").leftovers().unwrap() {
        sender.send(Parcel::Leftover(leftover)).unwrap();
    }
    drop(sender);
    let uploaded = upload(Store::directory(folder.path().join("store"))).run(parcels).await;
    assert_eq!((uploaded.committed, uploaded.left), (1, 0));
    assert!(directory.join("a-1.ndjson.zst").exists());
    assert!(!directory.join("b-1.ndjson.zst").exists());
}
