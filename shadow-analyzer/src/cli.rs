//! The command line: from arguments to a verdict, and from a verdict to an exit code.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod show;
mod certify;
mod doctor;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use shadow_recorder::config::{self, ConfigError, Document};
use shadow_replayer::RunError;
use shadow_replayer::cli::{INTERNAL, USAGE};
use shadow_replayer::config as replayer;
use shadow_replayer::plan::Range;
use shadow_replayer::progress::Printer;

use self::certify::Certify;
use self::doctor::Doctor;
use self::show::Show;
use crate::certify::{CertifyError, certify};
use crate::config::{Config, take_if_present};
use crate::map::Summary;
use crate::show::ShowError;
use crate::terminal;
use crate::verdict::Decision;

/// Certifies a release candidate of a service that books money.
///
/// Exit codes: 0 certified, 1 refused, 2 inconclusive, 64 usage or configuration, 70 internal.
#[derive(Debug, Parser)]
#[command(name = "shadow-analyzer", version)]
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
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge a run; or replay a time range against a candidate first, as the gate of a pipeline.
    Certify(Box<Certify>),
    /// Show what a verdict rests on: the books of both sides, the differing exchanges, the scenarios.
    Show(Show),
    /// Show what stands in the way of certifying, step by step, with what to do next.
    Doctor(Doctor),
    /// Show what the ledger mapping reads from recorded traffic, without a candidate.
    Map {
        /// The first instant of the range, for example 2026-11-20T07:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Timestamp,
        /// The instant after the range.
        #[arg(long, value_name = "TIME")]
        to: Timestamp,
    },
}

/// A request that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn range(from: Timestamp, to: Timestamp) -> Result<Range, Usage> {
    Range::new(from, to).map_err(Usage)
}

/// Runs the program on its arguments, the program's name first.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            // clap's own 2 means "inconclusive" to a pipeline.
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match execute(args).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "shadow-analyzer: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

async fn execute(args: Args) -> anyhow::Result<u8> {
    let file = &*args.config;
    match args.command {
        Command::Show(show) => show.execute(file).await,
        Command::Certify(certify) => judge(file, *certify).await,
        // A configuration that cannot be used is what it tells of.
        Command::Doctor(doctor) => doctor.execute(file).await,
        Command::Map { from, to } => show_mapping(file, range(from, to)?).await,
    }
}

const INCOMPLETE: &str = "the configuration was read without a mistake and yet is incomplete";

async fn judge(file: &Path, arguments: Certify) -> anyhow::Result<u8> {
    let text = config::read(file)?;
    let document = Document::parse(file, &text, config::process_environment)?;
    let config = Config::take(&document);
    document.finish()?;
    let config = config.context(INCOMPLETE)?;
    let printer = Printer::default();
    let subject = arguments.subject(&config.replay).await?;
    let certified = certify(&config, &subject, &|progress| printer.print(progress)).await;
    printer.end();
    let certified = certified?;
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(&terminal::render(&certified, color));
    Ok(certified.verdict.verdict.exit_code())
}

async fn show_mapping(file: &Path, range: Range) -> anyhow::Result<u8> {
    let text = config::read(file)?;
    let document = Document::parse(file, &text, config::process_environment)?;
    let config = replayer::Config::take(&document);
    let policy = take_if_present(&document, config.as_ref());
    document.finish()?;
    let policy = policy.map(|policy| policy.of_range(range.to));
    let config = config.context(INCOMPLETE)?;
    let mut summary = Summary::default();
    let evidence = shadow_replayer::recorded(&config, range, |exchange| {
        summary.add(&config.mapping, exchange);
    })
    .await?;
    say(&summary.render(range, &evidence, policy.as_ref(), file));
    Ok(if summary.exchanges() == 0 { Decision::Inconclusive.exit_code() } else { 0 })
}

/// Maps an error to its exit code.
fn exit_code(error: &anyhow::Error) -> u8 {
    let usage = error.is::<ConfigError>()
        || error.is::<Usage>()
        || matches!(error.downcast_ref(), Some(ShowError::None(_)))
        || error.downcast_ref::<CertifyError>().is_some_and(CertifyError::is_usage)
        || error.downcast_ref::<RunError>().is_some_and(RunError::is_usage);
    if usage { USAGE } else { INTERNAL }
}

/// Writes to standard output. A reader that went away changes no exit code: the verdict is durable by now.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn verify_cli() {
        Args::command().debug_assert();
    }

    fn parse(arguments: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(arguments.split_whitespace())
    }

    #[test]
    fn a_run_or_a_candidate_with_a_range_is_certified() {
        let run = "certify --run 0197a1b2-0000-7000-8000-000000000001";
        let candidate = "certify --candidate http://c:1 --build b --from 2026-11-20T07:00:00Z --to 2026-11-20T08:00:00Z";
        let supplied =
            "certify --primary a.csv b.csv --shadow c.csv --build b --format csv --primary-build p";
        let latest =
            "certify --candidate http://c:1 --build b --latest 24h --sample 0.1 --rate 500 --twice";
        let show = "show --run 0197a1b2-0000-7000-8000-000000000001 --ledger --json";
        let doctor = "doctor --json --candidate http://c:1";
        for arguments in [run, candidate, latest, supplied, show, doctor] {
            assert!(parse(&format!("shadow-analyzer {arguments}")).is_ok(), "{arguments}");
        }
        for wrong in [
            "certify",
            "certify --run nonsense",
            "certify --candidate http://c:1",
            "certify --candidate https://c --build b --from 2026-11-20T07:00:00Z --to 2026-11-20T08:00:00Z",
            "certify --candidate http://c:1 --build b --from yesterday --to 2026-11-20T08:00:00Z",
            "certify --candidate http://c:1 --build b --from 2026-11-20T07:00:00Z",
            "certify --candidate http://c:1 --build b --latest 24h --rate 500 --over 5h",
            &format!("{run} --build b"),
            &format!("{run} --latest 24h"),
            &format!("{run} --sample 0.1"),
            &format!("{run} --order key"),
            &format!("{run} --twice"),
            &format!("{run} --rate 500"),
            "map --from 2026-11-20T07:00:00Z",
            "show",
            "show --run 0197a1b2-0000-7000-8000-000000000001 --ledger --samples",
            "certify --primary a.csv --build b",
            "certify --shadow a.csv --build b",
            "certify --primary a.csv --shadow b.csv",
            &format!("{supplied} --candidate http://c:1"),
            &format!("{supplied} --latest 24h"),
            &format!("{supplied} --twice"),
            &format!("{run} --primary a.csv --shadow b.csv"),
        ] {
            assert!(parse(&format!("shadow-analyzer {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reversed_or_empty_range_is_a_usage_error() {
        let (early, late): (Timestamp, Timestamp) =
            ("2026-11-20T07:00:00Z".parse().unwrap(), "2026-11-20T08:00:00Z".parse().unwrap());
        assert!(range(early, late).is_ok());
        for (from, to) in [(late, early), (early, early)] {
            assert_eq!(exit_code(&range(from, to).unwrap_err().into()), USAGE);
        }
    }
}
