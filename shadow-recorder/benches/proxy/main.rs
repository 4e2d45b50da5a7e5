//! The data path's cost, measured side by side in one run: nginx, Envoy, hyper alone and the recorder before the same origin,
//! under the same load, each on one and the same core, in interleaved rounds.
//!
//! `benches/run` installs what is needed and runs it; `cargo bench -p shadow-recorder --bench proxy -- --help` shows the options.
//!
//! What the figures are: processor time is the operating system's, of all processes and threads of a proxy, until it has
//! finished what the load left to be done. The origin and the load share the other core, for every contestant alike, and take
//! their part in every latency. Ratios are taken within a round, because what else runs on the machine changes between rounds.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod machine;
mod process;
mod origin;
mod contestant;
mod bare_hyper;
mod recorder;
mod wrk;
mod open_loop;
mod streams;
mod measure;
mod rounds;
mod report;

use contestant::Kind;
use machine::Machine;
use open_loop::Schedule;
use recorder::Ability;
use report::Report;
use rounds::Rounds;

/// Connections of the memory measurement.
const MANY_CONNECTIONS: usize = 256;

/// Compares the recorder with nginx, Envoy and hyper alone.
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
    /// Under a minute instead of some: fewer and shorter rounds, smaller bodies.
    #[arg(long, env = "SHADOW_BENCH_QUICK")]
    quick: bool,
    /// Rounds of each part.
    #[arg(long, env = "SHADOW_BENCH_ROUNDS")]
    rounds: Option<usize>,
    /// Seconds of load per contestant and round.
    #[arg(long, env = "SHADOW_BENCH_SECONDS")]
    seconds: Option<u64>,
    /// Connections that the clients keep alive.
    #[arg(long, env = "SHADOW_BENCH_CONNECTIONS", default_value_t = 64)]
    connections: usize,
    /// Requests per second of the constant rate; otherwise half of what nginx reached.
    #[arg(long, env = "SHADOW_BENCH_RATE")]
    rate: Option<u64>,
    /// Measures these only.
    #[arg(long, env = "SHADOW_BENCH_ONLY", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Leaves out the memory measurements.
    #[arg(long, env = "SHADOW_BENCH_NO_MEMORY")]
    no_memory: bool,
    /// The length of the large bodies.
    #[arg(long, env = "SHADOW_BENCH_BODY_GIB")]
    body_gib: Option<u64>,
}

/// What the benchmark starts itself as, so that it can be pinned and measured like the others.
#[derive(Debug, clap::Subcommand)]
#[command(hide = true)]
enum Role {
    BareHyper(bare_hyper::Route),
    OpenLoop(Schedule),
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn body_bytes(&self) -> u64 {
        self.body_gib.unwrap_or(if self.quick { 1 } else { 10 }) << 30
    }

    fn includes(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }
}

fn main() -> ExitCode {
    // Without these it was started as a test, which must put no load on the machine.
    let asked = std::env::args()
        .skip(1)
        .any(|word| ["--bench", "bare-hyper", "open-loop"].contains(&&*word));
    if !asked {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let done = match &args.role {
        Some(Role::BareHyper(route)) => bare_hyper::run(route),
        Some(Role::OpenLoop(schedule)) => open_loop::run(schedule)
            .and_then(|paced| Ok(serde_json::to_writer(io::stdout(), &paced)?)),
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
    let machine = Machine::look()?;
    say(&machine.describe())?;
    // Beside the build, where the disk is real; the usual temporary folder may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let ability = Ability::ask(folder.path())?;
    let (_origin, address) = origin::start(&machine, folder.path())?;
    let mut report = Report::default();
    let mut rounds = Rounds::begin(options, &machine, &ability, folder.path(), address)?;
    rounds.saturate(&mut report)?;
    say(&report.saturation())?;
    rounds.pace(&mut report)?;
    say(&report.at_rate())?;
    rounds.end(&mut report)?;
    say(&report.recorders())?;
    if !options.no_memory {
        let seconds = options.seconds();
        let (folder, connections) = (folder.path(), MANY_CONNECTIONS);
        let held = measure::memory(&machine, &ability, folder, address, connections, seconds)?;
        report.held = Some(held);
        report.bodies = measure::bodies(&machine, &ability, folder, options.body_bytes())?;
        say(&report.memory())?;
    }
    say(&report.targets())
}
