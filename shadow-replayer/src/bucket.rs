//! Buckets: what a run replays instead of segments where exchanges of one order key follow each other.
//!
//! Every exchange of a key, from whatever segment and instance, is in one bucket, and a bucket is in recorded order: by `received_at`,
//! then boot and sequence. An exchange without a key may be in any. A bucket is a shard, so that one worker has all of a key.
//!
//! ```text
//! buckets/run_id=<RunID>/bucket=<n>/part=<m>.ndjson.zst       FORMAT: the framing of a segment
//! line = {"header":{…}}                   alone in the first frame; with the rules of redaction of the segments, each once
//!      | {"exchange":{…}}                 an exchange as its segment has it, and which of the rules were in force
//! ```
//!
//! One pass over the segments builds them, in memory that does not grow with the range: what does not fit is sorted and put aside on
//! the local disk, and merged when all is read. Either half has one thread of its own: memory that one thread has freed does not serve
//! another. The bucket of a key depends on nothing but the key and the number of buckets: a pass
//! that was cut is made again, to the same end. The parts' digests are frozen with the run, and the parts are gone when it has ended.

use std::io;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::segment::{Reader, Redaction, write_frame};
use shadow_recorder::store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

mod merge;
mod spill;

use crate::config::Config;
use crate::run::{FrozenSegment, Run, RunId};
use crate::{Progress, RunError, frozen};
use merge::Merge;
use spill::{Spill, Spilled};

/// The name in the header of a bucket.
const FORMAT: &str = "shadow-bucket";
/// The version written.
const VERSION: u32 = 1;
/// Where buckets lie.
const FOLDER: &str = "buckets/";
/// Compressed bytes of a part: it is in memory while it is written or read.
const PART_BYTES: usize = 16 << 20;
/// More make the pass slow, and each keeps a place in memory for every time that something was put aside.
const BUCKETS_MAX: u64 = 4_096;

const NO_KEYS: &str = "no exchange of the range has an order key: set [recorder] order_key, or [replay] order = \"none\"";

/// One line of a bucket, with exchanges as values or as text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<E> {
    Header(Header),
    Exchange(Placed<E>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    run_id: RunId,
    bucket: usize,
    /// Absent where the segment's header was lost.
    rules: Vec<Option<Redaction>>,
}

/// An exchange with its place in recorded order.
#[derive(Debug, Serialize, Deserialize)]
struct Placed<E> {
    received_us: i64,
    boot: String,
    sequence: u64,
    /// Which of the header's rules.
    rules: usize,
    exchange: E,
}

/// What a pass came to.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// The parts of each bucket, in order.
    pub(crate) buckets: Vec<Vec<FrozenSegment>>,
    /// What could not be read of the segments, and what is missing in them.
    pub(crate) losses: Vec<String>,
}

/// Returns how many buckets hold so many compressed bytes.
pub(crate) fn count(bytes: u64, bucket_bytes: u64) -> usize {
    let buckets = bytes.div_ceil(bucket_bytes.max(1)).clamp(1, BUCKETS_MAX);
    usize::try_from(buckets).unwrap_or(1)
}

/// Returns whether a frozen file is a part of a bucket.
pub(crate) fn is_part(key: &str) -> bool {
    key.starts_with(FOLDER)
}

/// Makes the buckets of a run, anew where some are there; tells how far it is.
pub(crate) async fn build(
    config: &Config,
    run: &Run,
    count: usize,
    progress: &dyn Fn(&Progress),
) -> Result<Built, RunError> {
    let (segments, range) = (&run.evidence.segments, run.range());
    let sinks = config.mapping.sinks.clone();
    let (sender, mut read) = mpsc::channel::<(FrozenSegment, Vec<u8>)>(1);
    let taking = spawn_blocking(move || {
        let (mut spill, mut losses) = (Spill::new(count)?, Vec::new());
        while let Some((segment, bytes)) = read.blocking_recv() {
            losses.extend(spill.take(&bytes, &segment, range, &sinks)?);
        }
        if spill.keyed == 0 {
            losses.push(NO_KEYS.into());
        }
        Ok((spill.finish()?, losses))
    });
    let mut unread = Vec::new();
    for (read, segment) in segments.iter().enumerate() {
        progress(&Progress::Sorting { read, segments: segments.len() });
        match frozen::fetch(config, segment).await {
            Err(loss) => unread.push(loss),
            Ok(bytes) => {
                // Where nobody takes it, the taking has failed, and says so below.
                if sender.send((segment.clone(), bytes)).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(sender);
    let (spilled, losses) = joined(taking.await)?;
    let buckets = write(&config.store, &run.id, spilled).await?;
    Ok(Built { buckets, losses: [unread, losses].concat() })
}

/// Writes the buckets; returns the parts of each.
async fn write(
    store: &Store,
    run: &RunId,
    spilled: Spilled,
) -> Result<Vec<Vec<FrozenSegment>>, RunError> {
    let mut buckets = vec![Vec::new(); spilled.runs.len()];
    let (sender, mut parts) = mpsc::channel(1);
    let run_id = run.clone();
    let merging = spawn_blocking(move || {
        for bucket in 0..spilled.runs.len() {
            let mut merge = Merge::of(&spilled, bucket);
            while let Some(part) = part(&mut merge, &run_id, bucket, &spilled.rules)? {
                if sender.blocking_send((bucket, part)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    while let Some((bucket, (bytes, exchanges))) = parts.recv().await {
        let parts: &mut Vec<FrozenSegment> = &mut buckets[bucket];
        let key = format!("{FOLDER}run_id={run}/bucket={bucket}/part={}.ndjson.zst", parts.len());
        parts.push(FrozenSegment { key: key.clone(), sha256: sha256(&bytes), exchanges });
        store.put(&key, bytes).await?;
    }
    joined(merging.await)?;
    Ok(buckets)
}

/// Writes the next part; returns it with the number of its exchanges, or `None` where none is left.
fn part(
    merge: &mut Merge,
    run: &RunId,
    bucket: usize,
    rules: &[Option<Redaction>],
) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut frame = merge.next_frame()?;
    if frame.is_empty() {
        return Ok(None);
    }
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        run_id: run.clone(),
        bucket,
        rules: rules.to_vec(),
    };
    let (mut bytes, mut exchanges) = (Vec::new(), 0);
    write_frame(&mut bytes, &[Line::<Exchange>::Header(header)])?;
    while !frame.is_empty() {
        exchanges += frame.len() as u64;
        write_frame(&mut bytes, &frame)?;
        if bytes.len() >= PART_BYTES {
            break;
        }
        frame = merge.next_frame()?;
    }
    Ok(Some((bytes, exchanges)))
}

/// Hands the exchanges of a part to `each`, one after the other, with the rules under which they were recorded; returns what is damaged.
pub(crate) fn read(
    bytes: &[u8],
    frozen: &FrozenSegment,
    mut each: impl FnMut(Option<&Redaction>, Exchange) -> ControlFlow<()>,
) -> Vec<String> {
    let (mut rules, mut read) = (Vec::new(), 0_u64);
    let mut reader = Reader::<Line<Exchange>>::new(bytes);
    for line in reader.lines() {
        match line {
            Line::Header(header) => rules = header.rules,
            Line::Exchange(placed) => {
                read += 1;
                let rules = rules.get(placed.rules).and_then(Option::as_ref);
                if each(rules, placed.exchange).is_break() {
                    return Vec::new();
                }
            }
        }
    }
    let damage = reader.damage();
    if sha256(bytes) == frozen.sha256 && !damage.any() {
        return Vec::new();
    }
    vec![format!(
        "{} is not what the plan wrote: {read} of {} exchanges could be read, {} frames and {} lines are damaged",
        frozen.key, frozen.exchanges, damage.frames, damage.lines
    )]
}

/// Removes the buckets of a run. It may be repeated.
pub(crate) async fn remove(store: &Store, run: &RunId) -> Result<(), StoreError> {
    for bucket in store.folders(&format!("{FOLDER}run_id={run}/")).await? {
        for part in store.list(&bucket).await? {
            store.remove(&part).await?;
        }
    }
    Ok(())
}

/// Returns what a task of the local disk came to. A panic is passed on, which is the only way in which a task that nobody aborts can fail.
fn joined<T>(joined: Result<io::Result<T>, JoinError>) -> Result<T, RunError> {
    let joined = joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    joined.map_err(RunError::Scratch)
}

#[cfg(test)]
mod tests;
