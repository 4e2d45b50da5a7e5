//! HTTP/2 origins that answer what is no answer (RFC 9113, section 8.1.1): the client never takes it for one.

use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, Outcome, PUSH_PROMISE, RST_STREAM,
    frame, literals, request,
};
use crate::group::{nothing_dropped, report};
use crate::harness::Sidecar;
use crate::wire::Wire;

type Field = (&'static [u8], &'static [u8]);

const OK: Field = (b":status", b"200");

/// An origin whose answers are frames made by hand.
struct Group {
    folder: TempDir,
    sidecar: Sidecar,
    origin: TcpListener,
    failures: Vec<String>,
    cases: usize,
}

impl Group {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Sidecar::start(folder.path(), origin.local_addr().unwrap(), &[], "").await;
        Self { folder, sidecar, origin, failures: Vec::new(), cases: 0 }
    }

    /// Sends an answer to the one request of a connection, and says what the client gets and whether all of it came.
    async fn play(&mut self, answer: &[u8]) -> (Outcome, bool) {
        self.cases += 1;
        let origin = async {
            let mut frames = Frames::greet(Wire::of(self.origin.accept().await.unwrap().0)).await?;
            while frames.read().await?.kind != HEADERS {}
            frames.send(answer).await;
            // What the proxy says to it is read to the end, so that nothing is lost by a reset.
            if !answer.is_empty() {
                while frames.read().await.is_ok() {}
            }
            Ok::<_, crate::wire::Fault>(())
        };
        let client = async {
            let mut frames = Frames::connect(self.sidecar.clients, &[]).await;
            frames.send(&request(1, &GET, END_STREAM)).await;
            let outcome = frames.outcome(1).await;
            let mut whole = frames.ended;
            while !whole && matches!(outcome, Outcome::Answer(_)) {
                let Ok(read) = frames.read().await else { break };
                if read.kind == RST_STREAM || read.kind == GOAWAY && read.code() != 0 {
                    break;
                }
                whole = read.stream == 1 && read.flags & END_STREAM > 0;
            }
            (outcome, whole)
        };
        let ((outcome, whole), _) = tokio::join!(client, origin);
        (outcome, whole)
    }

    /// The client gets an error, or an answer of the proxy's own that says so.
    async fn broken(&mut self, name: &str, section: &str, answer: &[u8]) {
        let (outcome, whole) = self.play(answer).await;
        let is_error = match outcome {
            // 502 is none of the statuses that have an index.
            Outcome::Answer(status) => status == 0 || !whole,
            Outcome::Nothing => false,
            _ => true,
        };
        if !is_error {
            self.failures.push(format!("* {name} (RFC {section})\n  {outcome:?}, whole: {whole}"));
        }
    }

    async fn finish(mut self) {
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        if stored.tally.recorded != self.cases as u64 {
            self.failures.push(format!("of {} cases: {:?}", self.cases, stored.tally));
        }
        drop(self.folder);
        report(&self.failures, self.cases);
    }
}

/// Returns an answer's head.
fn head(fields: &[Field], flags: u8) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> = fields.to_vec();
    frame(HEADERS, flags | END_HEADERS, 1, &literals(&fields))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_answer_is_an_error() {
    let mut group = Group::start().await;
    let (outcome, whole) = group.play(&head(&[OK], END_STREAM)).await;
    // The status is a literal here, and as the proxy writes it.
    assert_eq!((outcome, whole), (Outcome::Answer(200), true), "a plain answer");
    let section = "9113, 8.1.1 and 8.2";
    for name in [&b"X-A"[..], b"x a", b"x-a\r\n", b"x-a\0", b"", b"x-\x7f", b"x:a"] {
        let answer = head(&[OK, (name, b"1")], END_STREAM);
        group.broken(&format!("name {}", name.escape_ascii()), section, &answer).await;
    }
    for value in [&b"a\r\nb"[..], b"a\nb", b"a\rb", b"a\0b"] {
        let answer = head(&[OK, (b"x-a", value)], END_STREAM);
        group.broken(&format!("value {}", value.escape_ascii()), section, &answer).await;
    }
    for (name, value) in [
        (&b"connection"[..], &b"close"[..]),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"timeout=5"),
        (b"upgrade", b"websocket"),
        (b"proxy-connection", b"close"),
    ] {
        let answer = head(&[OK, (name, value)], END_STREAM);
        group.broken(&name.escape_ascii().to_string(), "9113, 8.2.2", &answer).await;
    }
    let section = "9113, 8.3.2";
    group.broken("no status", section, &head(&[(b"x-a", b"1")], END_STREAM)).await;
    group.broken("two statuses", section, &head(&[OK, (b":status", b"204")], END_STREAM)).await;
    group
        .broken("a status behind a field", section, &head(&[(b"x-a", b"1"), OK], END_STREAM))
        .await;
    for status in [&b"20"[..], b"2000", b"2x0", b"", b"-20", b"200 OK"] {
        let answer = head(&[(b":status", status)], END_STREAM);
        group.broken(&format!("status {}", status.escape_ascii()), section, &answer).await;
    }
    for name in [&b":method"[..], b":foo"] {
        let answer = head(&[OK, (name, b"/")], END_STREAM);
        group.broken(&name.escape_ascii().to_string(), section, &answer).await;
    }
    let switched = head(&[(b":status", b"101")], END_STREAM);
    group.broken("101", "9113, 8.6", &switched).await;
    let ended = head(&[(b":status", b"103")], END_STREAM);
    group.broken("an interim answer that ends", "9113, 8.1", &ended).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_never_whole() {
    let mut group = Group::start().await;
    let section = "9113, 8.1.1";
    let five: [Field; 2] = [OK, (b"content-length", b"5")];
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let with = |more: Vec<u8>| [head(&five, 0), more].concat();
    group.broken("less than its length", section, &with(data(END_STREAM, b"hell"))).await;
    group.broken("more than its length", section, &with(data(END_STREAM, b"hello!"))).await;
    group.broken("none of its length", section, &head(&five, END_STREAM)).await;
    let two = head(&[OK, (b"content-length", b"5"), (b"content-length", b"6")], 0);
    group.broken("two lengths", section, &[two, data(END_STREAM, b"hello")].concat()).await;
    let reset = |code: u32| frame(RST_STREAM, 0, 1, &code.to_be_bytes());
    group
        .broken("a reset within it", "9113, 6.4", &with([data(0, b"he"), reset(2)].concat()))
        .await;
    group
        .broken(
            "a reset of NO_ERROR within it",
            "9113, 6.4",
            &with([data(0, b"he"), reset(0)].concat()),
        )
        .await;
    group.broken("a reset instead", "9113, 6.4", &reset(11)).await;
    group.broken("data before the head", "9113, 8.1", &data(END_STREAM, b"hello")).await;
    let go_away = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]);
    group.broken("GOAWAY", "9113, 6.8", &go_away).await;
    group.broken("GOAWAY within it", "9113, 6.8", &with([data(0, b"he"), go_away].concat())).await;
    group.broken("the end of the connection", "9113, 5.4.1", b"").await;
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &*literals(&GET)].concat());
    group.broken("a push that nobody allowed", "9113, 8.4", &push).await;
    group
        .broken(
            "an answer in HTTP/1.1",
            "9113, 3.4",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    group
        .broken(
            "a frame that is too large",
            "9113, 4.2",
            &with(frame(DATA, END_STREAM, 1, &vec![0; 20_000])),
        )
        .await;
    group
        .broken("index 0", "7541, 6.1", &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]))
        .await;
    group.finish().await;
}
