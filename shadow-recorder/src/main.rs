//! `shadow-recorder`: parse, log, bind, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use shadow_recorder::cli::{Args, Command, Failure, INTERNAL, USAGE};
use shadow_recorder::config::process_environment;
use shadow_recorder::{Config, Passed, Recorder, check, log, runtime, stop_on_signal};
use tokio::runtime::Builder;

// A tenth less processor time per recorded exchange than with the allocator of glibc. Without huge pages, which double the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else opens a file or begins a thread.
    let passed = Passed::from_environment();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let log = log::init(process_environment);
    let code = run(args, passed.map_err(Into::into)).unwrap_or_else(|(code, error)| {
        log.say(&format!("shadow-recorder: {error:#}"));
        code
    });
    log.flush();
    ExitCode::from(code)
}

fn run(mut args: Args, passed: anyhow::Result<Passed>) -> Result<u8, Failure> {
    if let Some(command) = args.take_command()? {
        return look_after(command, &args);
    }
    let config = Config::load(&args.config, process_environment).map_err(|e| (USAGE, e.into()))?;
    let mut passed = passed.map_err(|e| (USAGE, e))?;
    if args.check {
        let findings = check(&config);
        let _ = write!(std::io::stdout(), "{findings}");
        return Ok(if findings.are_fatal() { USAGE } else { 0 });
    }
    if args.take_over && passed.is_empty() {
        passed = Passed::take_over(&config).map_err(|e| (USAGE, e.into()))?;
    }
    let runtime = runtime(&config).map_err(|e| (INTERNAL, e.into()))?;
    let outcome = runtime.block_on(serve(config, passed));
    // A disk that does not answer must not keep the process.
    runtime.shutdown_background();
    outcome
}

fn look_after(command: Command, args: &Args) -> Result<u8, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| (INTERNAL, e.into()))?;
    runtime.block_on(command.run(&args.config, process_environment))
}

async fn serve(config: Config, passed: Passed) -> Result<u8, Failure> {
    let shutdown = stop_on_signal().map_err(|e| (INTERNAL, e.into()))?;
    let recorder = Recorder::bind_with(config, passed).await.map_err(|e| (USAGE, e.into()))?;
    let summary = recorder.run(shutdown).await.map_err(|e| (INTERNAL, e.into()))?;
    tracing::info!(?summary, "stopped");
    summary.stopped_well().map(|()| 0).map_err(|e| (INTERNAL, e.into()))
}
