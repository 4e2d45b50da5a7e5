//! How fast a run is, measured side by side in one run: a recording replayed, compared and written, without upstream calls and with two
//! of them, beside the load generator `oha`, which only sends; all against the same candidate, which answers at once.
//!
//! `benches/run` installs what is needed and runs it; `cargo bench -p shadow-replayer --bench replay -- --help` shows the options.
//!
//! What the figures are: exchanges of the recording over the time of the whole program, planning and publishing included. The candidate
//! is a process of its own and shares the machine's cores with what asks it, for `oha` as for the replayer. Its upstream calls go to the
//! replayer's stub. Memory is the most that the process ever held, as the operating system counts it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod recording;
mod candidate;
mod contestant;
mod report;

use contestant::Machine;
use report::Report;

/// Compares the replayer with oha.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// About a minute instead of ten: fewer exchanges and rounds.
    #[arg(long, env = "SHADOW_BENCH_QUICK")]
    quick: bool,
    /// Rounds of each part; the best counts, since whatever else runs on the machine only takes away.
    #[arg(long, env = "SHADOW_BENCH_ROUNDS")]
    rounds: Option<usize>,
    /// Exchanges of one round.
    #[arg(long, env = "SHADOW_BENCH_EXCHANGES")]
    exchanges: Option<u64>,
    /// Exchanges in flight, and connections of oha.
    #[arg(long, env = "SHADOW_BENCH_IN_FLIGHT", default_value_t = 64)]
    in_flight: usize,
    /// Exchanges of the long run whose memory is compared with that of 100 thousand.
    #[arg(long, env = "SHADOW_BENCH_LONG")]
    long: Option<u64>,
    /// Leaves out the long run.
    #[arg(long, env = "SHADOW_BENCH_NO_MEMORY")]
    no_memory: bool,
}

/// What the benchmark starts itself as.
#[derive(Debug, clap::Subcommand)]
#[command(hide = true)]
enum Role {
    Candidate(candidate::Listen),
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn exchanges(&self) -> u64 {
        self.exchanges.unwrap_or(if self.quick { 100_000 } else { 300_000 })
    }

    fn long(&self) -> u64 {
        self.long.unwrap_or(if self.quick { 500_000 } else { 5_000_000 })
    }
}

fn main() -> ExitCode {
    // Without these it was started as a test, which must put no load on the machine.
    if !std::env::args().skip(1).any(|word| ["--bench", "candidate"].contains(&&*word)) {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let done = match &args.role {
        Some(Role::Candidate(listen)) => candidate::run(listen),
        None => run(&args.options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn run(options: &Options) -> Result<()> {
    // Beside the build, where the disk is real; the usual temporary folder may be memory.
    let machine = Machine::prepare(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)?;
    say(&machine.describe())?;
    let mut report = Report::default();
    let (plain, calling) =
        (machine.record(options.exchanges(), 0)?, machine.record(options.exchanges() / 2, 2)?);
    for _ in 0..options.rounds() {
        report.plain.push(contestant::replay(&plain, options.in_flight)?);
        report.calling.push(contestant::replay(&calling, options.in_flight)?);
        report.oha.push(contestant::oha(options.exchanges(), options.in_flight)?);
    }
    say(&report.speed())?;
    if !options.no_memory {
        report.short = Some(contestant::replay(&machine.record(100_000, 0)?, options.in_flight)?);
        report.long =
            Some(contestant::replay(&machine.record(options.long(), 0)?, options.in_flight)?);
        say(&report.memory())?;
    }
    say(&report.targets())
}
