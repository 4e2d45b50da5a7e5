//! The records of both sides, in parts on the local disk: an event is wholly in one part, and one part at a time is in memory.
//!
//! The part is chosen by a hash of the event's id, so that rows are joined in whatever order they come. A part is a shard of the run.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;
use tempfile::TempDir;

use super::event::{Event, Rules};
use super::file::Side;
use super::rows::Record;
use crate::RunError;
use crate::journal::{ExchangeRow, Writer};
use crate::run::{RunId, Tally};

/// Bytes of the files for which one part is made: in memory a part needs about four times as many.
const PART_BYTES: u64 = 32 << 20;
/// Parts at most, each of which is a file that is open: beyond 8 GiB they become larger instead.
const PARTS_MAX: u64 = 256;

/// Returns how many parts files of so many bytes are split into.
pub(super) fn count(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PART_BYTES).clamp(1, PARTS_MAX)).unwrap_or(1)
}

/// Records that are being put aside.
pub(super) struct Spill {
    folder: TempDir,
    files: Vec<BufWriter<File>>,
}

impl Spill {
    pub(super) fn new(count: u32) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let create = |part| File::create(path(folder.path(), part)).map(BufWriter::new);
        let files = (0..count).map(create).collect::<std::io::Result<_>>()?;
        Ok(Self { folder, files })
    }

    pub(super) fn put(&mut self, record: &Record) -> std::io::Result<()> {
        let mut hash = SipHasher13::new();
        record.event.hash(&mut hash);
        // The remainder is below the number of files, which is small.
        let part = usize::try_from(hash.finish() % self.files.len() as u64).unwrap_or(0);
        let file = &mut self.files[part];
        serde_json::to_writer(&mut *file, record)?;
        file.write_all(b"\n")
    }

    pub(super) fn finish(mut self, rules: Rules) -> std::io::Result<Parts> {
        self.files.iter_mut().try_for_each(Write::flush)?;
        Ok(Parts { folder: self.folder, rules })
    }
}

fn path(folder: &Path, part: u32) -> PathBuf {
    folder.join(format!("part={part}.ndjson"))
}

/// All records of a run.
#[derive(Debug)]
pub(crate) struct Parts {
    folder: TempDir,
    rules: Rules,
}

impl Parts {
    /// Joins the two sides of one part and writes its journal.
    pub(crate) fn write(&self, part: u32, folder: &Path, run: RunId) -> Result<Tally, RunError> {
        let mut journal = Writer::create(folder, run, self.rules.dimensions.clone())?;
        let mut tally = Tally::default();
        for (only, row) in self.judged(part).map_err(RunError::Scratch)? {
            tally.recorded += 1;
            match only {
                Some(Side::Primary) => tally.only_primary += 1,
                Some(Side::Shadow) => tally.only_shadow += 1,
                None => {}
            }
            tally.count(row.outcome);
            journal.append(&row)?;
        }
        journal.finish()?;
        Ok(tally)
    }

    /// Returns the journal's rows of a part in the order of their ids, each with the side on which its event is alone.
    pub(super) fn judged(
        &self,
        part: u32,
    ) -> std::io::Result<impl Iterator<Item = (Option<Side>, ExchangeRow)>> {
        let judge = |(id, event): (String, Event)| (event.only(), event.judge(id, &self.rules));
        Ok(self.events(part)?.into_iter().map(judge))
    }

    fn events(&self, part: u32) -> std::io::Result<BTreeMap<String, Event>> {
        let mut events: BTreeMap<String, Event> = BTreeMap::new();
        let file = File::open(path(self.folder.path(), part))?;
        for line in BufReader::new(file).lines() {
            let mut record: Record = serde_json::from_str(&line?)?;
            let event = std::mem::take(&mut record.event);
            events.entry(event).or_default().add(record);
        }
        Ok(events)
    }
}
