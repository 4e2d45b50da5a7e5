//! The play itself: which process runs when, and what is printed.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::{Timestamp, Unit};
use shadow_analyzer::verdict::Verdict;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::traffic;

/// The candidates: a build, and what is changed in it.
const CANDIDATES: [(&str, &str); 5] = [
    ("2.0.0", "the same code"),
    ("2.1.0", "a harmless change: key order, more metadata, entries in another order"),
    ("2.2.0", "a gift card of 100 USD booked in another line of business"),
    ("2.3.0", "a flaw: twenty cancellation fees of 100 USD charged twice"),
    ("2.4.0", "asks a system that production never called"),
];
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

/// Runs the whole example in a folder of its own, which is emptied first.
pub(crate) async fn whole(folder: &Path) -> anyhow::Result<()> {
    let play = Play::prepare(folder)?;
    say(&format!("Shadow quickstart, in {}", shown(&play.folder)));
    let (from, to) = play.production().await?;
    for (build, change) in CANDIDATES {
        play.candidate(build, change, from, to).await?;
    }
    say("\nWhat production booked, as the mapping reads it:");
    say(&format!("  {} map --from {from} --to {to}", play.analyzer()));
    Ok(())
}

struct Play {
    folder: PathBuf,
    config: PathBuf,
    addresses: BTreeMap<&'static str, SocketAddr>,
}

impl Play {
    fn prepare(folder: &Path) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        // Below the range from which the system takes ports for outgoing connections.
        let free = (21_000..32_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let free = free.filter(|address| TcpListener::bind(address).is_ok());
        let addresses: BTreeMap<_, _> = ADDRESSES.into_iter().zip(free).collect();
        anyhow::ensure!(addresses.len() == ADDRESSES.len(), "too few ports of 127.0.0.1 are free");
        let mut text = include_str!("shadow.toml").to_owned();
        for (name, address) in &addresses {
            text = text.replace(&format!("@{name}@"), &address.to_string());
        }
        let config = folder.join("shadow.toml");
        std::fs::write(&config, text)?;
        Ok(Self { folder, config, addresses })
    }

    /// Runs production behind the recorder while the events are sent; returns the range.
    async fn production(&self) -> anyhow::Result<(Timestamp, Timestamp)> {
        let mut upstreams = self.start(&[
            "upstreams",
            &self.at("fx_origin"),
            &self.at("tax_origin"),
            &self.at("loyalty_origin"),
        ])?;
        let mut service = self.service("service", "1.0.0")?;
        let config = self.config.display().to_string();
        let mut recorder = self.start(&["recorder", &config])?;
        for name in ["fx_origin", "tax_origin", "loyalty_origin", "service", "recorder"] {
            self.wait_for(name).await?;
        }
        let (from, start) = (now()?, Instant::now());
        traffic::send(self.addresses["recorder"]).await?;
        let took = start.elapsed();
        stop(&mut recorder).await.context("stop the recorder")?;
        let to = now()?;
        // Production is gone from here on: whatever a candidate asks is answered from the recording.
        service.kill().await?;
        upstreams.kill().await?;
        say(&format!(
            "\nproduction build 1.0.0: {} events served and recorded in {:.1} s",
            traffic::EVENTS,
            took.as_secs_f64()
        ));
        Ok((from, to))
    }

    /// Certifies one candidate and tells what came of it.
    async fn candidate(
        &self,
        build: &str,
        change: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> anyhow::Result<()> {
        say(&format!("\ncandidate {build}: {change}"));
        let mut service = self.service("candidate", build)?;
        self.wait_for("candidate").await?;
        let (config, url) =
            (self.config.display().to_string(), format!("http://{}", self.addresses["candidate"]));
        let (from, to) = (from.to_string(), to.to_string());
        let start = Instant::now();
        let arguments = [
            "analyzer",
            "--config",
            &config,
            "certify",
            "--candidate",
            &url,
            "--build",
            build,
            "--from",
            &from,
            "--to",
            &to,
        ];
        let certified = self
            .command(&arguments)?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .await?;
        let took = start.elapsed();
        service.kill().await?;
        let (path, verdict) = self.verdict_of(build).with_context(|| {
            format!(
                "certify gave no verdict: {}{}",
                String::from_utf8_lossy(&certified.stdout),
                String::from_utf8_lossy(&certified.stderr)
            )
        })?;
        anyhow::ensure!(
            certified.status.code() == Some(i32::from(verdict.verdict.exit_code())),
            "the exit code is not the verdict's"
        );
        tell(&verdict, &path, took);
        Ok(())
    }

    /// Finds the verdict of a build in the store.
    fn verdict_of(&self, build: &str) -> anyhow::Result<(PathBuf, Verdict)> {
        for run in
            std::fs::read_dir(self.folder.join("store/reports")).context("list the reports")?
        {
            let path = run?.path().join("revision=1/verdict.json");
            let verdict: Verdict = serde_json::from_slice(&std::fs::read(&path)?)?;
            if verdict.candidate.build == build {
                return Ok((path, verdict));
            }
        }
        anyhow::bail!("no verdict of build {build} is in the store")
    }

    fn service(&self, at: &str, build: &str) -> anyhow::Result<Child> {
        self.start(&[
            "service",
            &self.at(at),
            build,
            &self.at("fx"),
            &self.at("tax"),
            &self.at("loyalty"),
        ])
    }

    fn at(&self, name: &str) -> String {
        self.addresses[name].to_string()
    }

    fn start(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        self.command(arguments)?
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start the role {}", arguments[0]))
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    async fn wait_for(&self, name: &str) -> anyhow::Result<()> {
        let connected = async {
            while TcpStream::connect(self.addresses[name]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), connected)
            .await
            .with_context(|| format!("{name} did not start"))
    }

    /// Returns how a person calls the analyzer on this example.
    fn analyzer(&self) -> String {
        format!("cargo run --release --bin shadow-analyzer -- --config {}", shown(&self.config))
    }
}

/// Writes a path as short as it can be typed where the example was started.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Prints what came of a candidate.
fn tell(verdict: &Verdict, path: &Path, took: Duration) {
    let score = if verdict.decided {
        format!("{} of 100", verdict.confidence)
    } else {
        "nothing was decided".into()
    };
    say(&format!(
        "  {}, {score} ({}; {} exchanges in {:.1} s)",
        verdict.verdict.word(),
        verdict.basis.text,
        verdict.exchanges.recorded,
        took.as_secs_f64()
    ));
    say(&format!("  why:    {}", verdict.why));
    say(&format!("  report: {}", shown(&path.with_file_name("report.html"))));
    say(&format!("  next:   xdg-open {}", shown(&path.with_file_name("report.html"))));
}

/// Asks a process to end, and waits until it has.
async fn stop(child: &mut Child) -> anyhow::Result<()> {
    let id = child.id().context("it has ended already")?.to_string();
    let asked = Command::new("kill").args(["-TERM", &id]).status().await?;
    anyhow::ensure!(asked.success(), "SIGTERM could not be sent");
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await??;
    anyhow::ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// Returns the time, in whole microseconds as recordings keep it.
#[expect(clippy::disallowed_methods, reason = "the example is a main program")]
fn now() -> anyhow::Result<Timestamp> {
    Ok(Timestamp::now().round(Unit::Microsecond)?)
}

#[expect(clippy::print_stdout, reason = "the example prints its story")]
fn say(text: &str) {
    println!("{text}");
}
