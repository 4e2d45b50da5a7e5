//! One attempt at a shard: a stream from its segments to the files of the journal, of bounded memory.
//!
//! ```text
//!  segment ─► read ahead ─► source ─► lanes, one for each exchange in flight ─► window ─► writer
//!             a thread      in recorded order, one by one within an order key   recorded  a thread
//!                                                                               order again
//! ```
//!
//! In memory at once are: the compressed bytes of one segment, the text of one of its frames, some batches of exchanges read ahead,
//! and the exchanges of the window.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shadow_recorder::segment::{Reader, Redaction};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::answer::{self, Answered};
use crate::asking::Asking;
use crate::config::Config;
use crate::config::order::Order;
use crate::filter::Filter;
use crate::lane::{Asked, Done, Lane};
use crate::output::Output;
use crate::redaction::Redactors;
use crate::run::{FrozenSegment, Run, Tally};
use crate::seen::Seen;
use crate::source::{BATCH_EXCHANGES, BATCHES_AHEAD, Batch, Rules, Source};
use crate::store::Shard;
use crate::supplied::Parts;
use crate::window::Window;
use crate::{RunError, frozen, own_thread};

/// Between two looks at what is counted so far.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Where answers come from.
pub(crate) enum Answers {
    /// From the candidate, now.
    Live(Arc<Asking>),
    /// From an earlier replay.
    Kept,
    /// From files, as production's.
    Supplied(Arc<Parts>),
}

/// What an attempt needs to know.
pub(crate) struct Attempt<'a> {
    pub(crate) config: &'a Config,
    pub(crate) run: &'a Run,
    pub(crate) answers: &'a Answers,
    /// Called with the counts so far.
    pub(crate) progress: &'a dyn Fn(&Tally),
}

/// Ends the window when the attempt ends, however it does: its writer must not wait for ever.
struct Ending(Arc<Window<Done>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Attempt<'_> {
    /// Replays and compares one shard into files of a local folder.
    pub(crate) async fn make(
        &self,
        shard: &Shard,
        folder: &Path,
        seen: &Arc<Mutex<Seen>>,
    ) -> Result<Tally, RunError> {
        let filter = Filter::of(self.run).map_err(RunError::Usage)?;
        let mut losses = Vec::new();
        let asked = match self.answers {
            Answers::Kept => Asked::Kept(self.kept(shard.number, &mut losses).await?),
            Answers::Live(asking) => Asked::Builds(Arc::clone(asking)),
            Answers::Supplied(parts) => return self.join(parts, shard.number, folder).await,
        };
        let window = Arc::new(Window::new());
        let counted = Arc::new(Mutex::new(Tally::default()));
        let out = Output::create(folder, self.run, &self.config.mapping)?;
        let ending = Ending(Arc::clone(&window));
        let writing = write(out, Arc::clone(&window), Arc::clone(&counted));
        let (batches, source) = mpsc::channel(BATCHES_AHEAD);
        let ordered = self.run.settings.order == Some(Order::Key);
        let pacer = asked.begin_shard();
        let source = Source::new(source, Arc::clone(&window), pacer, ordered);
        let lanes = self.lanes(asked, filter, source, window);
        let work = async { tokio::join!(self.read(shard, seen, batches), finished(lanes)).0 };
        losses.extend(self.watched(work, &counted).await);
        drop(ending);
        writing.await?;
        if let Answers::Live(asking) = self.answers
            && let late @ 1.. = asking.candidate.stub.take_late()
        {
            losses.push(format!(
                "{late} upstream calls of the candidate came after their exchange was closed: raise [replay] linger"
            ));
        }
        let mut tally = counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tally.losses = losses;
        tally.repeated = seen.lock().unwrap_or_else(PoisonError::into_inner).take_repeated();
        if self.run.settings.own_upstreams && self.run.settings.control.is_none() {
            tally
                .doubts
                .insert("the upstreams are the candidate's own and no control was run".to_owned());
        }
        (self.progress)(&tally);
        Ok(tally)
    }

    /// Joins what was supplied, on a thread of its own.
    async fn join(&self, parts: &Arc<Parts>, part: u32, folder: &Path) -> Result<Tally, RunError> {
        let (parts, run) = (Arc::clone(parts), self.run.id.clone());
        let folder = folder.to_owned();
        let joining = tokio::task::spawn_blocking(move || parts.write(part, &folder, run));
        let tally = outcome_of(joining.await)?;
        (self.progress)(&tally);
        Ok(tally)
    }

    fn lanes(
        &self,
        asked: Asked,
        filter: Filter,
        source: Source,
        window: Arc<Window<Done>>,
    ) -> JoinSet<()> {
        let lane = Arc::new(Lane {
            run: self.run.id.clone(),
            filter,
            mapping: self.config.mapping.clone(),
            structure: self.config.structure.clone(),
            asked,
            source,
            window,
        });
        let in_flight = self.config.replay.in_flight(self.run.settings.pace());
        (0..in_flight).map(|_| Arc::clone(&lane).work()).collect()
    }

    /// Does the work, and tells what is counted meanwhile.
    async fn watched<T>(&self, work: impl Future<Output = T>, counted: &Mutex<Tally>) -> T {
        let telling = async {
            loop {
                tokio::time::sleep(LOOK_PAUSE).await;
                let tally = counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                (self.progress)(&tally);
            }
        };
        tokio::select! {
            done = work => done,
            () = telling => unreachable!("it tells for ever"),
        }
    }

    /// Reads the shard's segments one after the other, as far ahead as the channel holds; returns what is not wholly evidence.
    async fn read(
        &self,
        shard: &Shard,
        seen: &Arc<Mutex<Seen>>,
        batches: mpsc::Sender<Batch>,
    ) -> Vec<String> {
        let mut losses = Vec::new();
        for frozen in &self.run.evidence.frozen(&shard.segments) {
            match frozen::fetch(self.config, frozen).await {
                Err(loss) => losses.push(loss),
                Ok(bytes) => {
                    let reading = self.segment(bytes, frozen, Arc::clone(seen), batches.clone());
                    losses.extend(reading.await);
                }
            }
        }
        losses
    }

    /// Reads a segment on a thread of its own; returns its losses.
    fn segment(
        &self,
        bytes: Vec<u8>,
        frozen: &FrozenSegment,
        seen: Arc<Mutex<Seen>>,
        batches: mpsc::Sender<Batch>,
    ) -> impl Future<Output = Vec<String>> + use<> {
        let range = self.run.range();
        let (redactors, sinks) = (self.config.redactors.clone(), self.config.mapping.sinks.clone());
        let frozen = frozen.clone();
        own_thread::run(move || {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.begin(&frozen);
            let mut known: Option<(Option<Redaction>, Rules)> = None;
            let mut batch = Batch::new();
            let losses = frozen::read(&bytes, &frozen, range, &sinks, |redaction, exchange| {
                if !seen.is_new(&exchange) {
                    return ControlFlow::Continue(());
                }
                let rules = match &known {
                    Some((written, rules)) if written.as_ref() == redaction => rules.clone(),
                    _ => {
                        let rules = rules_of(&redactors, redaction);
                        known = Some((redaction.cloned(), rules.clone()));
                        rules
                    }
                };
                batch.push((Arc::new(exchange), rules));
                if batch.len() < BATCH_EXCHANGES {
                    return ControlFlow::Continue(());
                }
                match batches.blocking_send(std::mem::take(&mut batch)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            // Where nobody takes it, the attempt has ended.
            let _ = batches.blocking_send(batch);
            losses
        })
    }

    /// Reads the kept answers of a shard.
    async fn kept(
        &self,
        shard: u32,
        losses: &mut Vec<String>,
    ) -> Result<HashMap<String, Answered>, RunError> {
        let key = answer::key(&self.run.id, shard);
        let bytes = self.config.store.get(&key).await?;
        let mut reader = Reader::<answer::Line>::new(&bytes);
        let mut kept = HashMap::new();
        for line in reader.lines() {
            Answered::keep(&mut kept, line);
        }
        if reader.damage().any() {
            losses.push(format!("the kept answers {key} are damaged"));
        }
        Ok(kept)
    }
}

/// Returns what applies the rules under which an exchange was recorded.
fn rules_of(redactors: &Redactors, written: Option<&Redaction>) -> Rules {
    let unknown = || "the rules of redaction are unknown: the segment's header is lost".to_owned();
    redactors.of(written.ok_or_else(unknown)?)
}

/// Writes what is done, on a thread of its own, until the window ends.
fn write(
    mut out: Output,
    window: Arc<Window<Done>>,
    counted: Arc<Mutex<Tally>>,
) -> impl Future<Output = Result<(), RunError>> {
    own_thread::run(move || {
        // However the writing ends, nobody waits for it to go on.
        let ending = Ending(window);
        while let Some(done) = ending.0.next_done() {
            let mut tally = Tally::default();
            for done in done {
                tally.recorded += 1;
                tally.count(done.row.outcome);
                tally.doubt(done.doubts);
                let misses = done.answered.iter().flat_map(|answered| &answered.candidate.misses);
                misses.for_each(|miss| tally.misses.count(miss));
                tally.late += u64::from(done.paced.late);
                tally.backoffs += u64::from(done.paced.backoffs);
                out.write(&done.row, done.answered)?;
            }
            counted.lock().unwrap_or_else(PoisonError::into_inner).add(&tally);
        }
        out.finish()
    })
}

/// Waits until every lane has ended.
async fn finished(mut lanes: JoinSet<()>) {
    while let Some(lane) = lanes.join_next().await {
        outcome_of(lane);
    }
}

/// Passes a panic on, which is the only way in which a task that nobody aborts can fail.
fn outcome_of<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
