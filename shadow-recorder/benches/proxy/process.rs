//! A program under measurement: pinned to a core, in a process group of its own, and what the operating system knows of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Between two looks at what has no event to wait for.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A running program with all processes that it starts.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    group: Pid,
}

/// Processor time of a process group since its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Of all processes and threads, ended ones included.
    pub(crate) total: Duration,
    /// Of the threads that live, by thread name.
    pub(crate) threads: BTreeMap<String, Duration>,
}

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The most that it ever held.
    pub(crate) peak_bytes: u64,
    /// What it holds.
    pub(crate) now_bytes: u64,
}

/// Returns a command that runs on one core only, and dies with this program.
pub(crate) fn pinned(core: usize, program: impl Into<OsString>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &core.to_string()]);
    command.arg(program.into());
    command
}

impl Process {
    /// Starts `command` in a process group of its own; what it prints goes to the file `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).context("create a log")?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let group = Pid::from_child(&child);
        Ok(Self { name: name.into(), child, group })
    }

    /// Waits until the program listens on `address`.
    pub(crate) fn listening(&mut self, address: std::net::SocketAddr, log: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{} does not listen on {address}: {said}", self.name);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Returns the processor time of the whole group.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            // A process may end while it is looked at; its time is then its parent's.
            let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
            let Some(stat) = Stat::parse(&stat) else { continue };
            if stat.group != self.group.as_raw_pid() {
                continue;
            }
            let threads = live_threads(&path);
            let live: Duration = threads.iter().map(|(_, time)| *time).sum();
            // The scheduler's sum is exact but forgets threads that ended; the other remembers them, rounded down to 10 ms.
            usage.total += live.max(stat.time) + stat.waited_for;
            for (name, time) in threads {
                *usage.threads.entry(name).or_default() += time;
            }
        }
        Ok(usage)
    }

    /// Returns the memory of the program itself.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.group.as_raw_pid()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes =
                line.and_then(|line| line.split_whitespace().next()).context("status")?;
            Ok(kibibytes.parse::<u64>()? << 10)
        };
        Ok(Memory { peak_bytes: field("VmHWM:")?, now_bytes: field("VmRSS:")? })
    }

    /// Asks the program to end and waits for it.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        kill_process_group(self.group, Signal::TERM).context("stop")?;
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} does not stop", self.name);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where the group has ended, which is what is wanted.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Usage {
    /// Returns what was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let threads = self.threads.iter().map(|(name, time)| {
            let earlier = before.threads.get(name).copied().unwrap_or_default();
            (name.clone(), time.saturating_sub(earlier))
        });
        Self { total: self.total.saturating_sub(before.total), threads: threads.collect() }
    }
}

/// What is read of `/proc/PID/stat`.
struct Stat {
    group: i32,
    time: Duration,
    waited_for: Duration,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field, a name in brackets, may contain anything.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let time = |user: usize, system: usize| {
            let micros = 1_000_000 / rustix::param::clock_ticks_per_second();
            Some(Duration::from_micros((ticks(user)? + ticks(system)?) * micros))
        };
        Some(Self {
            group: fields.get(2)?.parse().ok()?,
            time: time(11, 12)?,
            waited_for: time(13, 14)?,
        })
    }
}

fn live_threads(process: &Path) -> Vec<(String, Duration)> {
    let Ok(tasks) = fs::read_dir(process.join("task")) else { return Vec::new() };
    let thread = |path: std::path::PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let schedule = fs::read_to_string(path.join("schedstat")).ok()?;
        let nanoseconds = schedule.split(' ').next()?.parse().ok()?;
        Some((name.trim_end().to_owned(), Duration::from_nanos(nanoseconds)))
    };
    tasks.flatten().filter_map(|task| thread(task.path())).collect()
}
