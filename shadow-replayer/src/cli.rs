//! The command line: from arguments to a request, and from a result to words.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::config::{self, ConfigError, Document};

use crate::config::Config;
use crate::config::order::Order;
use crate::filter::Selection;
use crate::isolation::Isolation;
use crate::pace::Pace;
use crate::plan::Range;
use crate::progress::Printer;
use crate::run::{Run, RunId, Settings, State};
use crate::store::RunStore;
use crate::{RunError, RunRequest};

/// Replays recorded production exchanges against a release candidate.
#[derive(Debug, Parser)]
#[command(name = "shadow-replayer", version)]
pub struct Args {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "shadow.toml",
        value_name = "FILE",
        env = "SHADOW_CONFIG"
    )]
    pub config: PathBuf,
    /// Print no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a time range against a candidate; prints the RunID.
    Run(Box<Replay>),
    /// Compare the kept answers of a run again, for a changed mapping; makes a new journal revision.
    Compare {
        /// The run, as printed by `run`.
        #[arg(long, value_name = "RUNID")]
        run: RunId,
    },
}

/// A candidate and a time range.
#[derive(Clone, Debug, clap::Args)]
pub struct Replay {
    /// Where the candidate listens: http://HOST:PORT.
    #[arg(long, value_name = "URL", value_parser = Origin::parse)]
    pub candidate: Origin,
    /// The candidate's build, as the pipeline names it.
    #[arg(long, value_name = "ID")]
    pub build: String,
    /// The time range.
    #[command(flatten)]
    pub span: Span,
    /// Which of its exchanges.
    #[command(flatten)]
    pub selection: Selection,
    /// Whether exchanges of one order key follow each other; default: [replay] order.
    #[arg(long, value_name = "ORDER")]
    pub order: Option<Order>,
    /// What tells the candidate's differences from others.
    #[command(flatten)]
    pub noise: Noise,
    /// How fast; default: [replay.pace].
    #[command(flatten)]
    pub pacing: Pacing,
}

/// What tells the candidate's differences from those that are not its doing.
#[derive(Clone, Debug, clap::Args)]
pub struct Noise {
    /// Where production's own build listens, to be replayed beside the candidate: what it shows too is the replay's doing.
    #[arg(long, value_name = "URL", value_parser = Origin::parse)]
    pub control: Option<Origin>,
    /// Send each exchange to the candidate twice, to find what differs by itself.
    #[arg(long)]
    pub twice: bool,
}

/// A pace.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Pacing {
    /// Keep the recorded rhythm, so many times as fast.
    #[arg(long, value_name = "N", value_parser = Pace::factor)]
    pub factor: Option<Pace>,
    /// Send so many exchanges per second.
    #[arg(long, value_name = "N", value_parser = Pace::rate)]
    pub rate: Option<Pace>,
    /// Spread the exchanges evenly over a duration, for example 5h.
    #[arg(long, value_name = "DURATION", value_parser = Pace::over)]
    pub over: Option<Pace>,
}

/// A time range: from and to, or the latest.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Span {
    /// The first instant of the range, for example 2026-11-20T07:00:00Z.
    #[arg(long, value_name = "TIME", requires = "to", required_unless_present = "latest")]
    pub from: Option<Timestamp>,
    /// The instant after the range.
    #[arg(long, value_name = "TIME", requires = "from")]
    pub to: Option<Timestamp>,
    /// Instead of --from and --to: so long, up to where every recorder has sealed; for example 24h.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration, conflicts_with_all = ["from", "to"])]
    pub latest: Option<Duration>,
}

impl Span {
    /// Returns the range; the latest is looked up in the store.
    pub async fn range(self, config: &Config) -> Result<Range, RunError> {
        match (self.from, self.to, self.latest) {
            (Some(from), Some(to), _) => Range::new(from, to).map_err(RunError::Usage),
            (_, _, Some(latest)) => crate::latest(config, latest).await,
            _ => Err(RunError::Usage("give --from and --to, or --latest".into())),
        }
    }
}

impl Replay {
    async fn request(self, config: &Config) -> Result<RunRequest, RunError> {
        let Range { from, to } = self.span.range(config).await?;
        let Self { candidate, build, selection, order, noise, pacing, .. } = self;
        let control = noise.control.map(|control| control.to_string());
        let twice = noise.twice;
        let pace = pacing.factor.or(pacing.rate).or(pacing.over);
        let pace = pace.unwrap_or(config.replay.pacing.pace);
        let settings = Settings { selection, order, control, twice, pace, ..Settings::default() };
        Ok(RunRequest { candidate, build, from, to, settings })
    }
}

/// Exit code for usage and configuration errors, from sysexits.h.
pub const USAGE: u8 = 64;
/// Exit code for internal errors, from sysexits.h.
pub const INTERNAL: u8 = 70;

/// Carries out a command; returns the exit code.
pub async fn execute(args: Args) -> anyhow::Result<u8> {
    let text = config::read(&args.config)?;
    let document = Document::parse(&args.config, &text, config::process_environment)?;
    let config = Config::take(&document);
    document.finish()?;
    let config =
        config.context("the configuration was read without a mistake and yet is incomplete")?;
    let printer = Printer::new(args.quiet);
    match args.command {
        Command::Run(replay) => {
            let request = replay.request(&config).await?;
            let run = crate::run(&config, &request, &|progress| printer.print(progress)).await;
            printer.end();
            let run = run?;
            let runs = RunStore::open(&config.replay.database).await?;
            let shards = runs.shards(&run.id, 1).await?;
            Ok(report(&run, &args.config, shards.into_iter().filter_map(|shard| shard.tally)))
        }
        Command::Compare { run } => {
            let revision =
                crate::compare_again(&config, &run, &|progress| printer.print(progress)).await;
            printer.end();
            let revision = revision?;
            say(&format!("{run}"));
            note(&format!("journal revision {revision} of run {run} is written"));
            next(&run, &args.config);
            Ok(0)
        }
    }
}

/// Maps an error to its exit code.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let usage = error.is::<ConfigError>()
        || error.downcast_ref::<RunError>().is_some_and(RunError::is_usage);
    if usage { USAGE } else { INTERNAL }
}

/// Tells what a run came to: the RunID alone on standard output, the rest on standard error.
fn report(
    run: &Run,
    config: &std::path::Path,
    shards: impl Iterator<Item = crate::run::Tally>,
) -> u8 {
    say(&run.id.to_string());
    let mut tally = crate::run::Tally::default();
    shards.for_each(|shard| tally.add(&shard));
    if let Some(failure) = &run.failure {
        note(&format!("run {} failed: {failure}", run.id));
        run.evidence.gaps.iter().for_each(|gap| note(&format!("not covered: {gap}")));
        return 2;
    }
    note(&format!(
        "run {} is {}: {} exchanges: {} matched, {} different, {} errored, {} unverified, {} filtered",
        run.id,
        run.state.word(),
        tally.recorded,
        tally.matched,
        tally.different,
        tally.errored,
        tally.unverified,
        tally.filtered
    ));
    if tally.late + tally.backoffs > 0 {
        note(&format!(
            "pace: {} exchanges were sent late because too many were in flight, {} were asked again after 429 or 503",
            tally.late, tally.backoffs
        ));
    }
    for gap in run.evidence.gaps.iter().chain(&tally.losses) {
        note(&format!("not covered: {gap}"));
    }
    for doubt in &tally.doubts {
        note(&format!("in doubt: {doubt}"));
    }
    tally.misses.proposals().iter().for_each(|proposal| note(proposal));
    for doubt in &tally.doubts {
        note(&format!("in doubt: {doubt}"));
    }
    note(&Isolation::of_run(&tally.isolation).to_string());
    next(&run.id, config);
    if run.state == State::Finished { 0 } else { 2 }
}

fn next(run: &RunId, config: &std::path::Path) {
    note(&format!("next: shadow-analyzer --config {} certify --run {run}", config.display()));
}

// A reader that went away changes no exit code: what was done is durable by now.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
