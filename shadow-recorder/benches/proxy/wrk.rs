//! Saturation: wrk sends on every connection as soon as the answer before has come.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::process::pinned;

/// What wrk saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saturated {
    pub(crate) requests: u64,
    pub(crate) per_second: u32,
}

/// Loads `address` with `connections` for `seconds`; answers other than 2xx and broken connections are errors.
pub(crate) fn saturate(
    core: usize,
    address: SocketAddr,
    connections: usize,
    seconds: u64,
) -> Result<Saturated> {
    let output = pinned(core, "wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")])
        .arg(format!("http://{address}/"))
        .output()
        .context("run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("wrk said: {text}"))
}

fn parse(text: &str) -> Result<Saturated> {
    for line in text.lines().map(str::trim) {
        let bad = line.starts_with("Socket errors:") || line.starts_with("Non-2xx");
        ensure!(!bad, "wrong answers: {line}");
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(Saturated {
        requests: requests.context("no count")?.0.parse()?,
        per_second: rate
            .and_then(|rate| rate.split('.').next())
            .context("no rate")?
            .trim()
            .parse()?,
    })
}
