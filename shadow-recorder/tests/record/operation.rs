//! The admin listener, the switch, the signals.

use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use shadow_recorder::exchange::End;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::harness::*;
use crate::load::Load;

const BINARY: &str = env!("CARGO_BIN_EXE_shadow-recorder");

async fn echo() -> SocketAddr {
    server(async |request| text(request.into_body())).await
}

fn put(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::put("/recording").body(Full::from(body.into())).unwrap()
}

/// Returns what `/recording` says, but for the time.
async fn recording(sidecar: &Sidecar) -> (bool, Vec<String>) {
    let (status, text) = sidecar.admin(get("/recording")).await;
    assert_eq!(status, 200);
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(state["since"].as_str().unwrap().ends_with('Z'), "{text}");
    let reasons = state["reasons"].as_array().cloned().unwrap_or_default();
    let reasons = reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect();
    (state["recording"].as_bool().unwrap(), reasons)
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_is_switched_off_and_on_again_while_traffic_passes() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = server(move |request| {
        let gate = Arc::clone(&held);
        async move {
            if request.body() == "open" {
                gate.acquire().await.unwrap().forget();
            }
            let state = request.headers().get("tracestate").map(|state| state.to_str().unwrap());
            text(format!("{} {:?}", String::from_utf8_lossy(request.body()), state.is_some()))
        }
    })
    .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let at = sidecar.clients;
    assert_eq!(recording(&sidecar).await, (true, vec![]));
    assert_eq!(send(at, post("/", "on")).await.body(), "on true");
    let open = tokio::spawn(async move { send(at, post("/", "open")).await });
    sidecar.until("shadow_recorder_exchanges_observed_total", 2).await;

    for _ in 0..2 {
        let (status, text) = sidecar.admin(put("off\n")).await;
        assert!(status == 200 && text.starts_with("{\"recording\":false,\"since\":\""), "{text}");
        assert_eq!(recording(&sidecar).await, (false, vec!["recording_off".into()]));
    }
    sidecar.until("shadow_recorder_recording", 0).await;
    // The rest of a pod's traffic does not even notice.
    assert_eq!(sidecar.admin(get("/ready")).await.1, "ready; not recording: recording_off\n");
    for n in 0..5 {
        assert_eq!(send(at, post("/", format!("off {n}"))).await.body(), &format!("off {n} true"));
    }
    let dropped = "shadow_recorder_exchanges_dropped_total{reason=\"recording_off\"}";
    sidecar.until(dropped, 5).await;
    gate.add_permits(1);
    assert_eq!(open.await.unwrap().body(), "open true");
    assert_eq!(sidecar.admin(put("on")).await.0, 200);
    assert_eq!(recording(&sidecar).await, (true, vec![]));
    sidecar.until("shadow_recorder_recording", 1).await;
    assert_eq!(send(at, post("/", "on again")).await.body(), "on again true");
    sidecar.until_logged("recording was switched off at the admin port").await;
    sidecar.until_logged("recording was switched on at the admin port").await;
    assert_eq!(sidecar.log.lock().unwrap().matches("recording was switched").count(), 2);

    // As it is switched off when it stops, and on when it starts.
    assert_eq!(sidecar.admin(put("off")).await.0, 200);
    let stored = sidecar.stop().await;
    let bodies: Vec<_> =
        stored.exchanges.iter().map(|e| e.request.body.text.clone().unwrap()).collect();
    assert_eq!(bodies, ["on", "open", "on again"]);
    assert_eq!(stored.tally.observed, 8);
    assert_eq!(stored.tally.dropped, [("recording_off".into(), 5)].into());
    let again = Sidecar::start(folder.path(), origin, &[], "").await;
    assert_eq!(recording(&again).await, (true, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_moves_by_a_command_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], "").await;
    let of_a_page = |name: &str, value: &str| {
        let mut request = put("off");
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    for (request, status, told) in [
        (of_a_page("origin", "https://evil.example"), 403, "web page"),
        (of_a_page("origin", "null"), 403, "web page"),
        (of_a_page("sec-fetch-site", "cross-site"), 403, "web page"),
        (of_a_page("sec-fetch-site", "same-origin"), 403, "web page"),
        (put(""), 400, "PUT /recording with the body `on` or `off`"),
        (put("maybe"), 400, "PUT /recording with the body `on` or `off`"),
        (put("off".repeat(1000)), 400, "PUT /recording with the body `on` or `off`"),
        (post("/recording", "off"), 405, "PUT /recording with the body `on` or `off`"),
        (Request::delete("/recording").body(Full::default()).unwrap(), 405, "PUT /recording"),
        (post("/metrics", ""), 405, "GET only"),
        (get("/recordin"), 404, "/metrics, /live, /ready or /recording"),
    ] {
        let what = format!("{request:?}");
        let (got, text) = sidecar.admin(request).await;
        assert!(got == status && text.contains(told), "{what}: {got} {text}");
        assert_eq!(recording(&sidecar).await, (true, vec![]), "{what}");
    }
    let allow = send(sidecar.admin, post("/recording", "off")).await;
    assert_eq!(allow.headers()["allow"], "GET, HEAD, PUT");
    // A person at the address bar is no page.
    assert_eq!(sidecar.admin(of_a_page("sec-fetch-site", "none")).await.0, 200);
    assert_eq!(recording(&sidecar).await, (false, vec!["recording_off".into()]));
    let head = send_raw(sidecar.admin, b"HEAD /recording HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-type: application/json") && !head.contains('{'), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_others_reach_is_told_at_the_start() {
    for (admin, is_told) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), echo().await, &[], "");
        let mut command = Command::new(BINARY);
        command.env("SHADOW_RECORDER_ADMIN", admin);
        let sidecar = Sidecar::run(folder.path(), command).await;
        let told = "whoever reaches the admin port can switch recording off";
        assert_eq!(sidecar.log.lock().unwrap().contains(told), is_told, "{admin}");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_connections_and_says_nothing_keeps_no_probe_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], "").await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(sidecar.admin).await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\nX: ").await.unwrap();
        silent.push(stream);
    }
    // Far less than the deadline that the silent ones have.
    let probe = timeout(Duration::from_secs(5), sidecar.admin(get("/live"))).await;
    assert_eq!(probe.unwrap(), (200, "live\n".into()));
    // The oldest gave way, and the youngest did not.
    let first = timeout(DEADLINE, silent[0].read(&mut [0; 10])).await.unwrap();
    assert!(!matches!(first, Ok(1..)), "{first:?}");
    silent[299].write_all(b"y\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, silent[299].read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("live\n"), "{answer}");
    // A head without an end is refused at its limit.
    let mut endless = b"GET /live HTTP/1.1\r\nX: ".to_vec();
    endless.resize(1 << 20, b'x');
    let mut stream = TcpStream::connect(sidecar.admin).await.unwrap();
    // The recorder stops reading, and may reset the connection.
    let _ = stream.write_all(&endless).await;
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_fails_pauses_recording_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let more = "segment_age_max = \"100ms\"";
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], more).await;
    let spool = folder.path().join("spool");
    let away = folder.path().join("away");
    std::fs::rename(&spool, &away).unwrap();
    std::fs::write(&spool, "a file where the spool should be").unwrap();
    sidecar.until("shadow_recorder_recording", 0).await;
    assert_eq!(recording(&sidecar).await, (false, vec!["disk".into()]));
    assert_eq!(sidecar.admin(get("/ready")).await, (200, "ready; not recording: disk\n".into()));
    assert_eq!(sidecar.admin(get("/live")).await, (200, "live\n".into()));
    assert_eq!(send(sidecar.clients, post("/", "passes")).await.body(), "passes");
    sidecar.until("shadow_recorder_exchanges_dropped_total{reason=\"disk\"}", 1).await;
    std::fs::remove_file(&spool).unwrap();
    std::fs::rename(&away, &spool).unwrap();
    sidecar.until("shadow_recorder_recording", 1).await;
    assert_eq!(recording(&sidecar).await, (true, vec![]));
    send(sidecar.clients, post("/", "recorded")).await;
    let stored = sidecar.stop().await;
    assert_eq!(stored.only().request.body.text.as_deref(), Some("recorded"));
    assert_eq!(stored.tally.dropped, [("disk".into(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_full_pauses_recording() {
    let folder = tempfile::tempdir().unwrap();
    let more = "spool_bytes_max = 1";
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], more).await;
    sidecar.until("shadow_recorder_recording", 0).await;
    assert_eq!(recording(&sidecar).await, (false, vec!["spool_bytes_max".into()]));
    assert_eq!(send(sidecar.clients, post("/", "passes")).await.body(), "passes");
    assert_eq!(sidecar.stop().await.tally.dropped, [("spool_bytes_max".into(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_it_stops_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| {
        tokio::time::sleep(Duration::from_millis(2)).await;
        text(request.into_body())
    })
    .await;
    let mut sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let load = Load::start(sidecar.clients, 32);
    load.goes_on(1000).await;
    sidecar.signal("-TERM").await;
    let admin = async || sidecar.admin(get("/ready")).await;
    until("not ready", async || admin().await == (503, "stopping\n".into())).await;
    let seen = load.refused().await;
    assert!(sidecar.ended().await.success());
    seen.assert_nothing_failed();
    // Every client that keeps its connection was told, by an answer.
    assert!(seen.closed.load(Ordering::Relaxed) >= 16, "{seen:?}");
    let answered = seen.answered.load(Ordering::Relaxed);
    let stored = Stored::read(folder.path());
    assert_eq!((stored.tally.observed, stored.tally.recorded), (answered, answered));
    assert!(stored.exchanges.iter().all(|exchange| exchange.end == End::Complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_an_idle_connection_just_after_the_stop_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::start(folder.path(), echo().await, &[], "").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(sidecar.clients).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst";
        stream.write_all(request).await.unwrap();
        let length = timeout(DEADLINE, stream.read(&mut [0; 1000])).await.unwrap().unwrap();
        assert!(length > 0);
        idle.push(stream);
    }
    sidecar.signal("-TERM").await;
    sidecar.until_logged("stopping").await;
    let mut answered = 0;
    for mut stream in idle {
        // Where this machine was too slow for the moment that is left, the connection is closed.
        let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlast";
        let _ = stream.write_all(request).await;
        let mut answer = String::new();
        let _ = timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.is_empty() || answer.contains("connection: close\r\n"), "{answer}");
        answered += u64::from(answer.ends_with("last"));
    }
    assert!(sidecar.ended().await.success());
    assert!(answered > 0);
    assert_eq!(Stored::read(folder.path()).tally.recorded, 20 + answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_unrecorded_is_finished_at_a_stop_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (held, come) = (Arc::clone(&gate), Arc::clone(&arrived));
    let origin = server(move |request| {
        let (gate, arrived) = (Arc::clone(&held), Arc::clone(&come));
        async move {
            arrived.add_permits(1);
            gate.acquire().await.unwrap().forget();
            text(request.into_body())
        }
    })
    .await;
    let mut sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let at = sidecar.clients;
    assert_eq!(sidecar.admin(put("off")).await.0, 200);
    let request = tokio::spawn(async move { send(at, post("/", "unrecorded")).await });
    timeout(DEADLINE, arrived.acquire()).await.unwrap().unwrap().forget();
    sidecar.signal("-TERM").await;
    sidecar.until_logged("stopping").await;
    // Only time can show that it does not end meanwhile.
    assert!(timeout(Duration::from_secs(1), sidecar.child.wait()).await.is_err());
    gate.add_permits(1);
    assert_eq!(request.await.unwrap().body(), "unrecorded");
    assert!(sidecar.ended().await.success());
    assert_eq!(Stored::read(folder.path()).tally.dropped, [("recording_off".into(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_leaves_the_rest_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| {
        if request.body() == "hangs" {
            std::future::pending::<()>().await;
        }
        text(request.into_body())
    })
    .await;
    // Nothing can be stored, and the grace is long.
    std::fs::write(folder.path().join("store"), "a file where the store should be").unwrap();
    let mut sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let at = sidecar.clients;
    send(at, post("/", "answered")).await;
    let cut = tokio::spawn(async move {
        send_raw(at, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhangs").await
    });
    sidecar.until("shadow_recorder_exchanges_observed_total", 2).await;
    sidecar.signal("-TERM").await;
    sidecar.until_logged("stopping: requests in progress are finished").await;
    let asked = Instant::now();
    sidecar.signal("-INT").await;
    assert!(sidecar.ended().await.success());
    println!("it took {:?} to end", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(cut.await.unwrap(), "");
    sidecar.until_logged("cut_off: 1, segments_committed: 0, segments_left: 1").await;

    std::fs::remove_file(folder.path().join("store")).unwrap();
    let stored = Sidecar::start(folder.path(), origin, &[], "").await.stop().await;
    let ends: Vec<_> = stored.exchanges.iter().map(|exchange| exchange.end).collect();
    assert_eq!(ends, [End::Complete, End::Truncated]);
    // The boot that was ended at once ended with its own mark.
    assert_eq!(stored.manifests.iter().filter(|m| m.last && !m.torn).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_without_a_meaning_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], "").await;
    for signal in ["HUP", "USR1", "USR2"] {
        sidecar.signal(&format!("-{signal}")).await;
        sidecar.until_logged(&format!("\"signal\":\"SIG{signal}\"")).await;
        assert_eq!(send(sidecar.clients, post("/", signal)).await.body(), signal);
    }
    assert_eq!(sidecar.stop().await.tally.recorded, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_costs_no_request_a_moment_and_keeps_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    // Reading it waits for a writer that never comes, as a disk that hangs does.
    let hangs = spool.join("0-1.ndjson.zst");
    assert!(Command::new("mkfifo").arg(&hangs).status().await.unwrap().success());
    let more = "segment_age_max = \"50ms\"\nthreads = 1";
    let mut sidecar = Sidecar::start(folder.path(), echo().await, &[], more).await;
    // The upload has begun with it once a later segment waits behind it.
    sidecar.until("shadow_recorder_segments_sealed_total", 2).await;
    for n in 0..20 {
        let answer = send(sidecar.clients, post("/", n.to_string()));
        assert_eq!(timeout(Duration::from_secs(5), answer).await.unwrap().body(), &n.to_string());
        assert_eq!(sidecar.admin(get("/live")).await.0, 200);
    }
    sidecar.signal("-TERM").await;
    sidecar.until_logged("stopping").await;
    sidecar.signal("-TERM").await;
    // What was recorded waits in the spool, which is what a second signal asks for.
    assert!(sidecar.ended().await.success());
    std::fs::remove_file(&hangs).unwrap();
    let next = Sidecar::start(folder.path(), echo().await, &[], "").await;
    assert_eq!(next.stop().await.tally.recorded, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_of_the_store_takes_no_files_from_the_connections() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::write(&store, "a file where the store should be").unwrap();
    let more = "segment_age_max = \"1ms\"";
    let sidecar = Sidecar::start(folder.path(), echo().await, &[], more).await;
    let mut sealed = 0;
    until("segments wait", async || {
        send(sidecar.clients, post("/", "one more")).await;
        sealed = files(&folder.path().join("spool")).len();
        sealed > 100
    })
    .await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", sidecar.child.id().unwrap())).unwrap();
    let is_segment = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(entry.unwrap().path())
            .is_ok_and(|file| file.to_string_lossy().ends_with(".zst"))
    };
    let open = open.map(is_segment).filter(|is_segment| *is_segment).count();
    // One is being written, and one may be read at the moment.
    assert!((60..=66).contains(&open), "{open} of {sealed}");
    std::fs::remove_file(&store).unwrap();
    let stored = sidecar.stop().await;
    assert!(stored.manifests.len() >= 100 && stored.tally.recorded == stored.tally.observed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_error_that_nobody_reads_costs_log_lines_and_nothing_else() {
    for closed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let origin = echo().await;
        write_config(folder.path(), origin, &[], "threads = 2");
        // Known beforehand, because the log is not read.
        let free = Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let redirected = if closed { "exec \"$0\" \"$@\" 2>&-" } else { "exec \"$0\" \"$@\"" };
        let mut child = Command::new("sh")
            .args(["-c", redirected, BINARY, "--config"])
            .arg(folder.path().join("shadow.toml"))
            .env("SHADOW_RECORDER_LISTEN", free.to_string())
            .env("SHADOW_LOG", "trace")
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("it listens", async || TcpStream::connect(free).await.is_ok()).await;
        let load = Load::start(free, 8);
        // Each is worth several lines at this level; a pipe holds 64 KiB.
        load.goes_on(2000).await;
        load.end().await.assert_nothing_failed();
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = timeout(DEADLINE, child.wait()).await.expect("it stops").unwrap();
        assert!(ended.success(), "{ended}");
        assert!(Stored::read(folder.path()).tally.recorded >= 2000);
    }
}
