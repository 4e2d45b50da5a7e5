//! Clients that are slow: those that hold a connection and do nothing lose it, those that wait for the service do not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::frames::{END_STREAM, Frames, GET, HEADERS, Outcome, PREFACE, frame, literals, request};
use crate::group::nothing_dropped;
use crate::h2_peer;
use crate::harness::{Sidecar, until};
use crate::script::shown;
use crate::wire::{Fault, Framing, LATE, Stop, Wire};

/// Both limits; nothing that is rightly kept is closed within three times as long.
const LIMITS: &str = "head_timeout = \"1s\"\nstall_timeout = \"1s\"";
const LONGER: Duration = Duration::from_secs(3);
/// What a limit of one second leaves at least, whatever the watch's ticks.
const AT_LEAST: Duration = Duration::from_millis(700);

const ASK: &[u8] = b"GET /t HTTP/1.1\r\nHost: books\r\n\r\n";
const LARGE: usize = 16 << 20;

/// What the origin saw, a line for each request that ended.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<Vec<String>>>);

impl Origin {
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let origin = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = origin.clone();
                tokio::spawn(async move {
                    let mut wire = Wire::of(stream);
                    while let Ok(()) | Err(Fault::Stopped(Stop::Late)) =
                        origin.serve(&mut wire).await
                    {}
                });
            }
        });
        at
    }

    async fn serve(&self, wire: &mut Wire) -> Result<(), Fault> {
        let head = wire.head().await?;
        let body = wire.body(head.framing(Framing::Length(0))?).await;
        let whole = body.as_ref().is_ok_and(|body| body.whole);
        let path = String::from_utf8_lossy(&head.start).split(' ').nth(1).unwrap().to_owned();
        if !whole {
            self.note(format!("{path} cut"));
            return Err(Fault::Stopped(Stop::Closed));
        }
        match &*path {
            "/large" => {
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())
                    .await?;
                // In parts, each of which a slow reader takes in time.
                for _ in 0..LARGE >> 18 {
                    let sent = wire.send(&vec![b'x'; 1 << 18]).await;
                    if wire.is_broken || sent.is_err() {
                        let how = if sent.is_err() { "held up" } else { "unread" };
                        self.note(format!("/large {how}"));
                        return Err(Fault::Stopped(Stop::Closed));
                    }
                }
            }
            "/slow" => {
                sleep(LONGER).await;
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await?;
                sleep(LONGER).await;
                wire.send(b"k").await?;
            }
            "/socket" => {
                wire.send(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
                    .await?;
                while let Ok(byte) = wire.exactly(1).await {
                    wire.send(&byte).await?;
                }
            }
            _ => wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?,
        }
        self.note(format!("{path} answered"));
        Ok(())
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    async fn until(&self, line: &str) {
        until(line, async || self.0.lock().unwrap().iter().any(|seen| seen == line)).await;
    }
}

struct Slow {
    folder: TempDir,
    sidecar: Sidecar,
    origin: Origin,
}

impl Slow {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::default();
        let sidecar = Sidecar::start(folder.path(), origin.listen().await, &[], LIMITS).await;
        Self { folder, sidecar, origin }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.sidecar.clients).await
    }

    /// Another client is served meanwhile.
    async fn serves(&self) {
        assert_eq!(answer(&mut self.ask(ASK).await).await, "ok");
    }

    async fn ask(&self, bytes: &[u8]) -> Wire {
        let mut wire = self.connect().await;
        wire.send(bytes).await.unwrap();
        wire
    }

    async fn finish(self, exchanges: u64) {
        self.sidecar.until("shadow_recorder_exchanges_observed_total", exchanges).await;
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        assert_eq!(stored.tally.recorded, exchanges);
        drop(self.folder);
    }
}

/// Reads one answer's body.
async fn answer(wire: &mut Wire) -> String {
    let head = wire.head().await.unwrap();
    let body = wire.body(head.framing(Framing::ToTheEnd).unwrap()).await.unwrap();
    assert!(body.whole, "{head:?}");
    String::from_utf8_lossy(&body.bytes).into_owned()
}

/// A connection ends by the limit, not before and not long after it, with 408 (RFC 9110, section 15.5.9) or nothing.
async fn ends(wire: &mut Wire, since: Instant, what: &str) {
    let (bytes, stop) = wire.rest().await;
    assert_ne!(stop, Stop::Late, "{what}: left open");
    assert!(since.elapsed() >= AT_LEAST, "{what}: closed after {:?}", since.elapsed());
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408 "), "{what}: {}", shown(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_closes_its_connection() {
    let slow = Slow::start().await;
    let begun = async |bytes: &'static [u8]| {
        let since = Instant::now();
        let mut wire = slow.ask(bytes).await;
        ends(&mut wire, since, &shown(bytes)).await;
    };
    let dribbled = async {
        let (since, mut wire) = (Instant::now(), slow.ask(b"GET /t HTTP/1.1\r\n").await);
        let dribble = async {
            // Bytes alone do not help.
            for number in 0.. {
                if wire.send(format!("X-{number}: a\r\n").as_bytes()).await.is_err()
                    || wire.is_broken
                {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        assert!(timeout(LATE, dribble).await.is_ok(), "a head by drops: left open");
        assert!(since.elapsed() >= AT_LEAST, "a head by drops: closed after {:?}", since.elapsed());
    };
    let second = async {
        let mut wire = slow.ask(ASK).await;
        assert_eq!(answer(&mut wire).await, "ok");
        let since = Instant::now();
        wire.send(b"GET /t HT").await.unwrap();
        ends(&mut wire, since, "the second head").await;
    };
    // What begins as HTTP/2 begins is a head as well.
    let preface = async {
        let since = Instant::now();
        let mut wire = slow.ask(&PREFACE[..10]).await;
        ends(&mut wire, since, "half a preface").await;
    };
    let block = literals(&GET);
    let unfinished = frame(HEADERS, END_STREAM, 1, &block[..20]);
    let http2 = async {
        let mut frames = Frames::connect(slow.sidecar.clients, &[]).await;
        frames.send(&unfinished).await;
        // It may say so before it closes.
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(outcome, Outcome::Closed | Outcome::GoAway(_)),
            "half a head: {outcome:?}"
        );
    };
    tokio::join!(
        begun(b""),
        begun(b"GET /t HT"),
        begun(b"\r\n"),
        begun(b"GET /t HTTP/1.1\r\nHost: books\r\n")
    );
    tokio::join!(dribbled, second, preface, http2, slow.serves());
    slow.finish(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_closes_its_connection() {
    let slow = Slow::start().await;
    let stalled = async |path: &str, framing: &str| {
        let since = Instant::now();
        let head = format!("POST {path} HTTP/1.1\r\nHost: books\r\n{framing}");
        let mut wire = slow.ask(head.as_bytes()).await;
        ends(&mut wire, since, framing).await;
        // The origin does not take for whole what came.
        slow.origin.until(&format!("{path} cut")).await;
    };
    // One that is slow and goes on is waited for.
    let patient = async {
        let mut wire =
            slow.ask(b"POST /patient HTTP/1.1\r\nHost: books\r\nContent-Length: 10\r\n\r\n").await;
        for _ in 0..10 {
            sleep(LONGER / 10).await;
            wire.send(b"x").await.unwrap();
        }
        assert_eq!(answer(&mut wire).await, "ok");
    };
    tokio::join!(
        stalled("/none", "Content-Length: 10\r\n\r\n"),
        stalled("/half", "Content-Length: 10\r\n\r\nhello"),
        stalled("/chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        stalled("/chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        patient,
        slow.serves(),
    );
    slow.finish(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_closes_its_connection() {
    let slow = Slow::start().await;
    let large = b"GET /large HTTP/1.1\r\nHost: books\r\n\r\n";
    let mut unread = TcpStream::connect(slow.sidecar.clients).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut unread, large).await.unwrap();
    slow.serves().await;
    slow.origin.until("/large unread").await;
    slow.serves().await;
    let mut taken = Vec::new();
    let ended = timeout(LATE, unread.read_to_end(&mut taken)).await;
    assert!(ended.is_ok() && taken.len() < LARGE, "{} bytes, {ended:?}", taken.len());
    // One that reads slowly and goes on gets everything.
    let mut steady = TcpStream::connect(slow.sidecar.clients).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut steady, large).await.unwrap();
    let (mut taken, mut part) = (0, vec![0; 1 << 19]);
    while taken < LARGE {
        let read = timeout(LATE, steady.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {taken} bytes");
        taken += read;
        sleep(LONGER / 100).await;
    }
    slow.finish(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_owes_nothing_is_left_alone() {
    let slow = Slow::start().await;
    let idle = async {
        let mut wire = slow.ask(ASK).await;
        for _ in 0..2 {
            assert_eq!(answer(&mut wire).await, "ok");
            sleep(LONGER).await;
            wire.send(ASK).await.unwrap();
        }
        assert_eq!(answer(&mut wire).await, "ok");
    };
    // The service takes its time before its answer and within it.
    let waiting = async {
        let mut wire = slow.ask(b"GET /slow HTTP/1.1\r\nHost: books\r\n\r\n").await;
        let head = timeout(LATE, async {
            loop {
                match wire.head().await {
                    Err(Fault::Stopped(Stop::Late)) => {}
                    head => return head,
                }
            }
        });
        assert!(head.await.unwrap().is_ok());
        assert_eq!(wire.exactly(2).await.unwrap(), b"ok");
    };
    let tunnel = async {
        let ask =
            b"GET /socket HTTP/1.1\r\nHost: books\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        let mut wire = slow.ask(ask).await;
        assert!(wire.head().await.unwrap().start.starts_with(b"HTTP/1.1 101"));
        for byte in [b"a", b"b"] {
            sleep(LONGER).await;
            wire.send(byte).await.unwrap();
            assert_eq!(wire.exactly(1).await.unwrap(), byte);
        }
    };
    tokio::join!(idle, waiting, tunnel, slow.serves());
    slow.finish(6).await;
}

/// Streams of both directions may be quiet for as long as they like, and so may connections between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut origin = h2_peer::Origin::start().await;
    let sidecar = Sidecar::start(folder.path(), origin.at, &[], LIMITS).await;
    // One pauses within a stream, the other between two.
    let converse = async |times: u32, within: Duration, between: Duration| {
        let client = h2_peer::Client::connect(sidecar.clients).await;
        for _ in 0..times {
            let asked = Request::post("http://books/stream").body(()).unwrap();
            let (answer, mut sending) = client.begin(asked, false).await.unwrap();
            let mut body = timeout(LATE, answer).await.unwrap().unwrap().into_body();
            for _ in 0..2 {
                h2_peer::send(&mut sending, Bytes::from_static(b"word"), false).await.unwrap();
                let data = timeout(LATE, body.data()).await.unwrap().unwrap().unwrap();
                assert_eq!(data, "word");
                body.flow_control().release_capacity(data.len()).unwrap();
                sleep(within).await;
            }
            h2_peer::send(&mut sending, Bytes::new(), true).await.unwrap();
            while let Some(data) = timeout(LATE, body.data()).await.unwrap() {
                assert!(data.unwrap().is_empty());
            }
            sleep(between).await;
        }
    };
    tokio::join!(converse(1, LONGER, Duration::ZERO), converse(2, Duration::ZERO, LONGER));
    origin.seen(3).await;
    let stored = sidecar.stop().await;
    nothing_dropped(&stored);
    assert_eq!(stored.tally.recorded, 3);
}

/// A window that stays shut holds up its own stream alone; one that opens late gets the whole answer or an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_zero_holds_up_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let origin = h2_peer::Origin::start().await;
    let sidecar = Sidecar::start(folder.path(), origin.at, &[], LIMITS).await;
    let path = |path: &'static [u8]| [GET[0], GET[1], GET[2], (&b":path"[..], path)];
    let mut shut = Frames::connect(sidecar.clients, &[(4, 0)]).await;
    shut.send(&request(1, &path(b"/large"), END_STREAM)).await;
    assert_eq!(shut.outcome(1).await, Outcome::Answer(200));
    // On the same connection as well as on others.
    shut.send(&request(3, &path(b"/trailers-only"), END_STREAM)).await;
    assert_eq!(shut.outcome(3).await, Outcome::Answer(200));
    let mut other = Frames::connect(sidecar.clients, &[]).await;
    other.send(&request(1, &path(b"/trailers-only"), END_STREAM)).await;
    assert_eq!(other.outcome(1).await, Outcome::Answer(200));
    sleep(LONGER).await;
    let mut wide = Vec::new();
    for stream in [0, 1] {
        wide.extend(frame(crate::frames::WINDOW_UPDATE, 0, stream, &(1u32 << 30).to_be_bytes()));
    }
    shut.send(&wide).await;
    let (mut bytes, mut whole) = (0, false);
    while let Ok(read) = shut.read().await {
        if read.kind == crate::frames::DATA && read.stream == 1 {
            bytes += read.payload.len();
            whole = read.flags & END_STREAM > 0;
        }
        if whole || read.kind == crate::frames::RST_STREAM || read.kind == crate::frames::GOAWAY {
            break;
        }
    }
    assert!(!whole || bytes == h2_peer::large().len(), "whole after {bytes} bytes");
    drop((shut, other));
    let stored = sidecar.stop().await;
    nothing_dropped(&stored);
    assert_eq!(stored.tally.recorded, 3);
}
