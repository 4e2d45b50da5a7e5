//! The recorder with a bucket that is away: no request notices, the spool takes what it may, and all of it is stored once.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use shadow_recorder::store::Store;
use tokio::process::Command;

use crate::bucket::{through, unused_prefix};
use crate::faults::{Fault, Faults, variable};
use crate::harness::*;

/// Configures a recorder that stores through the proxy.
async fn configure(folder: &Path, faults: &Faults, prefix: &str, more: &str) {
    let origin = server(async |request| text(request.into_body())).await;
    write_config(folder, origin, &[], more);
    let file = folder.join("shadow.toml");
    let bucket = format!(
        "bucket = \"{}\"\nendpoint = \"http://{}\"\nregion = \"{}\"\npath_style = true\nprefix = \"{prefix}\"\n\
         attempt_timeout = \"1s\"\nattempts_max = 2",
        variable("SHADOW_TEST_S3_BUCKET"),
        faults.address,
        variable("SHADOW_TEST_S3_REGION")
    );
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("directory = \"store\"", &bucket)).unwrap();
}

/// Starts it.
async fn sidecar(folder: &Path, faults: &Faults, prefix: &str, more: &str) -> Sidecar {
    configure(folder, faults, prefix, more).await;
    Sidecar::run(folder, Command::new(env!("CARGO_BIN_EXE_shadow-recorder"))).await
}

/// Copies what is in the bucket to where the harness reads a store.
async fn fetch(store: &Store, folder: &Path) -> Stored {
    let mut folders = vec!["captures/".to_owned()];
    while let Some(prefix) = folders.pop() {
        folders.extend(store.folders(&prefix).await.unwrap());
        for key in store.list(&prefix).await.unwrap() {
            let path = folder.join("store").join(&key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, store.get(&key).await.unwrap()).unwrap();
        }
    }
    Stored::read(folder)
}

/// Sends requests, each of which must be answered promptly and right.
async fn ask(sidecar: &Sidecar, count: usize, body_bytes: usize) {
    for n in 0..count {
        // Random enough not to be compressed away.
        let mut body = String::new();
        for k in 0..body_bytes / 16 {
            write!(body, "{:016x}", mixed(n, k)).unwrap();
        }
        let asked = Instant::now();
        let answer = send(sidecar.clients, post("/", body.clone())).await;
        assert_eq!((answer.status().as_u16(), answer.body() == &body), (200, true));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
}

fn mixed(n: usize, k: usize) -> u64 {
    let seed = (n as u64).wrapping_mul(1_000_003).wrapping_add(k as u64);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_fills_the_spool_to_its_cap_then_drops_the_newest_and_stores_the_rest_once() {
    const CAP: u64 = 400_000;
    let folder = tempfile::tempdir().unwrap();
    let (mut faults, prefix) = (Faults::start().await, unused_prefix());
    faults.down().await;
    let more = format!("segment_age_max = \"200ms\"\nspool_bytes_max = {CAP}");
    let sidecar = sidecar(folder.path(), &faults, &prefix, &more).await;
    // Thousands of bytes each that do not compress below half: beyond the cap long before the end.
    ask(&sidecar, 300, 4_000).await;
    sidecar.until("shadow_recorder_queue_exchanges", 0).await;
    sidecar.until_logged("recording pauses: what waits for the store fills the spool").await;
    // However late that was noticed, these come after it.
    ask(&sidecar, 10, 4_000).await;
    let spooled: u64 = files(&folder.path().join("spool"))
        .iter()
        .map(|file| std::fs::metadata(file).unwrap().len())
        .sum();
    // Beyond the cap by what one frame holds, and the accounting of what is dropped.
    assert!((CAP..CAP * 2).contains(&spooled), "{spooled}");

    faults.up().await;
    sidecar.until_logged("recording goes on: the spool has room again").await;
    ask(&sidecar, 5, 100).await;
    sidecar.stop().await;
    let stored = fetch(&through(&faults, &prefix), folder.path()).await;
    assert_eq!(stored.tally.observed, 315);
    let dropped = stored.tally.dropped["spool_bytes_max"];
    assert_eq!(stored.tally.dropped.len(), 1, "{:?}", stored.tally);
    assert_eq!(stored.tally.recorded + dropped, 315);
    // The newest of the outage are dropped, and what came after it is there.
    let kept: Vec<u64> = stored.exchanges.iter().map(|exchange| exchange.sequence).collect();
    let first_lost = (0..315).find(|n| !kept.contains(&(kept[0] + n))).unwrap();
    assert_eq!(stored.tally.recorded, first_lost + 5, "{kept:?}");
    // Gapless, so that nothing was left out or stored twice.
    let mut sequences: Vec<u64> = stored.manifests.iter().map(|m| m.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    assert_eq!(files(&folder.path().join("spool")), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_bucket_answers_no_request_notices_and_all_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut faults, prefix) = (Faults::start().await, unused_prefix());
    let more = "segment_age_max = \"100ms\"";
    let sidecar = sidecar(folder.path(), &faults, &prefix, more).await;
    ask(&sidecar, 5, 100).await;
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::Status(403, "ExpiredToken"),
        Fault::Slow,
        Fault::Truncated,
        Fault::Damaged,
        Fault::LostAnswer,
    ] {
        faults.all(fault);
        ask(&sidecar, 20, 100).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    sidecar.until_logged("the bucket refuses it (403").await;
    faults.down().await;
    ask(&sidecar, 20, 100).await;
    faults.all(Fault::None);
    faults.up().await;
    sidecar.until_metric("shadow_recorder_upload_refusals_total", |n| n > 0).await;
    sidecar.stop().await;
    let stored = fetch(&through(&faults, &prefix), folder.path()).await;
    assert_eq!((stored.tally.observed, stored.tally.recorded), (165, 165));
    let ids: std::collections::BTreeSet<_> =
        stored.exchanges.iter().map(|exchange| exchange.id.0.clone()).collect();
    assert_eq!(ids.len(), 165);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_bucket_and_an_outage_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (mut faults, prefix) = (Faults::start().await, unused_prefix());
    configure(folder.path(), &faults, &prefix, "").await;
    let check = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadow-recorder"));
        command.args(["--check", "--config"]).arg(folder.path().join("shadow.toml"));
        let output = command.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let at = format!("the store s3://{}/{prefix}", variable("SHADOW_TEST_S3_BUCKET"));
    let (code, said) = check().await;
    assert!(code == Some(0) && said.contains(&format!("ok: {at} answers")), "{said}");
    faults.down().await;
    let (code, said) = check().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("warning: {at}: cannot list")) && said.contains("was not reached"),
        "{said}"
    );
}
