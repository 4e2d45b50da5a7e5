//! Real processes on free ports of the loopback, in a folder of their own: what a test needs to play production.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use shadow_analyzer::verdict::Verdict;
use tempfile::TempDir;

use crate::http::{Context, ask, client};

/// A program that a test started. It is ended by its id when the test ends, however it ends.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(program: &Path, arguments: &[&str], folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join(format!("{}.log", unique()))).unwrap();
        let name = format!("{} {}", program.display(), arguments.join(" "));
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name }
    }

    /// Asks the program to end by SIGTERM; it must do so successfully within the time that a pod has.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{} ended with {status}", self.name);
                return;
            }
            assert!(Instant::now() < deadline, "{} did not end", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns a built binary of the workspace. They lie beside the analyzer's.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_shadow-analyzer")).with_file_name(name);
    assert!(
        path.exists(),
        "{} is not built: run tests/run, or cargo build --release --workspace --all-targets",
        path.display()
    );
    path
}

/// Returns the quickstart, whose roles serve as production and candidate.
pub(crate) fn quickstart() -> PathBuf {
    binary("examples").join("quickstart")
}

/// Returns addresses that are free now, all different, and that no other test of this process is given.
pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    use std::sync::atomic::{AtomicU16, Ordering};
    // Below the range from which the system takes ports for outgoing connections, of which the tests make thousands.
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    std::array::from_fn(|_| {
        loop {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            assert!(port < 32_000, "no port is free");
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if TcpListener::bind(address).is_ok() {
                return address;
            }
        }
    })
}

/// Waits until something listens.
pub(crate) fn wait_for(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Said {
    /// Asserts an exit code and a part of what was printed, and that no stack trace was.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, part: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.out.contains(part) || self.err.contains(part), "`{part}` is not in {self:#?}");
        assert!(
            !self.err.contains("panicked") && !self.err.contains("stack backtrace"),
            "{self:?}"
        );
    }
}

const ADDRESSES: [&str; 9] = [
    "recorder",
    "service",
    "candidate",
    "fx",
    "tax",
    "loyalty",
    "fx_origin",
    "tax_origin",
    "loyalty_origin",
];

/// A service with its configuration, store and recorder, in a folder of its own.
pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) addresses: BTreeMap<&'static str, SocketAddr>,
}

/// A recorded time range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Scene {
    /// Makes a scene with the quickstart's configuration, less its demand for a thousand exchanges.
    pub(crate) fn new() -> Self {
        let addresses: [SocketAddr; 9] = free_addresses();
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            addresses: ADDRESSES.into_iter().zip(addresses).collect(),
        };
        let text = include_str!("../shadow-analyzer/examples/quickstart/shadow.toml");
        scene.configure(&text.replace("min_exchanges = 1000", "min_exchanges = 10"));
        scene
    }

    /// Writes the configuration; `@name@` stands for an address.
    pub(crate) fn configure(&self, text: &str) {
        let place = |text: String, (name, address): (&&str, &SocketAddr)| {
            text.replace(&format!("@{name}@"), &address.to_string())
        };
        std::fs::write(self.config(), self.addresses.iter().fold(text.to_owned(), place)).unwrap();
    }

    /// Changes the configuration.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "the configuration has no `{from}`");
        self.configure(&text.replace(from, to));
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("shadow.toml")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&self, program: &Path, arguments: &[&str]) -> Process {
        Process::start(program, arguments, self.folder.path())
    }

    pub(crate) fn recorder(&self) -> Process {
        let recorder = self.start(&binary("shadow-recorder"), &["--config", "shadow.toml"]);
        wait_for(self.addresses["recorder"]);
        recorder
    }

    /// Runs a build of the quickstart's service.
    pub(crate) fn service(&self, role: &str, build: &str) -> Process {
        let at = |name: &str| self.addresses[name].to_string();
        let service = self.start(
            &quickstart(),
            &["service", &at(role), build, &at("fx"), &at("tax"), &at("loyalty")],
        );
        wait_for(self.addresses[role]);
        service
    }

    /// Runs production behind the recorder while `events` sales and cancellations are booked.
    pub(crate) async fn record(&self, events: u32) -> Range {
        let at = |name: &str| self.addresses[name].to_string();
        let _upstreams = self.start(
            &quickstart(),
            &["upstreams", &at("fx_origin"), &at("tax_origin"), &at("loyalty_origin")],
        );
        for name in ["fx_origin", "tax_origin", "loyalty_origin"] {
            wait_for(self.addresses[name]);
        }
        let _service = self.service("service", "1.0.0");
        let recorder = self.recorder();
        let from = now();
        let (client, url) = (client(), format!("http://{}/bookings", at("recorder")));
        for n in 0..events {
            ask(&client, "POST", &url, &Context::default(), Some(&event(n))).await.unwrap();
        }
        recorder.stop();
        Range { from, to: now() }
    }

    /// Runs the analyzer or the replayer with this scene's configuration.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(binary(program));
        command
            .args(["--config", "shadow.toml"])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command.output().unwrap().into()
    }

    /// Certifies what listens at the candidate's address, in one step.
    pub(crate) fn certify(&self, build: &str, range: Range) -> Said {
        let url = format!("http://{}", self.addresses["candidate"]);
        let (from, to) = (range.from.to_string(), range.to.to_string());
        self.run(
            "shadow-analyzer",
            &["certify", "--candidate", &url, "--build", build, "--from", &from, "--to", &to],
        )
    }

    /// Returns the newest verdict of a build.
    #[track_caller]
    pub(crate) fn verdict(&self, build: &str) -> Verdict {
        let mut verdicts =
            self.verdicts().into_iter().filter(|verdict| verdict.candidate.build == build);
        let first =
            verdicts.next().unwrap_or_else(|| panic!("there is no verdict of build {build}"));
        verdicts.fold(first, |a, b| {
            if (b.decided_at, b.revision) > (a.decided_at, a.revision) { b } else { a }
        })
    }

    /// Returns every verdict in the store.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let files = files(&self.path("store/reports"));
        let verdicts = files.iter().filter(|file| file.ends_with("verdict.json"));
        verdicts
            .map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
            .collect()
    }

    /// Returns the files of the store whose names end so.
    pub(crate) fn stored(&self, suffix: &str) -> Vec<PathBuf> {
        let ends = |file: &PathBuf| file.to_string_lossy().ends_with(suffix);
        files(&self.path("store")).into_iter().filter(ends).collect()
    }
}

/// The `n`-th event: every fifth a cancellation of 100 USD, the others sales in two currencies.
pub(crate) fn event(n: u32) -> Value {
    let (kind, currency, amount) = match n % 5 {
        0 => ("cancellation", "USD", "100.00".to_owned()),
        1 => ("sale", "EUR", format!("{}.10", 20 + n)),
        _ => ("sale", "USD", format!("{}.35", 10 + n)),
    };
    let lob = if n.is_multiple_of(3) { "Eats" } else { "Rides" };
    json!({ "id": format!("e{n}"), "kind": kind, "line_of_business": lob, "currency": currency, "country": "US", "amount": amount })
}

/// Returns every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Returns the time in whole microseconds.
#[expect(clippy::disallowed_methods, reason = "a test plays production, in real time")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}
