use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::capture::tests::{LIMITS, after_linger, capture, closed, exchange};
use crate::sampling::{ALL, Sampling};
use crate::segment::{Line, Reader};

const PACE: Pace = Pace {
    fsync_interval: Duration::from_millis(10),
    segment_age_max: Duration::from_hours(1),
    segment_bytes_max: 1 << 30,
    segment_span_max: Duration::from_hours(1),
    spool_bytes_max: 1 << 30,
};

struct Bench {
    writer: Writer,
    capture: Arc<Capture>,
    events: Receiver<Event>,
    parcels: UnboundedReceiver<Parcel>,
    _folder: tempfile::TempDir,
}

fn bench(pace: Pace) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (capture, events) = capture(LIMITS);
    let (sender, parcels) = unbounded_channel();
    let header = Header {
        format: segment::FORMAT.into(),
        version: segment::VERSION,
        service: "ledger".into(),
        build: "p1".into(),
        instance: "pod-1".into(),
        boot: "b".into(),
        sequence: 1,
        opened_at: Timestamp::UNIX_EPOCH,
        sealed_through: Timestamp::UNIX_EPOCH,
        service_address: String::new(),
        upstream_addresses: BTreeMap::new(),
        host: None,
        sampling: Sampling::everything().rule(),
        redaction: Box::default(),
    };
    let naming = Naming::plain();
    let spool = Spool::new(folder.path().into(), "b".into(), String::new());
    let mut writer = Writer::new(Arc::clone(&capture), spool, naming, pace, header, sender);
    writer.open();
    Bench { writer, capture, events, parcels, _folder: folder }
}

fn sealed(parcels: &mut UnboundedReceiver<Parcel>) -> Vec<Sealed> {
    let mut all = Vec::new();
    while let Ok(parcel) = parcels.try_recv() {
        match parcel {
            Parcel::Sealed(sealed) => all.push(*sealed),
            Parcel::Leftover(leftover) => panic!("{leftover:?}"),
        }
    }
    all
}

/// Reads a sealed file back and checks that its totals are those of its lines.
fn lines(sealed: &Sealed) -> Vec<Line> {
    let bytes = std::fs::read(&sealed.path).unwrap();
    let mut reader = Reader::<Line>::new(&bytes);
    let lines: Vec<Line> = reader.lines().collect();
    let mut totals = Totals::default();
    for line in &lines {
        totals.add(line);
    }
    assert_eq!(totals, sealed.totals);
    assert!(matches!(lines.last(), Some(Line::Accounting(_))), "{lines:?}");
    lines
}

#[tokio::test]
async fn no_segment_spans_more_than_its_limit() {
    let mut bench = bench(PACE);
    for minutes in [0, 0, 120, 150, 300] {
        let mut exchange = closed(&bench.capture, &bench.events).await;
        exchange.received_at += SignedDuration::from_mins(minutes);
        bench.writer.take(Event::Exchange(exchange));
    }
    bench.writer.finish();
    let outcome = bench.writer.outcome.clone();
    assert_eq!((outcome.recorded, outcome.sealed_last), (5, true));
    let sealed = sealed(&mut bench.parcels);
    let counts: Vec<_> = sealed.iter().map(|s| (s.header.sequence, s.totals.exchanges)).collect();
    assert_eq!(counts, [(1, 2), (2, 2), (3, 1)]);
    let last = sealed.iter().map(|s| s.totals.manifest(&s.header, b"", false).last);
    assert_eq!(last.collect::<Vec<_>>(), [false, false, true]);
    for sealed in &sealed {
        lines(sealed);
    }
}

#[tokio::test]
async fn an_old_segment_is_sealed_even_empty() {
    let mut bench = bench(Pace { segment_age_max: Duration::from_millis(30), ..PACE });
    let (capture, parcels) = (Arc::clone(&bench.capture), &mut bench.parcels);
    let thread = std::thread::spawn(move || bench.writer.run(&bench.events));
    for sequence in 1..=3 {
        let received = tokio::time::timeout(Duration::from_secs(10), parcels.recv()).await;
        let Ok(Some(Parcel::Sealed(sealed))) = received else { panic!("{received:?}") };
        assert_eq!((sealed.header.sequence, sealed.totals.exchanges), (sequence, 0));
        // The header twice, and the accounting.
        assert_eq!(lines(&sealed).len(), 3);
    }
    capture.end();
    assert!(thread.join().unwrap().unwrap().sealed_last);
}

#[tokio::test]
async fn a_full_spool_drops_the_newest_with_count() {
    let mut bench = bench(Pace { spool_bytes_max: 1, ..PACE });
    for _ in 0..3 {
        let exchange = closed(&bench.capture, &bench.events).await;
        bench.writer.take(Event::Exchange(exchange));
    }
    bench.writer.finish();
    let outcome = bench.writer.outcome.clone();
    assert_eq!((outcome.recorded, outcome.dropped), (0, [(Reason::SpoolBytesMax, 3)].into()));
    let sealed = sealed(&mut bench.parcels);
    let manifest = sealed[0].totals.manifest(&sealed[0].header, b"", false);
    let tally = &manifest.strata[ALL];
    assert!(tally.balances() && tally.observed == 3, "{tally:?}");
    let now = bench.capture.watermark();
    assert!(
        manifest.sealed_through <= now && manifest.sealed_through >= sealed[0].header.opened_at
    );
}

#[tokio::test]
async fn what_was_received_and_is_nowhere_is_counted_at_the_end() {
    let mut bench = bench(PACE);
    drop(closed(&bench.capture, &bench.events).await);
    bench.writer.finish();
    let outcome = bench.writer.outcome.clone();
    assert_eq!(outcome.dropped, [(Reason::Shutdown, 1)].into());
    let sealed = sealed(&mut bench.parcels);
    assert!(sealed[0].totals.manifest(&sealed[0].header, b"", false).strata[ALL].balances());
}

#[tokio::test]
async fn a_writer_that_fails_counts_what_it_held_and_all_that_follows() {
    let mut bench = bench(PACE);
    let capture = Arc::clone(&bench.capture);
    let held = closed(&capture, &bench.events).await;
    bench.writer.take(Event::Exchange(held));
    // No time is that far away: the next look at the clock panics.
    bench.writer.pace.fsync_interval = Duration::MAX;
    let (writer, events) = (bench.writer, bench.events);
    let thread = std::thread::spawn(move || writer.run(&events));
    let until = Instant::now() + Duration::from_secs(10);
    while capture.health.failures() != ["writer"] {
        assert!(Instant::now() < until, "the failure is never told");
        std::thread::yield_now();
    }
    assert_eq!(capture.switch.state().1, [Reason::Panic]);
    // One that was open when the writer failed, and one that comes after.
    capture.switch.resume(Reason::Panic);
    exchange(&capture, "/book").await;
    capture.switch.pause(Reason::Panic);
    exchange(&capture, "/book").await;
    capture.sweep(after_linger());
    capture.end();
    assert!(thread.join().unwrap().is_none());
    assert_eq!(capture.account.observed(), 3);
    assert_eq!(capture.account.take().dropped(), [(Reason::Panic, 3)].into());
    assert_eq!(capture.metrics.queue_exchanges.get(), 0);
}
