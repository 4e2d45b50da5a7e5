//! `shadow-replayer`: parse, trace, execute, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use shadow_replayer::cli::{self, Args};

// A sixth of a run's processor time, the candidate's included, went into the allocator of glibc: exchanges are read on one thread, replayed on others and freed on a
// third.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            // clap's own 2 means "inconclusive" to a pipeline.
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(cli::USAGE) };
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SHADOW_LOG")
                .unwrap_or_else(|_| "warn".into()),
        )
        .init();
    match Box::pin(cli::execute(args)).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "shadow-replayer: {error:#}");
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
