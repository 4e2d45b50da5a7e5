//! The recorder as a contestant: its configuration, what it says of itself, and what lies in its store afterwards. A proxy that
//! drops what it should record would be fast; so every request is accounted for from outside.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::{Machine, free_port};
use crate::process::{Process, pinned};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_shadow-recorder");
/// Segments are sealed, stored and committed all the time, so that their cost is in the figures.
const SEGMENT_AGE_MAX: &str = "1s";
/// Between two looks at the metrics, each of which costs the recorder some 0.1 ms.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    Off,
    Tenth,
    All,
}

/// Which keys this build of the recorder knows.
#[derive(Debug)]
pub(crate) struct Ability {
    threads: bool,
    tenth: bool,
    off: bool,
}

/// A running recorder.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) process: Process,
    pub(crate) recording: Recording,
    admin: SocketAddr,
    store: PathBuf,
}

/// Where exchanges went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) observed: u64,
    pub(crate) recorded: u64,
    pub(crate) sampled_out: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Recording {
    /// Returns the share of the exchanges that is to be recorded.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::Tenth => 0.1,
            Self::All => 1.0,
        }
    }

    fn keys(self) -> String {
        match self {
            Self::All => String::new(),
            _ => {
                format!("sampling_rate = \"{}\"\nsampling_key = \"the benchmark's\"", self.share())
            }
        }
    }
}

impl Ability {
    /// Asks the recorder which configurations it accepts.
    pub(crate) fn ask(folder: &Path) -> Result<Self> {
        let folder = folder.join("ability");
        fs::create_dir_all(&folder)?;
        let [listen, forward_to, admin, upstream] =
            [1, 2, 3, 4].map(|port| ([127, 0, 0, 1], port).into());
        let check = |keys: &str| -> Result<Output> {
            let file = folder.join("shadow.toml");
            fs::write(&file, configuration(keys, listen, forward_to, [admin, upstream]))?;
            Ok(Command::new(EXECUTABLE).arg("--check").arg("--config").arg(&file).output()?)
        };
        let plain = check("")?;
        let error = String::from_utf8_lossy(&plain.stderr);
        ensure!(plain.status.success(), "the benchmark's configuration is refused: {error}");
        let accepts = |keys: &str| -> Result<bool> { Ok(check(keys)?.status.success()) };
        Ok(Self {
            threads: accepts("threads = 1")?,
            tenth: accepts(&Recording::Tenth.keys())?,
            off: accepts(&Recording::Off.keys())?,
        })
    }

    /// Returns whether this build cannot record so much.
    pub(crate) fn lacks(&self, recording: Recording) -> bool {
        match recording {
            Recording::Off => !self.off,
            Recording::Tenth => !self.tenth,
            Recording::All => false,
        }
    }
}

impl Recorder {
    /// Starts a recorder on the proxy's core, its spool and store in `folder`.
    pub(crate) fn start(
        machine: &Machine,
        ability: &Ability,
        recording: Recording,
        folder: &Path,
        listen: SocketAddr,
        forward_to: SocketAddr,
    ) -> Result<Self> {
        let folder = folder.join(format!("recorder-{recording:?}-{}", listen.port()));
        fs::create_dir_all(&folder)?;
        let admin = free_port()?;
        let mut keys = recording.keys();
        if ability.threads {
            keys.push_str("\nthreads = 1");
        }
        let file = folder.join("shadow.toml");
        fs::write(&file, configuration(&keys, listen, forward_to, [admin, free_port()?]))?;
        let mut command = pinned(machine.proxy_core, EXECUTABLE);
        command.arg("--config").arg(&file);
        let log = folder.join("log");
        let mut process = Process::start("shadow-recorder", command, &log)?;
        process.listening(listen, &log)?;
        Ok(Self { process, recording, admin, store: folder.join("store") })
    }

    /// Returns what the recorder has counted so far.
    pub(crate) fn account(&self) -> Result<Account> {
        Ok(Account::of_metrics(&self.metrics()?))
    }

    /// Waits until everything observed so far is accounted for and lies in the store, so that work put off is measured as well.
    pub(crate) fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let counter =
            |text: &str, name: &str| total(text, &format!("shadow_recorder_segments_{name}_total"));
        let mut sealed_before = None;
        loop {
            let text = self.metrics()?;
            let balanced = Account::of_metrics(&text).is_balanced();
            let sealed = counter(&text, "sealed");
            let before = *sealed_before.get_or_insert(sealed);
            if !balanced {
                sealed_before = None;
            } else if counter(&text, "committed") > before {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the recorder does not come to rest: {text}");
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Stops the recorder and counts what lies in its store: the accounts of the manifests, and the lines of the segments.
    pub(crate) fn stop_and_count(self) -> Result<(Account, u64)> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the recorder ended with {status}");
        let mut account = Account::default();
        let mut lines = 0;
        for file in files(&self.store)? {
            let name = file.to_string_lossy();
            if name.ends_with(".manifest.json") {
                let manifest = serde_json::from_reader(BufReader::new(File::open(&file)?))?;
                account.add_manifest(&manifest).context("a manifest without its accounting")?;
            } else if name.ends_with(".ndjson.zst") {
                lines += exchange_lines(&file)?;
            }
        }
        Ok((account, lines))
    }

    fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Account {
    fn of_metrics(text: &str) -> Self {
        let exchanges =
            |name: &str| total(text, &format!("shadow_recorder_exchanges_{name}_total"));
        let dropped = text.lines().filter_map(|line| {
            let line = line.strip_prefix("shadow_recorder_exchanges_dropped_total{reason=\"")?;
            let (reason, count) = line.split_once("\"} ")?;
            Some((reason.to_owned(), count.parse().ok()?))
        });
        Self {
            observed: exchanges("observed"),
            recorded: exchanges("recorded"),
            sampled_out: exchanges("sampled_out"),
            dropped: dropped.collect(),
        }
    }

    fn add_manifest(&mut self, manifest: &serde_json::Value) -> Option<()> {
        for tally in manifest["strata"].as_object()?.values() {
            self.observed += tally["observed"].as_u64()?;
            self.recorded += tally["recorded"].as_u64()?;
            self.sampled_out += tally["sampled_out"].as_u64()?;
            for (reason, count) in tally["dropped"].as_object()? {
                *self.dropped.entry(reason.clone()).or_default() += count.as_u64()?;
            }
        }
        Some(())
    }

    /// Returns whether each exchange is in exactly one counter.
    pub(crate) fn is_balanced(&self) -> bool {
        self.observed == self.recorded + self.sampled_out + self.all_dropped()
    }

    /// Returns how many were dropped, for whatever reason.
    pub(crate) fn all_dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Describes the drops.
    pub(crate) fn drops(&self) -> String {
        let mut text = self.all_dropped().to_string();
        for (reason, count) in self.dropped.iter().filter(|(_, count)| **count > 0) {
            let _ = write!(text, ", {reason} {count}");
        }
        text
    }
}

/// Returns a configuration with one upstream: nobody calls it, but a call might come, and each exchange waits for it.
fn configuration(
    keys: &str,
    listen: SocketAddr,
    forward_to: SocketAddr,
    [admin, upstream]: [SocketAddr; 2],
) -> String {
    format!(
        "[service]\nname = \"bench\"\nbuild = \"1\"\n\
         [store]\ndirectory = \"store\"\n\
         [recorder]\nlisten = \"{listen}\"\nforward_to = \"http://{forward_to}\"\nadmin = \"{admin}\"\n\
         spool = \"spool\"\nsegment_age_max = \"{SEGMENT_AGE_MAX}\"\n{keys}\n\
         [[upstream]]\nname = \"fx\"\nlisten = \"{upstream}\"\nforward_to = \"http://{forward_to}\"\n\
         [[ledger]]\nroute = \"* /**\"\nno_entries = true\n"
    )
}

/// Returns the value of a metric without labels; 0 where this build does not have it.
fn total(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn exchange_lines(segment: &Path) -> Result<u64> {
    let mut lines = BufReader::with_capacity(1 << 20, zstd::Decoder::new(File::open(segment)?)?);
    let mut line = Vec::new();
    let mut count = 0;
    while lines.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            bail!("{} ends within a line", segment.display());
        }
        count += u64::from(line.starts_with(b"{\"exchange\""));
        line.clear();
    }
    Ok(count)
}
