use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::durable::{each_once, record, slow};
use crate::world::World;

/// A PostgreSQL of the test's own, which it can restart.
struct Postgres {
    folder: TempDir,
    programs: PathBuf,
}

impl Postgres {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
        let newest = versions.map(|entry| entry.unwrap().path()).max().unwrap();
        let postgres = Self { folder, programs: newest.join("bin") };
        if is_root() {
            let chown = Command::new("chown").arg("postgres").arg(postgres.folder.path()).status();
            assert!(chown.await.unwrap().success());
        }
        let data = postgres.data();
        postgres.command("initdb", &["-D", &data, "-A", "trust", "-U", "shadow"]).await;
        postgres.control("start").await;
        let folder = postgres.folder.path().display().to_string();
        postgres.command("createdb", &["-h", &folder, "-U", "shadow", "shadow"]).await;
        postgres
    }

    fn url(&self) -> String {
        format!("postgres:///shadow?host={}&user=shadow", self.folder.path().display())
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// Starts it, or ends every connection at once and starts it again.
    async fn control(&self, what: &str) {
        let (data, folder) = (self.data(), self.folder.path().display());
        let options = format!("-k {folder} -c listen_addresses= -c fsync=off");
        let log = format!("{folder}/log");
        self.command(
            "pg_ctl",
            &["-D", &data, "-l", &log, "-w", "-m", "immediate", "-o", &options, what],
        )
        .await;
    }

    /// Runs one of its programs; it refuses to run as root.
    async fn command(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let quiet = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(quiet.current_dir("/").status().await.unwrap().success(), "{arguments:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid"));
        let pid = pid.unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        // SIGQUIT is its immediate shutdown. It ends with its folder if this fails.
        let _ = std::process::Command::new("kill").args(["-QUIT", &pid]).status();
    }
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t")
}

/// Numbers that look random and are the same each time.
fn dice(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

fn work(world: &World, run: &str) -> Child {
    let mut command = world.command(&["work", "--run", run]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_hundred_kills_of_four_workers_and_a_restart_of_the_database_lose_and_repeat_nothing() {
    const KILLS: u32 = 100;
    const SHARDS: u32 = 500;
    let postgres = Postgres::start().await;
    let world = World::new(&format!(
        "[replay]\ndatabase = \"{}\"\nlease = \"500ms\"\nshard_segments_max = 1\nin_flight = 1",
        postgres.url()
    ));
    record(&world, SHARDS);
    let candidate = slow(40).await;
    let planned = world.replay(&candidate.url(), &["--plan-only"]).await;
    planned.expect(0, "is planned");
    let run = planned.run();
    let mut workers: Vec<Child> = (0..4).map(|_| work(&world, &run)).collect();
    let mut state = 1;
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(dice(&mut state, 200))).await;
        let worker = &mut workers[usize::try_from(dice(&mut state, 4)).unwrap()];
        let ended = worker.try_wait().unwrap();
        assert!(ended.is_none(), "a worker ended by itself before kill {kill}: {ended:?}");
        worker.kill().await.unwrap();
        *worker = work(&world, &run);
        if kill == KILLS / 2 {
            postgres.control("restart").await;
        }
    }
    let status = world.replayer(&["status", "--run", &run]).await;
    status.expect(0, "is replaying");
    for mut worker in workers {
        worker.kill().await.unwrap();
    }
    let arguments = ["resume", "--run", &run];
    let resumed = [(); 4].map(|()| world.replayer(&arguments));
    for said in futures_util::future::join_all(resumed).await {
        said.expect(0, "1000 exchanges: 1000 matched");
    }
    each_once(&world, &run, 2 * SHARDS);
}
