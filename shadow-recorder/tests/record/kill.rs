//! A recorder that is killed again and again under load, with a count from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::clock::now;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::*;

const KILLS: u64 = 200;
const CLIENTS: u64 = 4;
/// Segments are sealed and stored so often that kills hit every step of that.
const PACE: &str = "linger = \"10ms\"\nsegment_age_max = \"60ms\"";
/// What a sync may take on a busy machine, beside the interval and the linger.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// From a start to its kill.
struct Life {
    began: Timestamp,
    killed: Timestamp,
    /// The numbers of the requests that were answered, and when.
    answered: Vec<(u64, Timestamp)>,
}

/// Asks without pause until the recorder is gone; returns what was answered.
async fn ask(to: SocketAddr, numbers: impl Iterator<Item = u64>) -> Vec<(u64, Timestamp)> {
    let mut answered = Vec::new();
    let Ok(mut stream) = TcpStream::connect(to).await else { return answered };
    let mut buffer = vec![0; 4096];
    for number in numbers {
        let body = number.to_string();
        let request =
            format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut read = 0;
        if stream.write_all(request.as_bytes()).await.is_err() {
            break;
        }
        // The answer repeats the number at its end.
        while !buffer[..read].ends_with(format!("\r\n\r\n{body}").as_bytes()) {
            match stream.read(&mut buffer[read..]).await {
                Ok(more) if more > 0 => read += more,
                _ => return answered,
            }
        }
        answered.push((number, now()));
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_synced_before_one_of_200_kills_is_there_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    let mut lives = Vec::new();
    for kill in 0..KILLS {
        let mut sidecar = Sidecar::start(folder.path(), origin, &[], PACE).await;
        let began = now();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let first = (kill * CLIENTS + client) << 32;
            clients.spawn(ask(sidecar.clients, first..));
        }
        // At every phase of the intervals.
        tokio::time::sleep(Duration::from_micros(80_000 + kill * 7_919 % 250_000)).await;
        let killed = now();
        sidecar.signal("-KILL").await;
        assert!(!sidecar.ended().await.success());
        let answered = clients.join_all().await.concat();
        lives.push(Life { began, killed, answered });
    }
    let ended = Sidecar::start(folder.path(), origin, &[], PACE).await;
    let stored = ended.stop().await;
    let spool = files(&folder.path().join("spool"));
    assert!(!spool.iter().any(|file| file.to_string_lossy().ends_with(".zst")), "{spool:?}");

    let recorded: BTreeSet<u64> = stored
        .exchanges
        .iter()
        .map(|exchange| exchange.request.body.text.as_ref().unwrap().parse().unwrap())
        .collect();
    assert_eq!(recorded.len(), stored.exchanges.len(), "none is there twice");
    // What each boot says of itself: when it began, up to where it is complete, and whether it ended by itself.
    let mut boots: BTreeMap<&str, (Timestamp, Timestamp, bool, Vec<u64>)> = BTreeMap::new();
    for manifest in &stored.manifests {
        let first = (manifest.opened_at, manifest.sealed_through, false, Vec::new());
        let boot = boots.entry(&manifest.boot).or_insert(first);
        boot.0 = boot.0.min(manifest.opened_at);
        boot.1 = boot.1.max(manifest.sealed_through);
        boot.2 |= manifest.torn;
        boot.3.push(manifest.sequence);
    }
    let (mut lost, mut windows) = (0, Vec::new());
    for life in &lives {
        // It opens its segment before it listens, or soon after.
        let of_life = boots.values().filter(|(opened, ..)| *opened < life.killed);
        let (_, sealed_through, torn, sequences) = of_life.max_by_key(|boot| boot.0).unwrap();
        assert!(torn, "the end of a boot that was killed is shown as such");
        let mut sequences = sequences.clone();
        sequences.sort_unstable();
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{sequences:?}");
        for (number, at) in &life.answered {
            let is_there = recorded.contains(number);
            assert!(is_there || at >= sealed_through, "{number} was synced and is lost");
            lost += u64::from(!is_there);
        }
        windows.push(life.killed.duration_since((*sealed_through).max(life.began)));
    }
    windows.sort_unstable();
    let answered: usize = lives.iter().map(|life| life.answered.len()).sum();
    let (median, longest) = (windows[windows.len() / 2], windows[windows.len() - 1]);
    println!("{answered} answered, {lost} lost, in windows of {median:#} (median) to {longest:#}");
    assert!(longest < SLACK, "{longest:#}");
    // A count that finds nothing lost would not look at the right moment.
    assert!(lost > 0 && lost < answered as u64, "{lost} of {answered}");
}
