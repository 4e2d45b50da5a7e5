//! The contestants: each proxy, configured for what it does fastest, before the same origin.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::machine::{Machine, free_port};
use crate::origin;
use crate::process::{Process, Usage, pinned};
use crate::recorder::{Ability, Recorder, Recording};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// nginx: `proxy_pass` with kept connections, one worker, no access log.
    Nginx,
    /// Envoy: plain HTTP proxying, one worker, no access log.
    Envoy,
    /// hyper alone.
    BareHyper,
    /// The recorder, recording nothing.
    RecorderOff,
    /// The recorder, recording a tenth.
    RecorderTenth,
    /// The recorder, recording everything.
    RecorderAll,
}

impl Kind {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 7] = [
        Self::Direct,
        Self::Nginx,
        Self::Envoy,
        Self::BareHyper,
        Self::RecorderOff,
        Self::RecorderTenth,
        Self::RecorderAll,
    ];

    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::BareHyper => "bare hyper",
            Self::RecorderOff => "recorder off",
            Self::RecorderTenth => "recorder 10 %",
            Self::RecorderAll => "recorder 100 %",
        }
    }
}

/// A running proxy, or the way around all of them.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Nothing,
    Proxy(Process),
    Recorder(Box<Recorder>),
}

impl Contestant {
    /// Starts a proxy before `origin`; `None`, with the reason told, where there is no such proxy.
    pub(crate) fn start(
        kind: Kind,
        machine: &Machine,
        ability: &Ability,
        folder: &Path,
        origin: SocketAddr,
    ) -> Result<Option<Self>> {
        let address = if kind == Kind::Direct { origin } else { free_port()? };
        let recorder = |recording| -> Result<Option<Running>> {
            if ability.lacks(recording) {
                return Ok(None);
            }
            let started = Recorder::start(machine, ability, recording, folder, address, origin)?;
            Ok(Some(Running::Recorder(Box::new(started))))
        };
        let running = match kind {
            Kind::Direct => Some(Running::Nothing),
            Kind::Nginx => Some(Running::Proxy(nginx(machine, folder, address, origin)?)),
            Kind::Envoy => envoy(machine, folder, address, origin)?.map(Running::Proxy),
            Kind::BareHyper => Some(Running::Proxy(bare_hyper(machine, folder, address, origin)?)),
            Kind::RecorderOff => recorder(Recording::Off)?,
            Kind::RecorderTenth => recorder(Recording::Tenth)?,
            Kind::RecorderAll => recorder(Recording::All)?,
        };
        Ok(running.map(|running| Self { kind, address, running }))
    }

    /// Returns the processor time of the proxy since its start.
    pub(crate) fn usage(&self) -> Result<Usage> {
        match &self.running {
            Running::Nothing => Ok(Usage::default()),
            Running::Proxy(process) => process.usage(),
            Running::Recorder(recorder) => recorder.process.usage(),
        }
    }

    /// Waits until the proxy has done what its requests left to be done.
    pub(crate) fn settle(&self) -> Result<()> {
        match &self.running {
            Running::Recorder(recorder) => recorder.settle(),
            Running::Nothing | Running::Proxy(_) => Ok(()),
        }
    }

    /// Returns the recorder, if it is one.
    pub(crate) fn into_recorder(self) -> Option<Recorder> {
        match self.running {
            Running::Recorder(recorder) => Some(*recorder),
            _ => None,
        }
    }
}

fn nginx(
    machine: &Machine,
    folder: &Path,
    address: SocketAddr,
    origin: SocketAddr,
) -> Result<Process> {
    let server = format!(
        "upstream origin {{ server {origin}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 600s; }}\n\
         server {{ listen {address} backlog=4096; location / {{ proxy_pass http://origin; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }}"
    );
    origin::nginx(machine.proxy_core, "nginx", folder, &server, address)
}

fn bare_hyper(
    machine: &Machine,
    folder: &Path,
    address: SocketAddr,
    origin: SocketAddr,
) -> Result<Process> {
    let mut command = pinned(machine.proxy_core, std::env::current_exe()?);
    command.args(["bare-hyper", "--listen", &address.to_string(), "--to", &origin.to_string()]);
    let log = folder.join("bare-hyper.log");
    let mut process = Process::start("bare hyper", command, &log)?;
    process.listening(address, &log)?;
    Ok(process)
}

fn envoy(
    machine: &Machine,
    folder: &Path,
    address: SocketAddr,
    origin: SocketAddr,
) -> Result<Option<Process>> {
    let Some(executable) = &machine.envoy else { return Ok(None) };
    let file = folder.join("envoy.yaml");
    let configuration = include_str!("envoy.yaml")
        .replace("LISTEN_PORT", &address.port().to_string())
        .replace("ORIGIN_PORT", &origin.port().to_string());
    std::fs::write(&file, configuration).context("write envoy.yaml")?;
    let mut command = pinned(machine.proxy_core, executable);
    command.arg("-c").arg(&file);
    command.args(["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]);
    let log = folder.join("envoy.log");
    let mut process = Process::start("Envoy", command, &log)?;
    process.listening(address, &log)?;
    Ok(Some(process))
}
