//! The command line: running the recorder, which is what it does without a command, and looking after what it recorded.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::recorder::service;
use crate::config::store::store;
use crate::config::{self, ConfigError, Document, Environment};
use crate::store::Store;

mod keep;
mod look;

/// The exit code of wrong usage or configuration.
pub const USAGE: u8 = 64;
/// The exit code of everything else that failed.
pub const INTERNAL: u8 = 70;

/// Records the exchanges of a service: stands between its clients, itself and its upstreams.
///
/// Without a command it runs. Exit codes: 0, 64 usage or configuration, 70 internal.
#[derive(Debug, Parser)]
#[command(name = "shadow-recorder", version)]
pub struct Args {
    /// The configuration, shared by the programs of Shadow.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "shadow.toml",
        env = "SHADOW_CONFIG",
        global = true
    )]
    pub config: PathBuf,
    /// Verifies the configuration, the addresses and the spool, and exits.
    #[arg(long)]
    pub check: bool,
    /// Takes the listening sockets over from the recorder that runs with the same `hand_over`, which then finishes and ends. Where
    /// none runs, starts as usual.
    #[arg(long)]
    pub take_over: bool,
    /// What to do instead of running. Needs only the service's name and the store.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands beside running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what each start of each instance has stored: ranges, counts, losses, how far it is complete.
    Segments(look::Segments),
    /// Show recorded exchanges, as JSON lines or as HAR.
    Show(look::Show),
    /// Remove captures that are older than an age. Shows what would go, until told to delete.
    Expire(keep::Expire),
    /// Keep a time range from expiring, or no longer.
    #[command(subcommand)]
    Hold(keep::Hold),
}

/// What failed, with its exit code.
pub type Failure = (u8, anyhow::Error);

fn usage(what: impl Display) -> Failure {
    (USAGE, anyhow::anyhow!("{what}"))
}

fn internal(error: impl Into<anyhow::Error>) -> Failure {
    (INTERNAL, error.into())
}

impl Args {
    /// Returns the command, where there is one; what only belongs to running is wrong beside it.
    pub fn take_command(&mut self) -> Result<Option<Command>, Failure> {
        match self.command.take() {
            Some(_) if self.check || self.take_over => {
                Err(usage("--check and --take-over are for running, not for a command"))
            }
            command => Ok(command),
        }
    }
}

impl Command {
    /// Does it; returns the exit code.
    pub async fn run(self, config: &Path, environment: Environment) -> Result<u8, Failure> {
        let place = Place::load(config, environment).map_err(|error| (USAGE, error.into()))?;
        match self {
            Self::Segments(segments) => segments.run(&place).await,
            Self::Show(show) => show.run(&place).await,
            Self::Expire(expire) => expire.run(&place).await,
            Self::Hold(hold) => hold.run(&place).await,
        }
    }
}

/// Whose captures lie where: all that these commands need of the configuration.
struct Place {
    service: String,
    store: Store,
}

impl Place {
    fn load(path: &Path, environment: Environment) -> Result<Self, ConfigError> {
        let text = config::read(path)?;
        let document = Document::parse(path, &text, environment)?;
        let (service, store) = (service(&document), store(&document));
        document.finish()?;
        let absent = || ConfigError::Mistakes(vec!["  a section is incomplete".into()]);
        Ok(Self { service: service.ok_or_else(absent)?.name, store: store.ok_or_else(absent)? })
    }
}

/// Writes to standard output. Who reads no further has what they wanted: `false` then.
fn print(out: &mut impl Write, text: &str) -> Result<bool, Failure> {
    match out.write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(internal(error)),
    }
}

/// Says something beside the output. A standard error that is closed is no failure.
fn say(what: impl Display) {
    let _ = writeln!(io::stderr(), "shadow-recorder: {what}");
}

#[cfg(test)]
#[test]
fn verify_cli() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}
