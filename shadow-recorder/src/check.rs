//! `--check`: whether a recorder with this configuration could start here and now, without starting one.

use std::fmt;
use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use tokio::runtime::Builder;

use crate::clock;
use crate::config::sidecar::Config;
use crate::listeners::{self, ListenError, Place};
use crate::lock::Lock;

/// What was found, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<(Severity, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Ok,
    Warning,
    Error,
}

impl Findings {
    /// Returns whether a recorder could not start.
    pub fn are_fatal(&self) -> bool {
        self.0.iter().any(|(severity, _)| *severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, what: String) {
        self.0.push((severity, what));
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (severity, what) in &self.0 {
            let severity = match severity {
                Severity::Ok => "ok",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            writeln!(f, "{severity}: {what}")?;
        }
        Ok(())
    }
}

/// Tries what a start does: binds the addresses, locks the spool, looks the hosts up. Leaves nothing behind.
pub fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let spool = &config.recorder.spool;
    let holders = Lock::holders(spool).unwrap_or_default();
    for place in listeners::places(config) {
        check_address(&place, &holders, &mut findings);
    }
    match try_spool(spool) {
        Ok(()) => findings.add(
            Severity::Ok,
            format!("the spool {} can be written and locked", spool.display()),
        ),
        Err(error) => findings.add(
            Severity::Error,
            format!("the spool {} cannot be used: {error}: set `spool` in [recorder] to a folder that can be written", spool.display()),
        ),
    }
    for holder in &holders {
        let what = format!("the spool is in use by a recorder that runs ({})", holder.trim_end());
        findings.add(Severity::Ok, what + "; each keeps to its own files");
    }
    check_store(config, &mut findings);
    let origins = config.upstreams.iter().map(|upstream| (&*upstream.name, &upstream.forward_to));
    for (name, origin) in
        std::iter::once(("the service", &config.recorder.forward_to)).chain(origins)
    {
        let (host, port) = origin.host_port();
        match (&*host, port).to_socket_addrs() {
            Ok(_) => findings.add(Severity::Ok, format!("{name}: {host} has an address")),
            // It may have one where the recorder will run, or later.
            Err(error) => {
                findings.add(Severity::Warning, format!("{name}: {host} has no address: {error}"));
            }
        }
    }
    findings
}

/// Asks a bucket whether it answers. A recorder starts without it, and stores later; who may write need not be allowed to list.
fn check_store(config: &Config, findings: &mut Findings) {
    let (store, service) = (&config.store, &config.service);
    // A directory is made when it is needed.
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    if store.prefix().is_none() {
        return;
    }
    let at = store.location("");
    match runtime.block_on(store.folders(&format!("captures/{service}/"))) {
        Ok(_) => findings.add(Severity::Ok, format!("the store {at} answers")),
        Err(error) => {
            let error = anyhow::Error::new(error);
            findings.add(Severity::Warning, format!("the store {at}: {error:#}"));
        }
    }
}

fn check_address(place: &Place, holders: &[String], findings: &mut Findings) {
    let Place { name, key, address, .. } = place;
    // Not listening, so that no client takes it for the real one.
    match listeners::bind(*address) {
        Ok(_) => findings.add(Severity::Ok, format!("{name}: {address} is free")),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            let listens = |holder: &&String| {
                holder.split_whitespace().any(|word| word == address.to_string())
            };
            match holders.iter().find(listens) {
                Some(holder) => findings.add(
                    Severity::Ok,
                    format!("{name}: {address} is in use by the recorder that runs with this spool ({})", holder.trim_end()),
                ),
                None => findings.add(
                    Severity::Error,
                    format!("{name}: {address} is in use by another program, unless it is the one that will pass the socket: set `{key}` to an address that is free"),
                ),
            }
        }
        Err(source) => {
            let error = ListenError::Bind { address: *address, key: key.clone(), source };
            findings.add(Severity::Error, format!("{:#}", anyhow::Error::new(error)));
        }
    }
}

/// Takes a lock in the spool as a start would, and removes it and the folders it needed.
fn try_spool(spool: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        spool.ancestors().take_while(|folder| !folder.exists()).map(Into::into).collect();
    let tried = fs::create_dir_all(spool)
        .and_then(|()| Lock::create(spool, &clock::boot_id(), "check\n").map(drop));
    for folder in missing {
        let _ = fs::remove_dir(folder);
    }
    tried
}
