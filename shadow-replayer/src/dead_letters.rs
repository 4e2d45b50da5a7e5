//! Dead letters: exchanges that a run could not process, as its journal keeps them, by reason.

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use shadow_recorder::digest::sha256;

use crate::config::Config;
use crate::join::known;
use crate::journal::Outcome;
use crate::run::{Run, RunId};
use crate::shard::{Shard, State};
use crate::store::RunStore;
use crate::{Progress, RunError, RunRequest, Settings};

/// Ids that are shown of one reason.
const EXAMPLES: usize = 3;

/// An exchange that could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The exchange.
    pub exchange_id: String,
    /// `errored` or `unverified`.
    pub outcome: String,
    /// Why, in the same words for the same cause.
    pub reason: String,
}

/// The dead letters of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pile {
    /// `errored` or `unverified`.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub exchanges: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Piles dead letters up by reason, the largest pile first.
pub fn piles(letters: &[DeadLetter]) -> Vec<Pile> {
    let mut piles: BTreeMap<(&str, &str), Pile> = BTreeMap::new();
    for letter in letters {
        let pile = piles.entry((&letter.outcome, &letter.reason)).or_insert_with(|| Pile {
            outcome: letter.outcome.clone(),
            reason: letter.reason.clone(),
            exchanges: 0,
            examples: Vec::new(),
        });
        pile.exchanges += 1;
        if pile.examples.len() < EXAMPLES {
            pile.examples.push(letter.exchange_id.clone());
        }
    }
    let mut piles: Vec<Pile> = piles.into_values().collect();
    piles.sort_by_key(|pile| std::cmp::Reverse(pile.exchanges));
    piles
}

/// Reads the dead letters of a run's newest revision, or of what is published of a run that is not over; those whose reason holds the
/// text `reason`, where it is given.
pub async fn read(
    config: &Config,
    id: &RunId,
    reason: Option<&str>,
) -> Result<(Run, Vec<DeadLetter>), RunError> {
    let runs = RunStore::open(&config.replay.database).await?;
    let run = known(&runs, config, id).await?;
    let revision = runs.newest_revision(id).await?.map_or(1, |revision| revision.number);
    let shards = runs.shards(id, revision).await?;
    let mut letters = Vec::new();
    for shard in shards.iter().filter(|shard| shard.state == State::Finished) {
        letters.extend(of_shard(config, shard).await?);
    }
    letters.retain(|letter| reason.is_none_or(|part| letter.reason.contains(part)));
    Ok((run, letters))
}

/// Replays exactly these exchanges of a run again, as a run of its own.
pub async fn replay(
    config: &Config,
    request: RunRequest,
    letters: Vec<DeadLetter>,
    progress: &dyn Fn(&Progress),
) -> Result<Run, RunError> {
    let only = letters.into_iter().map(|letter| letter.exchange_id).collect();
    let settings = Settings { only, ..request.settings };
    crate::run(config, &RunRequest { settings, ..request }, progress).await
}

async fn of_shard(config: &Config, shard: &Shard) -> Result<Vec<DeadLetter>, RunError> {
    let mut letters = Vec::new();
    for file in shard.files.iter().filter(|file| file.target.starts_with("journal/exchange/")) {
        let bytes = config.store.get(&file.target).await?;
        if sha256(&bytes) != file.sha256 {
            return Err(RunError::Damaged(file.target.clone()));
        }
        letters
            .extend(of_table(bytes.into()).ok_or_else(|| RunError::Damaged(file.target.clone()))?);
    }
    Ok(letters)
}

/// Reads the dead letters of a file of table `exchange`; `None` of a file that this version does not write.
fn of_table(bytes: Bytes) -> Option<Vec<DeadLetter>> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?.build().ok()?;
    let mut letters = Vec::new();
    for batch in batches {
        let batch = batch.ok()?;
        let column = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let (id, outcome, reason) = (column("exchange_id")?, column("outcome")?, column("reason")?);
        for row in 0..batch.num_rows() {
            let word = outcome.value(row);
            if [Outcome::Errored, Outcome::Unverified].iter().any(|dead| dead.word() == word) {
                let reason = if reason.is_null(row) { "" } else { reason.value(row) };
                letters.push(DeadLetter {
                    exchange_id: id.value(row).to_owned(),
                    outcome: word.to_owned(),
                    reason: reason.to_owned(),
                });
            }
        }
    }
    Some(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pile_lies_on_top() {
        let letter = |n: u32, reason: &str| DeadLetter {
            exchange_id: n.to_string(),
            outcome: "unverified".into(),
            reason: reason.into(),
        };
        let letters: Vec<_> =
            (0..5).map(|n| letter(n, if n == 2 { "timeout" } else { "a miss" })).collect();
        let piles = piles(&letters);
        let counts: Vec<_> =
            piles.iter().map(|pile| (&*pile.reason, pile.exchanges, pile.examples.len())).collect();
        assert_eq!(counts, [("a miss", 4, EXAMPLES), ("timeout", 1, 1)]);
    }
}
