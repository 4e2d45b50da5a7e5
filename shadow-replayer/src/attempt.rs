//! One attempt at a shard: read, ask the candidate or look up its kept answer, compare, write.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::redact::Redactor;
use shadow_recorder::segment::Reader;

use crate::answer::{self, Answer};
use crate::config::Config;
use crate::drive::Driver;
use crate::journal::ExchangeRow;
use crate::output::Output;
use crate::plan::Range;
use crate::run::{Run, Tally};
use crate::store::Shard;
use crate::{RunError, compare, frozen};

/// Where answers come from.
pub(crate) enum Answers {
    /// From the candidate, now.
    Live(Box<Driver>),
    /// From an earlier replay.
    Kept,
}

/// What an attempt needs to know.
pub(crate) struct Attempt<'a> {
    pub(crate) config: &'a Config,
    pub(crate) run: &'a Run,
    pub(crate) answers: &'a Answers,
    /// Called with the counts so far.
    pub(crate) progress: &'a dyn Fn(&Tally),
}

impl Attempt<'_> {
    /// Replays and compares one shard into files of a local folder.
    pub(crate) async fn make(
        &self,
        shard: &Shard,
        folder: &Path,
        seen: &mut HashSet<String>,
    ) -> Result<Tally, RunError> {
        let mut out = Output::create(folder, self.run)?;
        let mut tally = Tally::default();
        let kept = match self.answers {
            Answers::Kept => self.kept(shard.number, &mut tally).await?,
            Answers::Live(_) => HashMap::new(),
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
                (self.progress)(&tally);
            }
        }
        if let Answers::Live(driver) = self.answers
            && let late @ 1.. = driver.stub.take_late()
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
            Some(answer) => compare::compare(exchange, answer, mapping, &self.config.structure),
            None => {
                compare::filtered(exchange, mapping, self.left_out(exchange).unwrap_or_default())
            }
        }
    }

    /// Returns why an exchange is not replayed, if it is not.
    fn left_out(&self, exchange: &Exchange) -> Option<String> {
        if self.run.evidence.primary_build.as_ref() != Some(&exchange.build) {
            return Some(format!("recorded from build {}", exchange.build));
        }
        let only = &self.run.settings.only;
        (!only.is_empty() && !only.contains(&exchange.id.0)).then(|| "not asked for".into())
    }

    /// Returns the candidate's answer, or `None` for an exchange that is left out.
    async fn answer(
        &self,
        exchange: &Exchange,
        redactor: &Result<Arc<Redactor>, String>,
        kept: &HashMap<String, Answer>,
    ) -> Option<Answer> {
        if self.left_out(exchange).is_some() {
            return None;
        }
        let not_sent =
            |why: &str| Answer::not_sent(exchange.id.clone(), exchange.upstream.len(), why.into());
        Some(match (self.answers, redactor) {
            (Answers::Kept, _) => {
                kept.get(&exchange.id.0).cloned().unwrap_or_else(|| not_sent("no answer was kept"))
            }
            (Answers::Live(_), Err(why)) => not_sent(why),
            (Answers::Live(driver), Ok(redactor)) => {
                driver.answer(&self.run.id, exchange, redactor).await
            }
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
}
