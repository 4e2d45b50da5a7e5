//! The measurements, one function for each: a load, what it cost, and whether every answer and every record was right.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::contestant::{Contestant, Kind};
use crate::machine::{Machine, free_port};
use crate::open_loop::{self, Paced, Schedule};
use crate::origin;
use crate::process::{Memory, Usage};
use crate::recorder::{Ability, Account, Recorder, Recording};
use crate::streams::{self, Direction};
use crate::wrk;

/// What is known of one contestant.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) saturation: Vec<Saturation>,
    pub(crate) at_rate: Vec<AtRate>,
    /// Of a recorder: where the exchanges went.
    pub(crate) kept: Option<Kept>,
    /// Requests that were answered, those of the warm-up included.
    pub(crate) requests: u64,
    /// Requests that may have been on their way when a load ended.
    pub(crate) cut_off: u64,
}

/// One round at saturation.
#[derive(Debug)]
pub(crate) struct Saturation {
    pub(crate) per_second: u32,
    /// Of all the proxy's processes and threads, per request.
    pub(crate) processor_us: f64,
    pub(crate) threads_us: BTreeMap<String, f64>,
    /// Of its core while the load lasted. Well below 1, something else was the limit.
    pub(crate) core_share: f64,
}

/// One round at the constant rate.
#[derive(Debug)]
pub(crate) struct AtRate {
    pub(crate) processor_us: f64,
    pub(crate) paced: Paced,
}

/// Where a recorder's exchanges went.
#[derive(Debug)]
pub(crate) struct Kept {
    recording: Recording,
    account: Account,
    lines: u64,
}

/// A recorder's memory under load.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) memory: Memory,
}

/// A large body that passed.
#[derive(Debug)]
pub(crate) struct Bodies {
    direction: Direction,
    chunked: bool,
    bytes: u64,
    took: Duration,
    before: Memory,
    after: Memory,
}

impl AtRate {
    /// Returns whether every request had an answer.
    pub(crate) fn kept(&self) -> bool {
        self.paced.unanswered == 0
    }
}

impl Kept {
    /// Returns how far the recorded share is from what was asked: in standard errors of a sample, in percent of a whole.
    pub(crate) fn share_off(&self) -> f64 {
        let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let (observed, asked) = (float(self.account.observed), self.recording.share());
        let share = float(self.account.recorded) / observed;
        match self.recording {
            Recording::Tenth => (share - asked).abs() / (asked * (1.0 - asked) / observed).sqrt(),
            Recording::Off | Recording::All => (share - asked).abs() * 100.0,
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { observed, recorded, sampled_out, .. } = &self.account;
        let (drops, lines) = (self.account.drops(), self.lines);
        write!(
            f,
            "store: observed {observed} = recorded {recorded} + sampled out {sampled_out} + dropped {drops}; {lines} lines"
        )
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { peak_bytes, now_bytes } = self.memory;
        let (name, connections) = (self.kind.name(), self.connections);
        let (peak, now) = (peak_bytes >> 10, now_bytes >> 10);
        write!(f, "{name} with {connections} connections: {peak} KiB at most, {now} KiB in the end")
    }
}

impl Bodies {
    /// Returns by how much the recorder's memory grew at most.
    pub(crate) fn grown_bytes(&self) -> u64 {
        self.after.peak_bytes - self.before.peak_bytes
    }
}

impl fmt::Display for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let framing = if self.chunked { "chunked" } else { "Content-Length" };
        let mib = f64::from(u32::try_from(self.bytes >> 20).unwrap_or(u32::MAX));
        let (before, after) = (self.before.peak_bytes >> 10, self.after.peak_bytes >> 10);
        let seconds = self.took.as_secs_f64();
        let rate = mib / seconds;
        write!(
            f,
            "{:?} of {mib} MiB, {framing}: {seconds:.1} s, {rate:.0} MiB/s; memory {before} KiB before, {after} KiB at most",
            self.direction
        )
    }
}

/// Asks once and compares the whole answer.
pub(crate) fn verify(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    ensure!(head.starts_with("HTTP/1.1 200 ") && body == origin::body(), "a wrong answer: {text}");
    Ok(())
}

/// Loads a contestant as far as it goes.
pub(crate) fn saturation(
    machine: &Machine,
    contestant: &Contestant,
    connections: usize,
    seconds: u64,
) -> Result<(Saturation, u64)> {
    let before = contestant.usage()?;
    let begun = Instant::now();
    let saturated = wrk::saturate(machine.load_core, contestant.address, connections, seconds)?;
    let (during, took) = (contestant.usage()?.since(&before), begun.elapsed());
    contestant.settle()?;
    let used = contestant.usage()?.since(&before);
    let threads = used.threads.iter();
    let threads_us = threads.map(|(name, time)| (name.clone(), us(*time, saturated.requests)));
    let saturation = Saturation {
        per_second: saturated.per_second,
        processor_us: per_request(&used, saturated.requests),
        threads_us: threads_us.collect(),
        core_share: during.total.as_secs_f64() / took.as_secs_f64(),
    };
    Ok((saturation, saturated.requests))
}

/// Loads a contestant at a constant rate.
pub(crate) fn at_rate(
    machine: &Machine,
    contestant: &Contestant,
    schedule: &Schedule,
) -> Result<AtRate> {
    let before = contestant.usage()?;
    let paced = open_loop::run_pinned(machine.load_core, schedule)?;
    contestant.settle()?;
    let used = contestant.usage()?.since(&before);
    Ok(AtRate { processor_us: per_request(&used, paced.requests), paced })
}

/// Stops a recorder and holds its counters, its manifests and its segments against the requests that were answered.
pub(crate) fn kept(recorder: Recorder, requests: u64, cut_off: u64) -> Result<Kept> {
    recorder.settle()?;
    let (recording, counted) = (recorder.recording, recorder.account()?);
    let (account, lines) = recorder.stop_and_count()?;
    ensure!(account == counted, "the manifests say {account:?}, the metrics {counted:?}");
    ensure!(account.is_balanced(), "{account:?} does not add up");
    ensure!(lines == account.recorded, "{lines} lines, but {} recorded", account.recorded);
    // Requests that were on their way when a load ended are observed, though nobody waited for their answers.
    let fits = (requests..=requests + cut_off).contains(&account.observed);
    ensure!(fits, "{} observed of {requests} answered and {cut_off} cut off", account.observed);
    Ok(Kept { recording, account, lines })
}

/// Loads a new recorder over many connections and asks for its memory while they are open.
pub(crate) fn memory(
    machine: &Machine,
    ability: &Ability,
    folder: &Path,
    origin: SocketAddr,
    connections: usize,
    seconds: u64,
) -> Result<Held> {
    let tenth = !ability.lacks(Recording::Tenth);
    let (kind, recording) = if tenth {
        (Kind::RecorderTenth, Recording::Tenth)
    } else {
        (Kind::RecorderAll, Recording::All)
    };
    let address = free_port()?;
    let recorder = Recorder::start(machine, ability, recording, folder, address, origin)?;
    wrk::saturate(machine.load_core, address, connections, seconds)?;
    Ok(Held { kind, connections, memory: recorder.process.memory()? })
}

/// Passes large bodies through a new recorder that records everything.
pub(crate) fn bodies(
    machine: &Machine,
    ability: &Ability,
    folder: &Path,
    bytes: u64,
) -> Result<Vec<Bodies>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let far_end = listener.local_addr()?;
    streams::serve_in_background(listener)?;
    let mut passed = Vec::new();
    for direction in [Direction::Upload, Direction::Download] {
        for chunked in [false, true] {
            let address = free_port()?;
            let recorder =
                Recorder::start(machine, ability, Recording::All, folder, address, far_end)?;
            streams::pass(address, direction, chunked, 1 << 10)?;
            let before = recorder.process.memory()?;
            let took = streams::pass(address, direction, chunked, bytes)?;
            let after = recorder.process.memory()?;
            passed.push(Bodies { direction, chunked, bytes, took, before, after });
        }
    }
    Ok(passed)
}

fn per_request(used: &Usage, requests: u64) -> f64 {
    us(used.total, requests)
}

fn us(time: Duration, requests: u64) -> f64 {
    let requests = f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
    time.as_secs_f64() * 1e6 / requests
}
