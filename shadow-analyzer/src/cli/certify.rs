//! `certify`: what is to be judged, from arguments to a subject.

use clap::Args;
use shadow_recorder::config::upstream::Origin;
use shadow_replayer::RunError;
use shadow_replayer::cli::Asked;
use shadow_replayer::config as replayer;
use shadow_replayer::plan::Range;
use shadow_replayer::run::RunId;
use shadow_replayer::supplied::{Format, SuppliedRequest};

use super::Usage;
use crate::certify::Subject;

/// A run, a candidate with a time range, or the entries of both sides.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "shadow-analyzer certify --run <RUNID>\n       shadow-analyzer certify --candidate <URL> --build <ID> --from <TIME> --to <TIME>\n       shadow-analyzer certify --candidate <URL> --build <ID> --latest <DURATION>\n       shadow-analyzer certify --primary <FILE>... --shadow <FILE>... --build <ID>"
)]
pub struct Certify {
    /// A finished run, as printed by `shadow-replayer run`.
    #[arg(long, value_name = "RUNID", conflicts_with_all = REPLAY)]
    pub run: Option<RunId>,
    /// Where the candidate listens: http://HOST:PORT.
    #[arg(long, value_name = "URL", value_parser = Origin::parse, required_unless_present_any = ["run", "primary"])]
    pub candidate: Option<Origin>,
    /// The candidate's build, as the pipeline names it.
    #[arg(long, value_name = "ID", required_unless_present = "run")]
    pub build: Option<String>,
    /// What is replayed, and how.
    #[command(flatten)]
    pub asked: Asked,
    /// What is compared without a replay.
    #[command(flatten)]
    pub files: Files,
}

/// The entries of both sides, where nothing is replayed.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// Files with production's entries, or patterns: CSV, JSON lines or Parquet; [supplied] says what is where in them.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "shadow", conflicts_with_all = ASKED)]
    pub primary: Vec<String>,
    /// Files with the candidate's entries.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "primary")]
    pub shadow: Vec<String>,
    /// How these files are written, where their names do not say it.
    #[arg(long, value_enum, value_name = "FORMAT", requires = "primary")]
    pub format: Option<Format>,
    /// The build that booked production's entries.
    #[arg(long, value_name = "ID", requires = "primary")]
    pub primary_build: Option<String>,
}

/// What a run that is over cannot be asked any more; the capitals name groups of arguments.
const REPLAY: [&str; 8] =
    ["candidate", "build", "Span", "Selection", "order", "Noise", "Pacing", "Files"];

/// What only a replay can be asked.
const ASKED: [&str; 6] = ["candidate", "latest", "Selection", "order", "Noise", "Pacing"];

impl Certify {
    /// Returns what is to be certified.
    pub(super) async fn subject(self, config: &replayer::Config) -> anyhow::Result<Subject> {
        let Self { run, candidate, build, asked, files } = self;
        match (run, candidate, build) {
            (Some(run), ..) => Ok(Subject::Run(run)),
            (None, Some(candidate), Some(build)) => {
                let request = asked.request(config, candidate, build).await?;
                Ok(Subject::Candidate(Box::new(request)))
            }
            (None, None, Some(build)) if !files.primary.is_empty() => {
                let range = asked.span.from.zip(asked.span.to);
                let range = range.map(|(from, to)| Range::new(from, to)).transpose();
                let Files { primary, shadow, format, primary_build } = files;
                let range = range.map_err(RunError::Usage)?;
                let request = SuppliedRequest { primary, shadow, format, build, primary_build, range };
                Ok(Subject::Supplied(Box::new(request)))
            }
            _ => Err(Usage(
                "give --run, --candidate with --build and a range, or --primary and --shadow with --build".into(),
            )
            .into()),
        }
    }
}
