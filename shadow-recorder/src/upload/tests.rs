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
        sealed_through: Timestamp::UNIX_EPOCH,
        service_address: String::new(),
        upstream_addresses: std::collections::BTreeMap::new(),
        host: None,
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
    let path = store.root().unwrap().join(first.totals.key(&first.header).segment());
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

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_an_hour_is_asked_now_and_then_and_gets_everything_when_it_is_back()
 {
    const HOUR: Duration = Duration::from_hours(1);
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path().join("spool"), "b".into(), String::new());
    let [first, second] = [1, 2].map(|sequence| sealed(&mut spool, sequence, 0));
    let root = folder.path().join("store");
    fs::write(&root, "a file where the store should be").unwrap();
    let (sender, parcels) = unbounded_channel();
    for sealed in [first, second] {
        sender.send(Parcel::Sealed(sealed.into())).unwrap();
    }
    drop(sender);
    let upload = upload(Store::directory(&root));
    let failures = upload.metrics.upload_failures.clone();
    // The clock of the test, which goes on by itself where everything waits.
    let began = tokio::time::Instant::now();
    let back = tokio::spawn(async move {
        tokio::time::sleep(HOUR).await;
        fs::remove_file(&root).unwrap();
    });
    let uploaded = upload.run(parcels).await;
    back.await.unwrap();
    assert_eq!((uploaded.committed, uploaded.left), (2, 0));
    assert!((HOUR..=HOUR + RETRY_MAX).contains(&began.elapsed()), "{:?}", began.elapsed());
    // Not more often than every fifteen seconds once it has backed off, not less often than every thirty.
    assert!((120..=250).contains(&failures.get()), "{}", failures.get());
}

/// Writes a whole segment into the spool of a boot that has ended.
fn ended(directory: &std::path::Path, behind: &[u8]) -> Leftover {
    let mut frame = Vec::new();
    let line = Line::Header(header("ledger", 1));
    crate::segment::write_frame(&mut frame, &[line]).unwrap();
    frame.extend_from_slice(behind);
    let mut spool = Spool::new(directory.to_owned(), "b".into(), String::new());
    spool.create(1, &frame).unwrap();
    drop(spool);
    let mut next = Spool::new(directory.to_owned(), "c".into(), String::new());
    next.leftovers().unwrap().remove(0)
}

async fn uploaded(store: &Store, leftover: Leftover) -> (Uploaded, u64) {
    let (sender, parcels) = unbounded_channel();
    sender.send(Parcel::Leftover(leftover)).unwrap();
    drop(sender);
    let upload = upload(store.clone());
    let damaged = upload.metrics.segments_damaged.clone();
    (upload.run(parcels).await, damaged.get())
}

#[tokio::test]
async fn what_was_committed_is_committed_again_though_a_frame_that_failed_lies_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, store) =
        (folder.path().join("spool"), Store::directory(folder.path().join("store")));
    uploaded(&store, ended(&spool, b"")).await;
    let prefix = crate::manifest::hour_prefix("ledger", 0);
    let keys = store.list(&prefix).await.unwrap();
    let before = store.get(&keys[1]).await.unwrap();
    assert_eq!(keys.len(), 2);
    let (again, _) = uploaded(&store, ended(&spool, b"half a frame")).await;
    assert_eq!((again.committed, again.left), (1, 0));
    assert_eq!(store.list(&prefix).await.unwrap(), keys);
    assert!(store.get(&keys[1]).await.unwrap() == before);
    assert!(!spool.join("b-1.ndjson.zst").exists());
}

#[tokio::test]
async fn a_segment_whose_name_is_taken_replaces_nothing_and_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, store) =
        (folder.path().join("spool"), Store::directory(folder.path().join("store")));
    let leftover = ended(&spool, b"");
    let prefix = crate::manifest::hour_prefix("ledger", 0);
    let segment = format!("{prefix}0-0-pod-1-b-1.ndjson.zst");
    store.put(&segment, "another sidecar's").await.unwrap();
    let (outcome, damaged) = uploaded(&store, leftover).await;
    assert_eq!((outcome.committed, outcome.left, damaged), (0, 0, 1));
    assert_eq!(store.list(&prefix).await.unwrap(), [&*segment]);
    assert_eq!(store.get(&segment).await.unwrap(), b"another sidecar's");
    assert!(spool.join("b-1.ndjson.zst.damaged").exists());
}

/// A spool file with six exchanges in three frames; returns where each frame ends.
fn spooled() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    let header = [Line::Header(header("ledger", 7))];
    let mut add = |lines: &[Line]| {
        crate::segment::write_frame(&mut bytes, lines).unwrap();
        ends.push(bytes.len());
    };
    add(&header);
    add(&header);
    for frame in 0_u64..3 {
        let exchange = |place| {
            let sequence = frame * 2 + place;
            Line::Exchange(crate::exchange::tests::exchange(sequence).into())
        };
        add(&[exchange(1), exchange(2)]);
    }
    (bytes, ends)
}

/// Recovers what is left of a spool file; returns the numbers of its exchanges, each once, and whether damage was seen.
fn recovered(bytes: Vec<u8>) -> (Vec<u64>, bool) {
    let Some(content) = recover(bytes, true) else { return (Vec::new(), true) };
    assert_eq!((content.manifest.sequence, content.manifest.torn), (7, true));
    let sequences: Vec<u64> = Reader::<Line>::new(&content.bytes)
        .lines()
        .filter_map(|line| match line {
            Line::Exchange(exchange) => Some(exchange.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(content.manifest.exchanges, sequences.len() as u64);
    (sequences, content.damaged)
}

/// Returns the exchanges of the frames that no changed byte lies in.
fn spared(ends: &[usize], changed: std::ops::Range<usize>) -> Vec<u64> {
    let starts = [0].into_iter().chain(ends.iter().copied());
    let whole = starts
        .zip(ends)
        .enumerate()
        .skip(2)
        .filter(|(_, (start, end))| **end <= changed.start || *start >= changed.end);
    whole.flat_map(|(frame, _)| [frame as u64 * 2 - 3, frame as u64 * 2 - 2]).collect()
}

#[test]
fn wherever_a_spool_file_is_flipped_or_torn_the_frames_that_were_not_hit_are_kept() {
    let (whole, ends) = spooled();
    assert_eq!(recovered(whole.clone()), ((1..=6).collect(), false));
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            // A bit that means nothing may be flipped without damage.
            let (kept, damaged) = recovered(flipped);
            let expected = if damaged { spared(&ends, at..at + 1) } else { (1..=6).collect() };
            assert_eq!(kept, expected, "bit {bit} of byte {at}");
        }
        // Cut off, as by a crash.
        let (kept, _) = recovered(whole[..at].to_vec());
        let expected = if at < ends[0] { vec![] } else { spared(&ends, at..whole.len()) };
        assert_eq!(kept, expected, "cut at {at}");
        // A block of zeros, as of a page that was never written.
        let zeros = at..(at + 64).min(whole.len());
        let mut zeroed = whole.clone();
        zeroed[zeros.clone()].fill(0);
        let (kept, damaged) = recovered(zeroed);
        let both_headers = zeros.start < ends[0] && zeros.end > ends[0];
        let expected = if both_headers { vec![] } else { spared(&ends, zeros) };
        assert_eq!((kept, damaged), (expected, true), "zeros from {at}");
    }
}
