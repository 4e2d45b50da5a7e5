//! Exchanges that are read and not yet in a bucket: some in memory, the others sorted on the local disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shadow_recorder::digest::sha256;
use shadow_recorder::manifest::SegmentKey;
use shadow_recorder::segment::{Redaction, write_frame};

use super::{Line, Placed};
use crate::frozen::{self, Received};
use crate::plan::Range;
use crate::run::FrozenSegment;

/// Bytes of exchanges in memory: beyond, they are put aside.
const MEMORY_BYTES: usize = 64 << 20;
/// Bytes of exchanges in one frame: when buckets are merged, one frame of everything that was put aside is in memory.
const FRAME_BYTES: usize = 256 << 10;

/// An exchange as text, with what says where it belongs.
#[derive(Debug)]
pub(super) struct Raw {
    place: Place,
    text: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct Place {
    id: String,
    received_at: Timestamp,
    sequence: u64,
    order_key: Option<String>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let place = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { place, text })
    }
}

impl Received for Raw {
    fn received_at(&self) -> Timestamp {
        self.place.received_at
    }
}

/// An exchange of a bucket as text.
pub(super) type Text = Placed<Box<RawValue>>;

impl<E> Placed<E> {
    /// Orders exchanges as they were recorded; the same exchange, recorded once and found twice, has one place.
    pub(super) fn order(&self) -> (i64, &str, u64) {
        (self.received_us, &self.boot, self.sequence)
    }
}

/// Where on the disk something is that was put aside at once: frames, each after its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What is read.
#[derive(Debug)]
pub(super) struct Spill {
    /// It has no name, so that nothing of it outlives the process.
    file: File,
    end: u64,
    /// What was put aside, by bucket.
    runs: Vec<Vec<Run>>,
    /// What is in memory, by bucket.
    waiting: Vec<Vec<Text>>,
    waiting_bytes: usize,
    rules: Vec<Option<Redaction>>,
    /// Exchanges that have an order key.
    pub(super) keyed: u64,
}

/// All that was read, on the disk.
#[derive(Debug)]
pub(super) struct Spilled {
    pub(super) file: Arc<File>,
    pub(super) runs: Vec<Vec<Run>>,
    pub(super) rules: Vec<Option<Redaction>>,
}

impl Spill {
    pub(super) fn new(buckets: usize) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile()?,
            end: 0,
            runs: vec![Vec::new(); buckets],
            waiting: (0..buckets).map(|_| Vec::new()).collect(),
            waiting_bytes: 0,
            rules: Vec::new(),
            keyed: 0,
        })
    }

    /// Takes the exchanges of a segment that lie in the range; returns its losses.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        segment: &FrozenSegment,
        range: Range,
        sinks: &BTreeSet<String>,
    ) -> io::Result<Vec<String>> {
        let boot = SegmentKey::parse(&segment.key).map_or_else(String::new, |key| key.boot);
        let mut failed = None;
        let losses = frozen::lines(bytes, segment, range, sinks, |redaction, raw: Raw| {
            let rules = self.rules_of(redaction);
            match self.add(raw, rules, &boot) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        failed.map_or(Ok(losses), Err)
    }

    fn rules_of(&mut self, redaction: Option<&Redaction>) -> usize {
        let known = self.rules.iter().rposition(|known| known.as_ref() == redaction);
        known.unwrap_or_else(|| {
            self.rules.push(redaction.cloned());
            self.rules.len() - 1
        })
    }

    fn add(&mut self, Raw { place, text }: Raw, rules: usize, boot: &str) -> io::Result<()> {
        self.keyed += u64::from(place.order_key.is_some());
        let key = place.order_key.as_ref().unwrap_or(&place.id);
        let number = u64::from_str_radix(&sha256(key)[..16], 16).unwrap_or(0);
        let bucket = usize::try_from(number % self.waiting.len() as u64).unwrap_or(0);
        self.waiting_bytes += text.get().len() + size_of::<Text>() + boot.len();
        self.waiting[bucket].push(Placed {
            received_us: place.received_at.as_microsecond(),
            boot: boot.into(),
            sequence: place.sequence,
            rules,
            exchange: text,
        });
        if self.waiting_bytes < MEMORY_BYTES { Ok(()) } else { self.put_aside() }
    }

    pub(super) fn put_aside(&mut self) -> io::Result<()> {
        for (waiting, runs) in self.waiting.iter_mut().zip(&mut self.runs) {
            let mut waiting = std::mem::take(waiting);
            if waiting.is_empty() {
                continue;
            }
            waiting.sort_by(|a, b| a.order().cmp(&b.order()));
            let from = self.end;
            let mut waiting = waiting.into_iter().peekable();
            while waiting.peek().is_some() {
                self.end += append(&mut self.file, &next_frame(&mut waiting))?;
            }
            runs.push(Run { from, to: self.end });
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Puts aside what is left.
    pub(super) fn finish(mut self) -> io::Result<Spilled> {
        self.put_aside()?;
        Ok(Spilled { file: Arc::new(self.file), runs: self.runs, rules: self.rules })
    }
}

/// Takes the lines of one frame.
pub(super) fn next_frame(exchanges: &mut impl Iterator<Item = Text>) -> Vec<Line<Box<RawValue>>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while bytes < FRAME_BYTES
        && let Some(placed) = exchanges.next()
    {
        bytes += placed.exchange.get().len();
        lines.push(Line::Exchange(placed));
    }
    lines
}

fn append(file: &mut File, lines: &[Line<Box<RawValue>>]) -> io::Result<u64> {
    let mut frame = Vec::new();
    write_frame(&mut frame, lines)?;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&frame)?;
    Ok(u64::from(length) + 4)
}
