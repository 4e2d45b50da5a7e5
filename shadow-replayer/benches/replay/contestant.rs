//! The contestants: the replayer with its recording, and oha, each beside the same candidate.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use tempfile::TempDir;

use crate::recording;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_shadow-replayer");
/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the benchmark runs.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: TempDir,
    oha: String,
}

/// A recording to be replayed.
#[derive(Debug)]
pub(crate) struct Recording {
    folder: PathBuf,
    exchanges: u64,
    calls: usize,
}

/// What one program reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) exchanges: u64,
    pub(crate) took: Duration,
    /// The most memory that it ever held.
    pub(crate) peak_bytes: u64,
}

impl Reached {
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.exchanges).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }
}

/// A process that ends with the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// Looks for what is needed.
    pub(crate) fn prepare(folder: TempDir) -> Result<Self> {
        let said = Command::new("oha").arg("--version").output();
        let said = said.context("oha is missing: benches/run installs it")?;
        Ok(Self { folder, oha: String::from_utf8_lossy(&said.stdout).trim().to_owned() })
    }

    /// Describes the machine and the version of what is compared.
    pub(crate) fn describe(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let (model, load) = (model.map_or("unknown", |(_, model)| model), read("/proc/loadavg"));
        format!(
            "CPU     {model}\ncores   {}; load average before: {}\nkernel  {}\noha     {}\n",
            cpuinfo.matches("processor\t").count(),
            load.split(' ').next().unwrap_or_default(),
            read("/proc/sys/kernel/osrelease").trim(),
            self.oha
        )
    }

    /// Makes a recording.
    pub(crate) fn record(&self, exchanges: u64, calls: usize) -> Result<Recording> {
        let folder = self.folder.path().join(format!("{exchanges}-{calls}"));
        recording::write(&folder.join("store"), exchanges, calls)?;
        Ok(Recording { folder, exchanges, calls })
    }
}

/// Replays a recording to its end; what did not match makes the measurement worthless.
pub(crate) fn replay(recording: &Recording, in_flight: usize) -> Result<Reached> {
    let upstream = if recording.calls > 0 { Some(free_address()?) } else { None };
    let (_candidate, address) = candidate(upstream)?;
    fs::write(recording.folder.join("shadow.toml"), configuration(in_flight, upstream))?;
    let (from, to) = (recording::start(), recording::start() + SignedDuration::from_hours(1));
    let said = recording.folder.join("said");
    let began = Instant::now();
    let child = Command::new(EXECUTABLE)
        .args(["--config", "shadow.toml", "run", "--build", "rc1"])
        .args(["--candidate", &format!("http://{address}")])
        .args(["--from", &from.to_string(), "--to", &to.to_string()])
        .current_dir(&recording.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said)?)
        .spawn()?;
    let mut replayer = Running(child);
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(peak(replayer.0.id()).unwrap_or(0));
        if let Some(status) = replayer.0.try_wait()? {
            break status;
        }
        std::thread::sleep(PAUSE);
    };
    let took = began.elapsed();
    let said = fs::read_to_string(said)?;
    let all = format!("{0} exchanges: {0} matched", recording.exchanges);
    ensure!(status.success() && said.contains(&all), "the replay is not sound: {said}");
    for written in ["journal", "answers", "attempts"] {
        // The next round writes anew, and the disk is not for ever.
        let _ = fs::remove_dir_all(recording.folder.join("store").join(written));
    }
    Ok(Reached { exchanges: recording.exchanges, took, peak_bytes })
}

/// Lets oha send so many requests to the same candidate.
pub(crate) fn oha(requests: u64, connections: usize) -> Result<Reached> {
    let (_candidate, address) = candidate(None)?;
    let body = r#"{"booking":1,"trip":"8f14e45f-ceea-467f-9538-000000000001","fare":{"amount":12.50,"currency":"USD"},"city":"sf"}"#;
    let began = Instant::now();
    let output = Command::new("oha")
        .args(["--no-tui", "--output-format", "json", "-m", "POST", "-T", "application/json"])
        .args(["-n", &requests.to_string(), "-c", &connections.to_string(), "-d", body])
        .arg(format!("http://{address}/bookings/1"))
        .output()?;
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value =
        serde_json::from_str(&said).with_context(|| format!("oha said: {said}"))?;
    let answered = report["statusCodeDistribution"]["200"].as_u64();
    ensure!(answered == Some(requests), "oha was not answered: {said}");
    Ok(Reached { exchanges: requests, took, peak_bytes: 0 })
}

/// Starts a candidate, which calls the upstream where one is given.
fn candidate(upstream: Option<SocketAddr>) -> Result<(Running, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["candidate", &address.to_string()]);
    if let Some(upstream) = upstream {
        command.args(["--upstream", &upstream.to_string()]);
    }
    let running = Running(command.stdin(Stdio::null()).spawn()?);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("the candidate does not listen on {address}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok((running, address))
}

/// Returns an address of the loopback interface on which nothing listens.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn configuration(in_flight: usize, upstream: Option<SocketAddr>) -> String {
    let upstream = upstream.map_or_else(String::new, |listen| {
        format!("[[upstream]]\nname = \"fx\"\nlisten = \"{listen}\"\nforward_to = \"http://fx.internal\"\n")
    });
    format!(
        r#"
[service]
name = "books"
[store]
directory = "store"
[[ledger]]
route = "POST /bookings/*"
transactions = "$.transactions[*]"
key = "$.id"
entries = "$.entries[*]"
line_of_business = {{ path = "$.lob", from = "transaction" }}
gl_account = "$.account"
currency = {{ value = "USD" }}
debit = "$.debit"
credit = "$.credit"
{upstream}
[replay]
in_flight = {in_flight}
"#
    )
}

/// Returns the most memory that a process ever held.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}
