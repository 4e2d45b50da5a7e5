//! `shadow-recorder`: parse, log, bind, run, exit code.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shadow_recorder::config::process_environment;
use shadow_recorder::{Config, Recorder, log, stop_on_signal};

const USAGE: u8 = 64;
const INTERNAL: u8 = 70;

/// Records the exchanges of a service: stands between its clients, itself and its upstreams.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration, shared by the programs of Shadow.
    #[arg(long, value_name = "FILE", default_value = "shadow.toml", env = "SHADOW_CONFIG")]
    config: PathBuf,
    /// Verifies the configuration and exits.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    log::init(process_environment);
    run(&args).unwrap_or_else(|(code, error)| {
        let _ = writeln!(std::io::stderr(), "shadow-recorder: {error:#}");
        ExitCode::from(code)
    })
}

#[tokio::main]
async fn run(args: &Args) -> Result<ExitCode, (u8, anyhow::Error)> {
    let usage = |error| (USAGE, error);
    let internal = |error| (INTERNAL, error);
    let config = Config::load(&args.config, process_environment).map_err(|e| usage(e.into()))?;
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    let shutdown = stop_on_signal().map_err(|e| internal(e.into()))?;
    let recorder = Recorder::bind(config).await.map_err(|e| usage(e.into()))?;
    let summary = recorder.run(shutdown).await.map_err(|e| internal(e.into()))?;
    tracing::info!(?summary, "stopped");
    if !summary.is_clean() {
        let left = summary.segments_left;
        return Err(internal(anyhow::anyhow!(
            "{left} segments are left in the spool: the next start stores them"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[test]
fn verify_cli() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}
