//! Floods: a peer that costs more than it sends loses its connection or is held up, the process stays small, and others are served.

use std::future::poll_fn;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, Outcome, PING,
    PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, integer, literals, request,
};
use crate::h2_attacks::Witness;
use crate::harness::Sidecar;
use crate::wire::{Fault, Framing, LATE, Stop, Wire};

/// What a flood may cost: a few connections' buffers, 1 to 2 MiB as measured. Everything that is sent here makes up more.
const GROWTH_KIB_MAX: u64 = 16 << 10;
/// A flood goes on for so long, if nobody ends it.
const FLOOD: Duration = Duration::from_secs(3);

/// More than the buffers of two sockets take, so that whoever answers each frame of it is held up.
const UNREAD_BYTES: usize = 16 << 20;

struct Flooded {
    folder: TempDir,
    sidecar: Sidecar,
    witness: Witness,
    kib_before: u64,
}

impl Flooded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::default();
        let limits = "head_timeout = \"2s\"\nstall_timeout = \"2s\"";
        let sidecar = Sidecar::start(folder.path(), witness.listen().await, &[], limits).await;
        let mut flooded = Self { folder, sidecar, witness, kib_before: 0 };
        flooded.serves().await;
        flooded.kib_before = flooded.kib();
        flooded
    }

    /// Returns the process's resident memory.
    fn kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.sidecar.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Another client is served.
    async fn serves(&self) {
        let mut other = Frames::connect(self.sidecar.clients, &[]).await;
        other.send(&request(1, &GET, END_STREAM)).await;
        assert_eq!(other.outcome(1).await, Outcome::Answer(200), "another client");
    }

    /// Sends what `next` makes until the connection ends, reading as well; returns whether it ended.
    async fn flood(&self, begin: &[u8], mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
        let mut frames = Frames::connect(self.sidecar.clients, &[]).await;
        frames.send(begin).await;
        let since = Instant::now();
        let mut ended = false;
        for number in 0.. {
            if !frames.send(&next(number)).await || frames.is_broken() || since.elapsed() > FLOOD {
                break;
            }
            if number % 100 == 0 {
                self.check_size();
            }
        }
        self.serves().await;
        // It says so, or just ends.
        let end = timeout(LATE, async {
            loop {
                match frames.read().await {
                    Ok(read) if read.kind == GOAWAY && read.code() != 0 => return true,
                    Ok(_) => {}
                    Err(Fault::Stopped(Stop::Late)) => return false,
                    Err(_) => return true,
                }
            }
        });
        ended |= end.await.unwrap_or(false);
        self.check_size();
        ended
    }

    /// Sends without ever reading. Either all of it is taken, or the connection ends.
    async fn flood_unread(&self, part: &[u8]) {
        let mut stream = TcpStream::connect(self.sidecar.clients).await.unwrap();
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        stream.write_all(&hello).await.unwrap();
        for _ in 0..UNREAD_BYTES / part.len() {
            let sent = timeout(LATE, stream.write_all(part)).await;
            self.check_size();
            if sent.expect("taken or ended in time").is_err() {
                break;
            }
        }
        self.serves().await;
        self.check_size();
    }

    fn check_size(&self) {
        let now = self.kib();
        assert!(now < self.kib_before + GROWTH_KIB_MAX, "{} KiB, then {now} KiB", self.kib_before);
    }

    async fn finish(self) {
        let stored = self.sidecar.stop().await;
        assert!(stored.tally.balances(), "{:?}", stored.tally);
        assert!(stored.tally.observed >= self.witness.begun() as u64, "{:?}", stored.tally);
        drop(self.folder);
    }
}

/// Returns the odd number of a stream.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_their_connection() {
    let flooded = Flooded::start().await;
    let cancel = 8u32.to_be_bytes();
    // A hundred in a packet.
    let ended = flooded
        .flood(b"", |number| {
            let streams = (0..100).map(|more| stream(100 * number + more));
            let resets = streams.map(|stream| {
                [request(stream, &GET, END_STREAM), frame(RST_STREAM, 0, stream, &cancel)].concat()
            });
            resets.collect::<Vec<_>>().concat()
        })
        .await;
    assert!(ended, "streams opened and reset for {FLOOD:?}");
    flooded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_ends_its_connection() {
    let flooded = Flooded::start().await;
    let block = literals(&GET);
    let begin = frame(HEADERS, END_STREAM, 1, &block);
    let fields = literals(&[(b"x-a", &[b'a'; 1000])]);
    for (name, piece) in [
        ("fields", frame(CONTINUATION, 0, 1, &fields)),
        ("nothing", frame(CONTINUATION, 0, 1, &[])),
        ("single bytes", frame(CONTINUATION, 0, 1, &[0])),
        ("full frames", frame(CONTINUATION, 0, 1, &literals(&[(b"x-a", &[b'a'; 16_000])]))),
    ] {
        let ended = flooded.flood(&begin, |_| piece.repeat(20)).await;
        assert!(ended, "CONTINUATION with {name}");
    }
    flooded.finish().await;
}

/// A field of 4 KB in the table, named by a byte each: 16 KB that mean 64 MB.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_unpacks_to_more_is_refused() {
    let flooded = Flooded::start().await;
    let mut insert = literals(&GET);
    // Literal with incremental indexing (RFC 7541, section 6.2.1), and an index to it, 62, from then on.
    insert.extend_from_slice(b"\x40\x01b");
    integer(4000, 7, &mut insert);
    insert.extend([b'b'; 4000]);
    let first = frame(HEADERS, END_STREAM | END_HEADERS, 1, &insert);
    let mut frames = Frames::connect(flooded.sidecar.clients, &[]).await;
    frames.send(&first).await;
    assert_eq!(frames.outcome(1).await, Outcome::Answer(200));
    let bomb = [literals(&GET), vec![0x80 | 0x3e; 16_000]].concat();
    for number in 1..20 {
        let bomb = frame(HEADERS, END_STREAM | END_HEADERS, stream(number), &bomb);
        let gone = !frames.send(&bomb).await || frames.is_broken();
        flooded.check_size();
        if gone {
            break;
        }
        let outcome = frames.outcome(stream(number)).await;
        // 431 is none of the statuses that have an index.
        let refused = matches!(outcome, Outcome::Answer(0) | Outcome::Reset(_));
        let ended = matches!(outcome, Outcome::GoAway(_) | Outcome::Closed);
        assert!(refused || ended, "{outcome:?}");
        if ended {
            break;
        }
    }
    flooded.serves().await;
    assert!(
        flooded.witness.begun() < 10,
        "{} requests reached the origin",
        flooded.witness.begun()
    );
    flooded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_data_without_end_ends_its_connection() {
    let flooded = Flooded::start().await;
    let post = [(&b":method"[..], &b"POST"[..]), GET[1], GET[2], GET[3]];
    let ended = flooded.flood(&request(1, &post, 0), |_| frame(DATA, 0, 1, &[]).repeat(1000)).await;
    assert!(ended, "DATA with nothing");
    flooded.finish().await;
}

/// Frames that ask for an answer each, from a client that takes none.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_nobody_takes_are_bounded() {
    let flooded = Flooded::start().await;
    let ping = frame(PING, 0, 0, &[0; 8]).repeat(5000);
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(5000);
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]).repeat(5000);
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(5000);
    let unread = async |part: &[u8]| flooded.flood_unread(part).await;
    tokio::join!(unread(&ping), unread(&settings), unread(&priority), unread(&update));
    flooded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_at_once_are_bounded() {
    let flooded = Flooded::start().await;
    let mut frames = Frames::connect(flooded.sidecar.clients, &[]).await;
    let post = [(&b":method"[..], &b"POST"[..]), GET[1], GET[2], GET[3]];
    for number in 0..5000 {
        if !frames.send(&request(stream(number), &post, 0)).await || frames.is_broken() {
            break;
        }
    }
    flooded.serves().await;
    flooded.check_size();
    // Those beyond the limit are refused, or the connection ends (RFC 9113, section 5.1.2).
    let last = frames.outcome(stream(4999)).await;
    assert!(!matches!(last, Outcome::Nothing | Outcome::Answer(_)), "{last:?}");
    drop(frames);
    flooded.finish().await;
}

/// Returns a recorder before an origin of the test's own.
async fn before_an_origin() -> (Flooded, TcpListener) {
    let folder = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = origin.local_addr().unwrap();
    let limits = "head_timeout = \"2s\"\nstall_timeout = \"2s\"";
    let sidecar = Sidecar::start(folder.path(), at, &[], limits).await;
    let mut flooded = Flooded { folder, sidecar, witness: Witness::default(), kib_before: 0 };
    flooded.kib_before = flooded.kib();
    (flooded, origin)
}

/// Interim answers without end over HTTP/2, where no window holds them up.
#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_without_end_are_bounded_over_http_2() {
    let (flooded, origin) = before_an_origin().await;
    let mut client = Frames::connect(flooded.sidecar.clients, &[]).await;
    client.send(&request(1, &GET, END_STREAM)).await;
    let mut frames = Frames::greet(Wire::of(origin.accept().await.unwrap().0)).await.unwrap();
    while frames.read().await.unwrap().kind != HEADERS {}
    let fields: [(&[u8], &[u8]); 2] = [(b":status", b"103"), (b"link", b"</a.css>; rel=preload")];
    let hint = frame(HEADERS, END_HEADERS, 1, &literals(&fields));
    let hints = hint.repeat(1000);
    let since = Instant::now();
    while since.elapsed() < FLOOD && frames.send(&hints).await && !frames.is_broken() {
        flooded.check_size();
    }
    frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
    // What the client then reads is as many as are passed, and the answer.
    let mut heads = 0;
    loop {
        let read = client.read().await.unwrap();
        if read.kind == HEADERS && read.flags & END_STREAM > 0 {
            break;
        }
        heads += usize::from(read.kind == HEADERS);
    }
    assert!((100..10_000).contains(&heads), "{heads} interim answers");
    flooded.check_size();
    drop((client, frames));
    flooded.finish().await;
}

/// A body without end, for a client that opens every window and reads nothing: its sender is held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_holds_up_its_sender_over_http_2() {
    let (flooded, origin) = before_an_origin().await;
    let wide = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000u32.to_be_bytes());
    let mut client = Frames::connect(flooded.sidecar.clients, &[(4, 0x7fff_ffff)]).await;
    client.send(&[wide, request(1, &GET, END_STREAM)].concat()).await;
    let mut connection = h2::server::handshake(origin.accept().await.unwrap().0).await.unwrap();
    let (_, mut answer) = connection.accept().await.unwrap().unwrap();
    let driver = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut sending = answer.send_response(http::Response::new(()), false).unwrap();
    let (mut taken, mut mib) = (0, 0);
    // The client that takes nothing loses its connection in the end.
    while taken < 200 << 20 {
        sending.reserve_capacity(1 << 20);
        let capacity = timeout(LATE, poll_fn(|context| sending.poll_capacity(context))).await;
        let Ok(Some(Ok(capacity))) = capacity else { break };
        if sending.send_data(vec![b'x'; capacity].into(), false).is_err() {
            break;
        }
        taken += capacity;
        if taken >> 20 > mib {
            mib = taken >> 20;
            flooded.check_size();
        }
    }
    assert!((1..50).contains(&mib), "{mib} MiB were taken");
    flooded.check_size();
    driver.abort();
    drop(client);
    flooded.finish().await;
}

/// Interim answers without end, for a client that does not read them.
#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_without_end_are_bounded() {
    let (flooded, origin) = before_an_origin().await;
    let mut client = TcpStream::connect(flooded.sidecar.clients).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: books\r\n\r\n").await.unwrap();
    let mut wire = Wire::of(origin.accept().await.unwrap().0);
    wire.head().await.unwrap();
    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n".repeat(1000);
    let since = Instant::now();
    while since.elapsed() < FLOOD {
        if timeout(LATE, wire.send(hints.as_bytes())).await.is_err() || wire.is_broken {
            break;
        }
        flooded.check_size();
    }
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap_or_default();
    // What the client then reads is a prefix of what was sent, or the whole in order.
    let mut client = Wire::of(client);
    loop {
        match client.head().await {
            Ok(head) if head.status() == Ok(103) => {
                assert_eq!(head.values("link").count(), 1, "{head:?}");
            }
            Ok(head) => {
                assert!(matches!(head.status(), Ok(200 | 502)), "{head:?}");
                let body = client.body(head.framing(Framing::ToTheEnd).unwrap()).await.unwrap();
                assert!(body.whole);
                break;
            }
            Err(Fault::Stopped(Stop::Closed | Stop::Reset)) => break,
            Err(Fault::Malformed(what)) if what.starts_with("a head breaks off") => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    drop(wire);
    flooded.check_size();
    flooded.finish().await;
}
