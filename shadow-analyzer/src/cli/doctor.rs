//! `doctor`: what stands in the way of certifying.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::config::{self, ConfigError, Document};
use shadow_replayer::cli::USAGE;
use shadow_replayer::config as replayer;

use super::say;
use crate::config::take_if_present;
use crate::doctor::look::{self, Asked};
use crate::doctor::{Report, State, Step};
use crate::verdict::Decision;

/// What the doctor is asked.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Where production's own build listens, beside the stub: it is certified by its own recording.
    #[arg(long, value_name = "URL", value_parser = Origin::parse)]
    pub candidate: Option<Origin>,
    /// How much of its latest recording it serves, for example 30m.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration, default_value = "15m")]
    pub latest: Duration,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Doctor {
    /// Takes every step; returns the exit code.
    pub(super) async fn execute(self, file: &Path) -> anyhow::Result<u8> {
        let (report, code) = match Box::pin(self.report(file)).await {
            Ok(report) => {
                let code = if report.fine { 0 } else { Decision::Inconclusive.exit_code() };
                (report, code)
            }
            Err(error) => (mistaken(error), USAGE),
        };
        if self.json {
            say(&(serde_json::to_string_pretty(&report)? + "\n"));
        } else {
            let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            say(&report.render(color));
        }
        Ok(code)
    }

    async fn report(&self, file: &Path) -> Result<Report, ConfigError> {
        let text = config::read(file)?;
        let document = Document::parse(file, &text, config::process_environment)?;
        let admin = document.section("recorder").address("admin");
        let replay = replayer::Config::take(&document);
        let policy = take_if_present(&document, replay.as_ref());
        document.finish()?;
        let replay = replay.ok_or_else(|| ConfigError::Mistakes(vec![super::INCOMPLETE.into()]))?;
        let (candidate, latest) = (self.candidate.clone(), self.latest);
        Ok(look::report(&replay, policy, &Asked { file, admin, candidate, latest }).await)
    }
}

/// Returns the report of a configuration that cannot be used: nothing else can be looked at.
fn mistaken(error: ConfigError) -> Report {
    let next = match &error {
        ConfigError::Read { .. } => {
            "write shadow.toml (shadow-analyzer/shadow.example.toml shows all of it), or give its path with --config"
        }
        ConfigError::Mistakes(_) => "mend these places, and ask again",
    };
    let found = format!("{:#}", anyhow::Error::from(error));
    let step = Step { step: "configuration", state: State::Act, found, next: Some(next.into()) };
    Report::of(vec![step])
}
