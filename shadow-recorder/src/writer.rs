//! The writer: its own thread, which turns events into lines, lines into frames on disk, and full files into sealed segments.
//!
//! Nothing waits for it. Where the disk fails, what cannot be written is counted and the next interval tries again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::UnboundedSender;

use crate::account::{Passed, Reason};
use crate::batch::{self, Batch, FRAME_BYTES, Left, Naming, Of};
use crate::capture::{Capture, Event};
use crate::census::Census;
use crate::clock;
use crate::record::caught;
use crate::sampling::StratumId;
use crate::segment::{self, Accounting, Calls, Header};
use crate::spool::{Spool, SpoolFile};
use crate::totals::{Totals, spanning};
use crate::upload::{Parcel, Sealed};

/// When the writer syncs and seals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) fsync_interval: Duration,
    pub(crate) segment_age_max: Duration,
    pub(crate) segment_bytes_max: u64,
    pub(crate) segment_span_max: Duration,
    pub(crate) spool_bytes_max: u64,
}

/// Memory that is kept for the next line.
const LINE_BYTES_KEPT: usize = 1 << 20;

/// The writer and all that it holds.
pub(crate) struct Writer {
    capture: Arc<Capture>,
    spool: Spool,
    naming: Naming,
    pace: Pace,
    /// The header of the next segment, but for the time of its opening.
    header: Header,
    parcels: UnboundedSender<Parcel>,
    segment: Option<Segment>,
    batch: Batch,
    /// The line in hand; kept, because its memory is used again.
    line: Vec<u8>,
    /// What the batch settles, recorded or dropped.
    sequences: Vec<u64>,
    /// What passed unrecorded and no accounting line on disk names yet.
    unreported: Passed,
    /// What was booked since the last accounting line on disk, where that is added up.
    census: Option<Census>,
    outcome: Outcome,
    retry_at: Option<Instant>,
    is_spool_full: bool,
    /// Exchanges and calls that a panic of the writer would cost now, beside those of the batch.
    in_hand: (u64, u64),
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Segment {
    file: SpoolFile,
    header: Header,
    totals: Totals,
    opened: Instant,
}

/// What the writer did since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) recorded: u64,
    pub(crate) sampled_out: u64,
    pub(crate) dropped: BTreeMap<Reason, u64>,
    pub(crate) sealed_last: bool,
}

impl Writer {
    /// Creates the writer; `header` is that of the first segment, but for its time.
    pub(crate) fn new(
        capture: Arc<Capture>,
        spool: Spool,
        naming: Naming,
        pace: Pace,
        header: Header,
        parcels: UnboundedSender<Parcel>,
    ) -> Self {
        let census = naming.sampling.has_census().then(Census::default);
        Self {
            capture,
            spool,
            naming,
            census,
            pace,
            header,
            parcels,
            segment: None,
            batch: Batch::default(),
            line: Vec::new(),
            sequences: Vec::new(),
            unreported: Passed::default(),
            outcome: Outcome::default(),
            retry_at: None,
            is_spool_full: false,
            in_hand: (0, 0),
        }
    }

    /// Writes until the end of the events; `None` if it failed on the way, and then counted all that came after as dropped.
    pub(crate) fn run(mut self, events: &Receiver<Event>) -> Option<Outcome> {
        if caught(|| self.write(events)).is_some() {
            return Some(self.outcome);
        }
        // From here on requests are not even copied. What is on disk is whole frames, and the next start stores it.
        self.capture.switch.pause(Reason::Panic);
        let exchanges = self.batch.exchanges() + self.in_hand.0;
        let calls = self.batch.call_count() + self.in_hand.1;
        let undecided = self.naming.sampling.undecided();
        self.capture.account.drop_exchanges(undecided, Reason::Panic, exchanges, calls);
        self.capture.settle(&std::mem::take(&mut self.sequences));
        self.capture.health.failed("writer");
        loop {
            match events.recv() {
                Ok(Event::Exchange(closed)) => {
                    self.capture.metrics.queue_exchanges.dec();
                    let (stratum, calls) = (closed.drawn.stratum, closed.calls.len() as u64);
                    self.capture.account.drop_exchange(stratum, Reason::Panic, calls);
                    self.capture.settle(&[closed.sequence]);
                }
                Ok(Event::Stray { .. }) => {
                    self.capture.metrics.queue_exchanges.dec();
                    self.capture.account.drop_call();
                }
                Ok(Event::End) | Err(_) => return None,
            }
        }
    }

    fn write(&mut self, events: &Receiver<Event>) {
        let interval = self.pace.fsync_interval;
        let mut due = Instant::now() + interval;
        loop {
            self.open();
            match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.batch.bytes >= FRAME_BYTES {
                self.flush(Occasion::Full);
            }
            if Instant::now() >= due {
                self.capture.update_gauges();
                self.watch_spool();
                // First, because a frame without a segment fails, and puts the next attempt to open one off.
                self.open();
                self.flush(Occasion::Interval);
                due = Instant::now() + interval;
            }
            if self.is_full() {
                self.seal();
            }
        }
        self.finish();
    }

    /// Opens a segment where there is none. Retried with every interval while the disk fails.
    fn open(&mut self) {
        let too_soon = self.retry_at.is_some_and(|at| Instant::now() < at);
        if self.segment.is_some() || too_soon {
            return;
        }
        match self.try_open() {
            Ok(()) => self.disk_recovered(),
            Err(error) => self.disk_failed(&error),
        }
    }

    fn try_open(&mut self) -> anyhow::Result<()> {
        self.spool.ready()?;
        // Looked for with every segment: a recorder that is still draining now leaves its own behind later.
        for leftover in self.spool.leftovers()? {
            let bytes = std::fs::metadata(&leftover.path)?.len();
            self.capture.metrics.spool_bytes.inc_by(signed(bytes));
            // Fails only where the upload is gone, at the very end.
            let _ = self.parcels.send(Parcel::Leftover(leftover));
        }
        let mut header = self.header.clone();
        header.opened_at = clock::now();
        let opening = segment::opening(header.clone())?;
        let file = self.spool.create(header.sequence, &opening)?;
        self.capture.metrics.spool_bytes.inc_by(signed(file.bytes));
        self.header.sequence += 1;
        let totals = Totals::default();
        self.segment = Some(Segment { file, header, totals, opened: Instant::now() });
        Ok(())
    }

    /// Adds an event to the batch, or counts it.
    fn take(&mut self, event: Event) {
        self.capture.metrics.queue_exchanges.dec();
        let (sequence, calls, stratum) = match &event {
            Event::Exchange(closed) => {
                (Some(closed.sequence), closed.calls.len() as u64, closed.drawn.stratum)
            }
            _ => (None, 1, StratumId::default()),
        };
        let exchanges = u64::from(sequence.is_some());
        self.in_hand = (exchanges, calls);
        let ready = if self.spool_is_full() {
            Err(Left::Lost(Reason::SpoolBytesMax))
        } else {
            let (naming, metrics, census) =
                (&self.naming, &self.capture.metrics, self.census.as_mut());
            let text = &mut self.line;
            let line = caught(|| batch::line(event, naming, metrics, census, text));
            line.unwrap_or(Err(Left::Lost(Reason::Panic)))
        };
        match ready {
            Ok(of) => {
                if let Of::Exchange { received_at, .. } = of
                    && self.would_overspan(received_at)
                {
                    self.flush(Occasion::Full);
                    self.seal();
                }
                // It goes to memory: should it fail all the same, the writer does, and counts what it holds.
                self.batch.push(&self.line, of).expect("a line is compressed into memory");
                // What one large exchange needed is not kept for ever.
                self.line.shrink_to(LINE_BYTES_KEPT);
            }
            Err(Left::Out(stratum)) => {
                self.capture.account.sample_out(stratum);
                self.capture.account.sample_out_calls(calls);
            }
            Err(Left::Lost(reason)) => {
                self.capture.account.drop_exchanges(stratum, reason, exchanges, calls);
            }
        }
        self.in_hand = (0, 0);
        self.sequences.extend(sequence);
    }

    fn spool_is_full(&self) -> bool {
        self.capture.metrics.spool_bytes.get() >= signed(self.pace.spool_bytes_max)
    }

    /// Shows where the spool has become full, or has room again.
    fn watch_spool(&mut self) {
        let is_full = self.spool_is_full();
        if std::mem::replace(&mut self.is_spool_full, is_full) == is_full {
            return;
        }
        if is_full {
            tracing::error!("recording pauses: what waits for the store fills the spool");
            self.capture.switch.pause(Reason::SpoolBytesMax);
        } else {
            tracing::info!("recording goes on: the spool has room again");
            self.capture.switch.resume(Reason::SpoolBytesMax);
        }
    }

    fn would_overspan(&self, received_at: Timestamp) -> bool {
        let written = self.segment.as_ref().and_then(|segment| segment.totals.received);
        let spans = [written, self.batch.span].into_iter().flatten();
        let span = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (first, last) = spanning(span, received_at);
        span.is_some()
            && SignedDuration::try_from(self.pace.segment_span_max)
                .is_ok_and(|max| last.duration_since(first) > max)
    }

    /// Writes the batch as one frame, with its accounting line, and syncs it.
    fn flush(&mut self, occasion: Occasion) -> bool {
        self.unreported.add(self.capture.account.take());
        let has_news = self.batch.frame.is_some() || !self.unreported.is_nothing();
        if !has_news && matches!(occasion, Occasion::Interval | Occasion::Full) {
            return true;
        }
        let mut batch = std::mem::take(&mut self.batch);
        // Settled before the watermark is read: they are in this frame, or counted as dropped.
        self.capture.settle(&std::mem::take(&mut self.sequences));
        let accounting = self.accounting(&batch, matches!(occasion, Occasion::Last));
        let (in_hand, in_batch) = (self.in_hand, (batch.exchanges(), batch.call_count()));
        self.in_hand = (in_hand.0 + in_batch.0, in_hand.1 + in_batch.1);
        let appended = self.append(&mut batch, &accounting);
        self.in_hand = in_hand;
        match appended {
            Ok(()) => {
                self.disk_recovered();
                // What the next segment begins with: a crash before its first frame must not hide what was lost since.
                self.header.sealed_through = accounting.sealed_through;
                self.outcome.recorded += batch.exchanges();
                self.outcome.add(std::mem::take(&mut self.unreported));
                self.census = self.census.take().map(|_| Census::default());
                self.outcome.sealed_last |= accounting.last;
                self.capture.metrics.exchanges_recorded.inc_by(batch.exchanges());
                true
            }
            Err(error) => {
                self.capture.account.drop_calls(in_batch.1);
                for (stratum, exchanges) in &batch.strata {
                    self.capture.account.drop_exchanges(*stratum, Reason::Disk, *exchanges, 0);
                }
                self.disk_failed(&error);
                false
            }
        }
    }

    fn accounting(&self, batch: &Batch, last: bool) -> Accounting {
        let passed = &self.unreported;
        let names = self.naming.sampling.names();
        let strata = StratumId::all().zip(names).map(|(id, name)| {
            let recorded = batch.strata.get(&id).copied().unwrap_or_default();
            let tally = passed.strata.get(&id).cloned().unwrap_or_default().tally(recorded);
            (name, tally)
        });
        let calls = Calls {
            sampled_out: passed.calls_sampled_out,
            dropped: passed.calls_dropped,
            ..batch.calls.clone()
        };
        Accounting {
            sealed_through: self.capture.watermark(),
            at: clock::now(),
            last,
            strata: strata.collect(),
            calls,
            census: self.census.clone(),
        }
    }

    fn append(&mut self, batch: &mut Batch, accounting: &Accounting) -> anyhow::Result<()> {
        let segment = self.segment.as_mut().ok_or_else(|| anyhow::anyhow!("no segment is open"))?;
        let frame = batch.finish(accounting)?;
        segment.file.append(&frame)?;
        for received_at in &batch.received {
            segment.totals.add_exchange(*received_at);
        }
        segment.totals.ambient += batch.ambient;
        segment.totals.add_accounting(accounting);
        self.capture.metrics.spool_bytes.inc_by(signed(frame.len() as u64));
        self.capture.metrics.segment_bytes.inc_by(frame.len() as u64);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| {
            segment.opened.elapsed() >= self.pace.segment_age_max
                || segment.file.bytes >= self.pace.segment_bytes_max
        })
    }

    /// Ends the segment with an accounting line, opens the next, and hands it over.
    fn seal(&mut self) {
        // Where this frame fails, the segment ends with the accounting line of the frame before it.
        self.flush(Occasion::Seal);
        let ended = self.take_segment();
        // In this order, because a crash must find a file of this boot: the next start marks the end of the boot on its last.
        self.open();
        self.hand_over(ended);
    }

    /// Takes the segment; one that no accounting line ends yet stays.
    fn take_segment(&mut self) -> Option<Segment> {
        self.segment.take_if(|segment| segment.totals.is_accounted())
    }

    fn hand_over(&self, ended: Option<Segment>) {
        if let Some(Segment { file, header, totals, .. }) = ended {
            let metrics = &self.capture.metrics;
            let waiting =
                metrics.segments_sealed.inc().saturating_sub(metrics.segments_committed.get());
            let sealed = Sealed::new(file, header, totals, waiting);
            // Fails only where the upload is gone; the file stays and the next start finds it.
            let _ = self.parcels.send(Parcel::Sealed(sealed.into()));
        }
    }

    fn finish(&mut self) {
        // A last check that does not rest on the same counters: what was received and is nowhere else was lost.
        self.unreported.add(self.capture.account.take());
        let known = self.outcome.recorded
            + self.batch.exchanges()
            + self.outcome.sampled_out
            + self.outcome.dropped.values().sum::<u64>()
            + self.unreported.exchanges();
        let lost = self.capture.account.observed().saturating_sub(known);
        let undecided = self.naming.sampling.undecided();
        self.capture.account.drop_exchanges(undecided, Reason::Shutdown, lost, 0);
        self.retry_at = None;
        self.open();
        // The second attempt reports what the first could not write.
        if !self.flush(Occasion::Last) {
            self.flush(Occasion::Last);
        }
        let ended = self.take_segment();
        self.hand_over(ended);
        self.unreported.add(self.capture.account.take());
        self.outcome.add(std::mem::take(&mut self.unreported));
    }

    fn disk_failed(&mut self, error: &anyhow::Error) {
        if self.retry_at.is_none() {
            tracing::error!(error = format!("{error:#}"), "recording pauses: the spool fails");
            self.capture.switch.pause(Reason::Disk);
        }
        self.retry_at = Some(Instant::now() + self.pace.fsync_interval);
    }

    fn disk_recovered(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("recording goes on: the spool works again");
            self.capture.switch.resume(Reason::Disk);
        }
    }
}

impl Outcome {
    fn add(&mut self, passed: Passed) {
        for of in passed.strata.into_values() {
            self.sampled_out += of.sampled_out;
            for (reason, count) in of.dropped {
                *self.dropped.entry(reason).or_default() += count;
            }
        }
    }
}

/// Why a frame is written.
#[derive(Clone, Copy, Debug)]
enum Occasion {
    Interval,
    Full,
    Seal,
    Last,
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
