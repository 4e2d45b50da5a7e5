//! Works on the shards of a run: claim, read, replay or look up the kept answer, compare, write, win, publish.
//!
//! An attempt writes outside the run's directory. One compare-and-set names the winning files; publishing copies exactly those and
//! may be repeated; only then is the shard finished. So a shard is in the journal exactly once, whatever dies meanwhile.

use std::collections::{HashMap, HashSet};
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::redact::Redactor;
use shadow_recorder::segment::{Reader, write_frame};
use shadow_recorder::store::Store;

use crate::answer::{self, Answer, Failure};
use crate::client::Candidate;
use crate::compare;
use crate::config::Config;
use crate::frozen;
use crate::journal::{self, ExchangeRow, Outcome, TABLES, Writer};
use crate::plan::Range;
use crate::run::{Run, Tally};
use crate::store::{RunStore, Shard, WonFile};
use crate::stub::Stub;
use crate::{Progress, RunError};

/// Where answers come from.
pub(crate) enum Answers {
    /// From the candidate, now.
    Live {
        /// The candidate.
        candidate: Box<Candidate>,
        /// Its upstreams.
        stub: Stub,
    },
    /// From an earlier replay.
    Kept,
}

/// One pass over the shards of a journal revision.
pub(crate) struct Worker<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runs: &'a RunStore,
    pub(crate) run: &'a Run,
    pub(crate) revision: u32,
    pub(crate) answers: Answers,
    pub(crate) progress: &'a dyn Fn(&Progress),
}

/// Answers of one frame: 256 of about 2 KiB.
const FRAME_ANSWERS: usize = 256;

impl Worker<'_> {
    /// Works until no shard is left; returns what all attempts counted.
    pub(crate) async fn work(&self) -> Result<Tally, RunError> {
        let mut seen = HashSet::new();
        let mut total = Tally::default();
        while let Some(shard) = self.runs.claim(&self.run.id, self.revision).await? {
            let folder = tempfile::tempdir().map_err(RunError::Scratch)?;
            let tally = self.attempt(&shard, folder.path(), &mut seen, &total).await?;
            let files = self.upload(&shard, folder.path()).await?;
            if self.runs.win(&self.run.id, self.revision, &shard, &files, &tally).await? {
                publish(&self.config.store, &files).await?;
                self.runs.finish_shard(&self.run.id, self.revision, shard.number).await?;
                total.add(&tally);
            }
            for file in &files {
                self.config.store.remove(&file.attempt).await?;
            }
        }
        Ok(total)
    }

    /// Ends the stub, where there is one.
    pub(crate) async fn stop(self) {
        if let Answers::Live { stub, .. } = self.answers {
            stub.stop().await;
        }
    }

    /// Replays and compares one shard into files of a local folder.
    async fn attempt(
        &self,
        shard: &Shard,
        folder: &Path,
        seen: &mut HashSet<String>,
        before: &Tally,
    ) -> Result<Tally, RunError> {
        let mut out = Output::create(folder, self)?;
        let mut tally = Tally::default();
        let kept = match self.answers {
            Answers::Kept => self.kept(shard.number, &mut tally).await?,
            Answers::Live { .. } => HashMap::new(),
        };
        let range = Range { from: self.run.from, to: self.run.to };
        for frozen in
            self.run.evidence.segments.iter().filter(|frozen| shard.segments.contains(&frozen.key))
        {
            let read = frozen::exchanges(self.config, frozen, range, &mut tally.losses).await;
            let redactor = match &read.redaction {
                Some(rules) => self.config.redactors.of(rules),
                None => {
                    Err("the rules of redaction are unknown: the segment's header is lost".into())
                }
            };
            let exchanges = read.exchanges.into_iter();
            // The same exchange can lie in two segments after a crash; it is compared once.
            let exchanges: Vec<Exchange> =
                exchanges.filter(|exchange| seen.insert(exchange.id.0.clone())).collect();
            tally.recorded += exchanges.len() as u64;
            let answers = exchanges
                .iter()
                .map(async |exchange| (exchange, self.answer(exchange, &redactor, &kept).await));
            let mut answers = stream::iter(answers).buffered(self.config.replay.in_flight);
            while let Some((exchange, answer)) = answers.next().await {
                out.write(&self.row(exchange, answer.as_ref()), answer, &mut tally)?;
                (self.progress)(&Progress::Replayed(add(before, &tally)));
            }
        }
        if let Answers::Live { stub, .. } = &self.answers
            && let late @ 1.. = stub.take_late()
        {
            tally.losses.push(format!(
                "{late} upstream calls of the candidate came after their exchange was closed: raise [replay] linger"
            ));
        }
        out.finish()?;
        Ok(tally)
    }

    fn row(&self, exchange: &Exchange, answer: Option<&Answer>) -> ExchangeRow {
        let mapping = &self.config.mapping;
        match answer {
            Some(answer) => compare::compare(exchange, answer, mapping),
            None => compare::filtered(
                exchange,
                mapping,
                format!("recorded from build {}", exchange.build),
            ),
        }
    }

    /// Returns the candidate's answer, or `None` for an exchange that is left out: of another production build.
    async fn answer(
        &self,
        exchange: &Exchange,
        redactor: &Result<Arc<Redactor>, String>,
        kept: &HashMap<String, Answer>,
    ) -> Option<Answer> {
        if self.run.evidence.primary_build.as_ref() != Some(&exchange.build) {
            return None;
        }
        let not_sent =
            |why: &str| Answer::not_sent(exchange.id.clone(), exchange.upstream.len(), why.into());
        let Answers::Live { candidate, stub } = &self.answers else {
            let kept = kept.get(&exchange.id.0).cloned();
            return Some(kept.unwrap_or_else(|| not_sent("no answer was kept")));
        };
        let redactor = match redactor {
            Ok(redactor) => redactor,
            Err(why) => return Some(not_sent(why)),
        };
        let trace_id = sha256(format!("{} {}", self.run.id, exchange.id))[..32].to_owned();
        stub.open(exchange, &trace_id, redactor);
        let (sent, took) = candidate.send(exchange, &trace_id).await;
        let linger = if matches!(sent, Err(Failure::Harness(_))) {
            std::time::Duration::ZERO
        } else {
            self.config.replay.linger
        };
        let seen = stub.close(exchange, linger).await;
        let (response, failure) = match sent {
            Ok(mut response) => {
                redactor.response(None, &exchange.request, &mut response);
                (Some(response), None)
            }
            Err(failure) => (None, Some(failure)),
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Answer {
            id: exchange.id.clone(),
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            response,
            failure,
            calls: seen.calls,
            misses: seen.misses,
            hits: count(seen.hits),
            unused: count(seen.unused),
        })
    }

    /// Reads the kept answers of a shard.
    async fn kept(
        &self,
        shard: u32,
        tally: &mut Tally,
    ) -> Result<HashMap<String, Answer>, RunError> {
        let key = answer::key(&self.run.id, shard);
        let bytes = self.config.store.get(&key).await?;
        let mut reader = Reader::<answer::Line>::new(&bytes);
        let mut kept = HashMap::new();
        for line in reader.lines() {
            if let answer::Line::Answer(answer) = line {
                kept.insert(answer.id.0.clone(), *answer);
            }
        }
        if reader.damage().any() {
            tally.losses.push(format!("the kept answers {key} are damaged"));
        }
        Ok(kept)
    }

    /// Puts an attempt's files into the store, outside the run's directory.
    async fn upload(&self, shard: &Shard, folder: &Path) -> Result<Vec<WonFile>, RunError> {
        let (run, revision, number, epoch) =
            (&self.run.id, self.revision, shard.number, shard.epoch);
        let prefix =
            format!("attempts/run_id={run}/revision={revision}/shard={number}/epoch={epoch}");
        let mut files: Vec<(String, String)> = TABLES
            .iter()
            .map(|table| (format!("{table}.parquet"), journal::key(table, revision, run, number)))
            .collect();
        if matches!(self.answers, Answers::Live { .. }) {
            files.push((ANSWERS.into(), answer::key(run, number)));
        }
        let mut won = Vec::new();
        for (name, target) in files {
            let bytes = tokio::fs::read(folder.join(&name)).await.map_err(RunError::Scratch)?;
            let attempt = format!("{prefix}/{name}");
            let sha256 = sha256(&bytes);
            self.config.store.put(&attempt, bytes).await?;
            won.push(WonFile { attempt, target, sha256 });
        }
        Ok(won)
    }
}

/// Copies the winning files to where the journal is read. It may be repeated.
async fn publish(store: &Store, files: &[WonFile]) -> Result<(), RunError> {
    for file in files {
        let bytes = store.get(&file.attempt).await?;
        if sha256(&bytes) != file.sha256 {
            return Err(RunError::Damaged(file.attempt.clone()));
        }
        store.put(&file.target, bytes).await?;
    }
    Ok(())
}

const ANSWERS: &str = "answers.ndjson.zst";

/// The files of an attempt.
struct Output {
    journal: Writer,
    answers: BufWriter<std::fs::File>,
    waiting: Vec<answer::Line>,
}

impl Output {
    fn create(folder: &Path, worker: &Worker<'_>) -> Result<Self, RunError> {
        let header = answer::Header {
            format: answer::FORMAT.into(),
            version: answer::VERSION,
            run_id: worker.run.id.clone(),
            build: worker.run.candidate_build.clone(),
        };
        let file = std::fs::File::create(folder.join(ANSWERS)).map_err(RunError::Scratch)?;
        Ok(Self {
            journal: Writer::create(folder, worker.run.id.clone())?,
            answers: BufWriter::new(file),
            waiting: vec![answer::Line::Header(header)],
        })
    }

    fn write(
        &mut self,
        row: &ExchangeRow,
        answer: Option<Answer>,
        tally: &mut Tally,
    ) -> Result<(), RunError> {
        self.journal.append(row)?;
        *match row.outcome {
            Outcome::Matched => &mut tally.matched,
            Outcome::Different => &mut tally.different,
            Outcome::Filtered => &mut tally.filtered,
            Outcome::Errored => &mut tally.errored,
            Outcome::Unverified => &mut tally.unverified,
        } += 1;
        self.waiting.extend(answer.map(|answer| answer::Line::Answer(Box::new(answer))));
        if self.waiting.len() >= FRAME_ANSWERS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RunError> {
        write_frame(&mut self.answers, &self.waiting).map_err(RunError::Scratch)?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), RunError> {
        self.flush()?;
        self.answers.into_inner().map_err(|error| RunError::Scratch(error.into_error()))?;
        Ok(self.journal.finish()?)
    }
}

fn add(before: &Tally, tally: &Tally) -> Tally {
    let mut sum = before.clone();
    sum.add(tally);
    sum
}
