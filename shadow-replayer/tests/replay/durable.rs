use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use tokio::process::{Child, Command};

use crate::candidate::{Candidate, reply};
use crate::recording::{Boot, at, booked, exchange};
use crate::world::{Said, World};

/// Leases that run out soon, and a shard for each segment.
const DURABLE: &str = "[replay]\nlease = \"400ms\"\nshard_segments_max = 1\nin_flight = 1";

/// Writes `shards` segments of two exchanges each.
pub(crate) fn record(world: &World, shards: u32) {
    let segments: Vec<_> =
        (0..shards).map(|n| vec![exchange(2 * n), exchange(2 * n + 1)]).collect();
    Boot::default().write(&world.store(), &segments);
}

/// A candidate that answers after so many milliseconds.
pub(crate) async fn slow(ms: u64) -> Candidate {
    Candidate::start(move |_| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        reply(200, booked("Rides", "4000"))
    })
    .await
}

pub(crate) fn start(world: &World, arguments: &[&str]) -> Child {
    let piped = || std::process::Stdio::piped();
    world.command(arguments).stdout(piped()).stderr(piped()).spawn().unwrap()
}

fn start_run(world: &World, candidate: &Candidate) -> Child {
    let (from, to, url) = (at(0).to_string(), at(3_600_000).to_string(), candidate.url());
    let arguments = ["run", "--candidate", &url, "--build", "rc1", "--from", &from, "--to", &to];
    start(world, &arguments)
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

async fn asked(candidate: &Candidate, exchanges: usize) {
    while candidate.asked().len() < exchanges {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the only run that there is.
async fn only_run(world: &World) -> String {
    let said = world.replayer(&["list", "--json"]).await;
    let runs: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{said:#?}");
    runs[0]["run_id"].as_str().unwrap().to_owned()
}

pub(crate) fn each_once(world: &World, run: &str, exchanges: u32) {
    let rows = world.rows("exchange", run);
    let mut ids: Vec<_> = rows.iter().map(|row| row["exchange_id"].clone()).collect();
    ids.sort();
    assert_eq!(ids, (0..exchanges).map(|n| exchange(n).id.0).collect::<Vec<_>>());
    let attempts = world.store().join(format!("attempts/run_id={run}"));
    assert_eq!(files_below(&attempts), 0, "nothing is left of the attempts");
}

/// Returns the rows of a table of the journal as text, in their order, without what differs from run to run.
fn rows(world: &World, table: &str, run: &str) -> Vec<String> {
    let folder = world.store().join(format!("journal/{table}/revision=1/run_id={run}"));
    let mut rows = Vec::new();
    for shard in 0..8 {
        let file = std::fs::File::open(folder.join(format!("shard={shard}.parquet"))).unwrap();
        for row in SerializedFileReader::new(file).unwrap().get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let same = |name: &str| !["run_id", "shadow_duration_us"].contains(&name);
            let columns = row.get_column_iter().filter(|(name, _)| same(name));
            let columns: Vec<String> =
                columns.map(|(name, value)| format!("{name}={value}")).collect();
            rows.push(columns.join(" "));
        }
    }
    rows
}

/// Counts the files of a store's folder. One that a killed process was still writing has a hidden name and is no part of the store.
fn files_below(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let entries = entries.map(Result::unwrap);
    let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let paths = named.map(|entry| entry.path());
    paths.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_leaves_a_run_that_is_resumed() {
    let world = World::new(DURABLE);
    record(&world, 6);
    let candidate = slow(30).await;
    let running = start_run(&world, &candidate);
    asked(&candidate, 5).await;
    signal(&running, "-TERM").await;
    let said = Said::from(running.wait_with_output().await.unwrap());
    said.expect(2, "resume --run");
    let run = said.run();
    let status = world.replayer(&["status", "--run", &run]).await;
    status.expect(0, "is replaying");
    status.expect(0, "0 leased");
    world.replayer(&["resume", "--run", &run]).await.expect(0, "12 exchanges: 12 matched");
    each_once(&world, &run, 12);
    // What was finished before was not replayed again.
    assert!(candidate.asked().len() <= 14, "{}", candidate.asked().len());
    world.replayer(&["resume", "--run", &run]).await.expect(0, "is finished");
}

#[tokio::test]
async fn the_shard_of_a_killed_worker_is_taken_over() {
    let world = World::new(DURABLE);
    record(&world, 3);
    let candidate = slow(30).await;
    let running = start_run(&world, &candidate);
    asked(&candidate, 3).await;
    signal(&running, "-KILL").await;
    running.wait_with_output().await.unwrap();
    let run = only_run(&world).await;
    world.replayer(&["status", "--run", &run]).await.expect(0, "1 leased");
    world.replayer(&["resume", "--run", &run]).await.expect(0, "6 exchanges: 6 matched");
    each_once(&world, &run, 6);
}

#[tokio::test]
async fn one_two_and_four_workers_write_the_same_journal() {
    let world = World::new(DURABLE);
    record(&world, 8);
    let candidate = Candidate::always(200, booked("Eats", "4000")).await;
    let mut journals = Vec::new();
    for workers in [1, 2, 4] {
        let planned = world.replay(&candidate.url(), &["--plan-only"]).await;
        planned.expect(0, "is planned");
        let run = planned.run();
        let url = candidate.url();
        let arguments = ["work", "--run", &run, "--candidate", &url];
        let working = (0..workers).map(|_| start(&world, &arguments).wait_with_output());
        for ended in futures_util::future::join_all(working).await {
            Said::from(ended.unwrap()).expect(0, "16 exchanges: 0 matched, 16 different");
        }
        each_once(&world, &run, 16);
        let tables = ["entry", "exchange", "difference"];
        journals.push(tables.map(|table| rows(&world, table, &run)));
    }
    assert!(journals[0].iter().all(|table| table.len() >= 16));
    assert_eq!(journals[0], journals[1]);
    assert_eq!(journals[0], journals[2]);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_worker_and_stays_so() {
    let world = World::new(DURABLE);
    record(&world, 50);
    let candidate = slow(30).await;
    let running = start_run(&world, &candidate);
    asked(&candidate, 2).await;
    let run = only_run(&world).await;
    world.replayer(&["cancel", "--run", &run]).await.expect(0, "is cancelled");
    let said = Said::from(running.wait_with_output().await.unwrap());
    said.expect(2, "cancelled");
    assert!(candidate.asked().len() < 100);
    world.replayer(&["resume", "--run", &run]).await.expect(64, "start another");
    world.replayer(&["status", "--run", &run, "--json"]).await.expect(0, "\"cancelled\"");
    world.replayer(&["cancel", "--run", &run]).await.expect(0, "already");
}

#[tokio::test]
async fn a_worker_with_another_mapping_is_refused() {
    let world = World::new(DURABLE);
    record(&world, 1);
    let candidate = slow(0).await;
    let run = world.replay(&candidate.url(), &["--plan-only"]).await.run();
    world.configure(&format!("[[ledger]]\nroute = \"PUT /**\"\nno_entries = true\n{DURABLE}"));
    world.replayer(&["work", "--run", &run]).await.expect(64, "another ledger mapping");
    assert_eq!(candidate.asked().len(), 0);
}

#[tokio::test]
async fn dead_letters_are_shown_by_reason_and_replayed_alone() {
    let world = World::new(DURABLE);
    record(&world, 3);
    let failing = Candidate::start(|asked| async move {
        let fails = ["/bookings/1", "/bookings/4"].contains(&&*asked.target);
        reply(if fails { 500 } else { 200 }, booked("Rides", "4000"))
    })
    .await;
    let run = world.replay(&failing.url(), &[]).await.run();
    let shown = world.replayer(&["dead-letters", "--run", &run]).await;
    shown.expect(0, "errored");
    shown.expect(0, "--replay --candidate");
    let shown = world.replayer(&["dead-letters", "--run", &run, "--json"]).await;
    let piles: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(piles[0]["exchanges"], 2, "{shown:#?}");
    let none = ["dead-letters", "--run", &run, "--reason", "no such"];
    world.replayer(&none).await.expect(0, "no such dead letter");
    let mended = slow(0).await;
    let url = mended.url();
    let again = ["dead-letters", "--run", &run, "--replay", "--candidate", &url];
    world.replayer(&again).await.expect(0, "2 matched");
    let mut targets: Vec<_> = mended.asked().into_iter().map(|asked| asked.target).collect();
    targets.sort();
    assert_eq!(targets, ["/bookings/1", "/bookings/4"]);
}
