//! The origin: nginx, which answers every request with the same JSON from memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::machine::{Machine, free_port};
use crate::process::{Process, pinned};

/// The length of the body.
const BODY_BYTES: usize = 1 << 10;
const ENTRY: &str =
    r#"{"line_of_business":"Rides","account":"4000","debit":"12.50","currency":"USD"},"#;

/// Returns the body of every answer: 1 KiB of JSON.
pub(crate) fn body() -> String {
    let (begin, end) = (r#"{"entries":["#, r#"{}],"padding":""}"#);
    let entries = (BODY_BYTES - begin.len() - end.len()) / ENTRY.len();
    let mut body = format!("{begin}{}{end}", ENTRY.repeat(entries));
    let padding = "0".repeat(BODY_BYTES - body.len());
    body.insert_str(body.len() - 2, &padding);
    body
}

/// Starts nginx as the origin, on the core of the load.
pub(crate) fn start(machine: &Machine, folder: &Path) -> Result<(Process, SocketAddr)> {
    let address = free_port()?;
    let server = format!(
        "server {{ listen {address} backlog=4096; location / {{ return 200 '{}'; }} }}",
        body()
    );
    let process = nginx(machine.load_core, "origin", folder, &server, address)?;
    Ok((process, address))
}

/// Starts an nginx with one worker, no logs, and connections that live as long as the benchmark.
pub(crate) fn nginx(
    core: usize,
    name: &str,
    folder: &Path,
    http: &str,
    address: SocketAddr,
) -> Result<Process> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind}; "))
        .concat();
    let configuration = format!(
        "worker_processes 1; daemon off; pid {path}/pid; error_log {path}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; default_type application/json; tcp_nodelay on;\n\
         keepalive_requests 1000000000; keepalive_timeout 600s; {temporary}\n{http} }}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration).context("write nginx.conf")?;
    let log = folder.join("log");
    let mut command: Command = pinned(core, "nginx");
    command.arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&file);
    let mut process = Process::start(name, command, &log)?;
    process.listening(address, &log)?;
    Ok(process)
}
