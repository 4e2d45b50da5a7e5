//! The command line: from arguments to a request, and from a result to words.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::config::{self, ConfigError, Document};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::config::order::Order;
use crate::filter::Selection;
use crate::join::stop_on_signal;
use crate::pace::Pace;
use crate::plan::Range;
use crate::progress::Printer;
use crate::run::{RunId, Settings};
use crate::{RunError, RunRequest, outward};

mod show;
mod told;

use told::Told;

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
    Run {
        /// What is replayed, and how.
        #[command(flatten)]
        replay: Box<Replay>,
        /// Only plan the run; workers join it by `work`.
        #[arg(long)]
        plan_only: bool,
    },
    /// Show where a run stands: its shards, their workers, and what is counted so far.
    Status {
        /// The run.
        #[command(flatten)]
        run: Named,
        /// How it is told.
        #[command(flatten)]
        output: Output,
    },
    /// Go on with a run whose worker was stopped or killed.
    Resume(Join),
    /// Join a run beside its other workers, with a candidate of one's own.
    Work(Join),
    /// Give a run up: its workers stop soon, and nothing certifies it.
    Cancel(Named),
    /// List the runs, the newest first.
    List {
        /// Only those of this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Only those of this build of the candidate.
        #[arg(long, value_name = "ID")]
        build: Option<String>,
        /// How it is told.
        #[command(flatten)]
        output: Output,
    },
    /// Show the exchanges that a run could not process, by reason, and replay them again.
    DeadLetters(DeadLetters),
    /// Compare the kept answers of a run again, for a changed mapping; makes a new journal revision.
    Compare(Named),
    /// Try, beside the candidate and as its user, what it could reach; answers the workers at [replay.isolation] listen until it is stopped.
    Probe,
}

/// A run.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// The run, as printed by `run`.
    #[arg(long, value_name = "RUNID")]
    pub run: RunId,
}

/// How a result is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A run to take part in.
#[derive(Clone, Debug, clap::Args)]
pub struct Join {
    #[command(flatten)]
    run: Named,
    /// Where this worker's candidate listens, instead of where the run was planned for.
    #[arg(long, value_name = "URL", value_parser = Origin::parse)]
    candidate: Option<Origin>,
}

/// What a run could not process.
#[derive(Clone, Debug, clap::Args)]
pub struct DeadLetters {
    #[command(flatten)]
    run: Named,
    /// Only those whose reason holds this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Replay exactly these exchanges, as a run of its own.
    #[arg(long, requires = "candidate", conflicts_with = "json")]
    replay: bool,
    /// The candidate for that.
    #[arg(long, value_name = "URL", value_parser = Origin::parse, requires = "replay")]
    candidate: Option<Origin>,
    /// Its build, where it is not the run's.
    #[arg(long, value_name = "ID", requires = "replay")]
    build: Option<String>,
}

/// A candidate, and what of production it is to serve.
#[derive(Clone, Debug, clap::Args)]
pub struct Replay {
    /// Where the candidate listens: http://HOST:PORT.
    #[arg(long, value_name = "URL", value_parser = Origin::parse)]
    pub candidate: Origin,
    /// The candidate's build, as the pipeline names it.
    #[arg(long, value_name = "ID")]
    pub build: String,
    /// What it is to serve, and how.
    #[command(flatten)]
    pub asked: Asked,
}

/// What is replayed, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Asked {
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
    #[arg(long, value_name = "TIME", requires = "to")]
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

impl Asked {
    /// Returns what is asked of a candidate.
    pub async fn request(
        self,
        config: &Config,
        candidate: Origin,
        build: String,
    ) -> Result<RunRequest, RunError> {
        let Self { span, selection, order, noise, pacing } = self;
        let Range { from, to } = span.range(config).await?;
        let control = noise.control.map(|control| control.to_string());
        let twice = noise.twice;
        let pace = pacing.factor.or(pacing.rate).or(pacing.over);
        let settings = Settings { selection, order, control, twice, pace, ..Settings::default() };
        Ok(RunRequest { candidate, build, from, to, settings, plan_only: false })
    }
}

/// Exit code of a run that proves nothing, or not yet.
pub const INCONCLUSIVE: u8 = 2;
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
    let print = |progress: &crate::Progress| printer.print(progress);
    let told = Told { config: &config, path: &args.config, printer: &printer };
    match args.command {
        Command::Run { replay, plan_only } => {
            let Replay { candidate, build, asked } = *replay;
            let request = asked.request(&config, candidate, build).await?;
            let request = RunRequest { plan_only, ..request };
            told.run(crate::run(&config, &request, &print).await).await
        }
        Command::Resume(Join { run, candidate }) | Command::Work(Join { run, candidate }) => {
            told.run(crate::join(&config, &run.run, candidate.as_ref(), &print).await).await
        }
        Command::Status { run, output } => told.status(&run.run, output).await,
        Command::Cancel(Named { run }) => told.cancel(&run).await,
        Command::List { service, build, output } => {
            told.list(service.as_deref(), build.as_deref(), output).await
        }
        Command::DeadLetters(asked) => Box::pin(told.dead_letters(asked, &print)).await,
        Command::Compare(Named { run }) => {
            let revision = crate::compare_again(&config, &run, &print).await;
            printer.end();
            let revision = revision?;
            say(&format!("{run}"));
            note(&format!("journal revision {revision} of run {run} is written"));
            told.next_verdict(&run);
            Ok(0)
        }
        Command::Probe => probe(&config).await,
    }
}

/// Answers workers until a signal ends it.
async fn probe(config: &Config) -> anyhow::Result<u8> {
    let what =
        "a probe needs an address: set [replay.isolation] listen, for example to 127.0.0.1:9190";
    let listen = config.isolation.listen.ok_or_else(|| RunError::Usage(what.into()))?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("[replay.isolation] listen = \"{listen}\" cannot be bound"))?;
    note(&format!("the probe answers at http://{listen}/"));
    let stop = stop_on_signal()?;
    tokio::select! {
        ended = outward::serve(listener, &config.isolation) => match ended? {},
        () = stop.cancelled() => Ok(0),
    }
}

/// Maps an error to its exit code.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let usage = error.is::<ConfigError>()
        || error.downcast_ref::<RunError>().is_some_and(RunError::is_usage);
    if usage { USAGE } else { INTERNAL }
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
