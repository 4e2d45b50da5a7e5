//! The arguments of `show`.

use std::path::Path;

use anyhow::Context;
use shadow_recorder::config::{self, Document};
use shadow_replayer::config as replayer;
use shadow_replayer::run::RunId;

use super::{INCOMPLETE, say};
use crate::config::take_if_present;
use crate::show::{self, Part};

/// A run whose verdict is shown, and which part of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The run.
    #[arg(long, value_name = "RUNID")]
    pub run: RunId,
    /// Which part; all of it where none is asked for.
    #[command(flatten)]
    pub parts: Parts,
    /// Print JSON as it stands in verdict.json, instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// One part of a verdict at most.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Parts {
    /// The books of both sides, account by account, against the thresholds.
    #[arg(long)]
    pub ledger: bool,
    /// The exchanges that differ, field by field.
    #[arg(long)]
    pub samples: bool,
    /// Production's scenarios, compared or not, with their money.
    #[arg(long)]
    pub coverage: bool,
}

impl Parts {
    fn asked(self) -> Option<Part> {
        let all = [self.ledger, self.samples, self.coverage];
        all.into_iter().zip(Part::ALL).find(|(asked, _)| *asked).map(|(_, part)| part)
    }
}

impl Show {
    pub(super) async fn execute(self, file: &Path) -> anyhow::Result<u8> {
        let text = config::read(file)?;
        let document = Document::parse(file, &text, config::process_environment)?;
        let config = replayer::Config::take(&document);
        // What is not read is refused.
        let _ = take_if_present(&document, config.as_ref());
        document.finish()?;
        let config = config.context(INCOMPLETE)?;
        let verdict = show::newest(&config.store, &self.run).await?;
        let part = self.parts.asked();
        if self.json {
            say(&show::json(&verdict, part));
        } else {
            say(&show::text(&verdict, part.as_ref().map_or(&Part::ALL[..], std::slice::from_ref)));
        }
        Ok(0)
    }
}
