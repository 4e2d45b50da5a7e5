//! HTTP/2 requests that no recipient may accept (RFC 9113, sections 4 to 8), and that no origin may see.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::frames::{END_STREAM, Frames, GET, Outcome, request};
use crate::group::{nothing_dropped, report};
use crate::h2_peer::read;
use crate::harness::Sidecar;
use crate::script::shown;

/// `PROTOCOL_ERROR`.
pub(crate) const PROTOCOL: u32 = 1;

pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// What arrived at the origin: requests whose body was whole, in one line each.
#[derive(Clone, Default)]
pub(crate) struct Witness {
    whole: Arc<Mutex<Vec<String>>>,
    begun: Arc<AtomicUsize>,
}

impl Witness {
    pub(crate) async fn listen(&self) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let witness = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let witness = witness.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, answer))) = connection.accept().await {
                        tokio::spawn(witness.clone().answer(request, answer));
                    }
                });
            }
        });
        at
    }

    async fn answer(
        self,
        request: Request<RecvStream>,
        mut answer: h2::server::SendResponse<Bytes>,
    ) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let (head, mut body) = request.into_parts();
        if let Ok((bytes, _)) = read(&mut body, &mut Vec::new()).await {
            let mut line = format!("{} {} |", head.method, head.uri);
            for (name, value) in
                head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"))
            {
                let _ = write!(line, " {name}: {}", value.as_bytes().escape_ascii());
            }
            self.whole.lock().unwrap().push(format!("{line} | {}", shown(&bytes)));
            let _ = answer.send_response(Response::new(()), true);
        }
    }

    /// Returns how many requests began.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Attacks that share a recorder.
pub(crate) struct Attacks {
    folder: TempDir,
    sidecar: Sidecar,
    witness: Witness,
    failures: Vec<String>,
    cases: usize,
}

impl Attacks {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::default();
        let sidecar = Sidecar::start(folder.path(), witness.listen().await, &[], "").await;
        Self { folder, sidecar, witness, failures: Vec::new(), cases: 0 }
    }

    /// Sends frames on a connection of their own, and says what became of stream 1 and what the origin saw.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> (Outcome, Vec<String>) {
        self.cases += 1;
        let mut frames = Frames::connect(self.sidecar.clients, &[]).await;
        frames.send(bytes).await;
        let outcome = frames.outcome(1).await;
        // Another client's request, behind which nothing of the attack is on its way any more.
        let mut sentinel = Frames::connect(self.sidecar.clients, &[]).await;
        sentinel.send(&request(1, &SENTINEL, END_STREAM)).await;
        if sentinel.outcome(1).await != Outcome::Answer(200) {
            self.failures.push("* another client is not served".to_owned());
        }
        let mut seen = std::mem::take(&mut *self.witness.whole.lock().unwrap());
        seen.retain(|line| !line.contains("/sentinel"));
        (outcome, seen)
    }

    /// A malformed request is an error of its stream at least (RFC 9113, section 8.1.1), and is never whole for the origin.
    pub(crate) async fn refused(&mut self, name: &str, section: &str, bytes: &[u8]) {
        let (outcome, seen) = self.send(bytes).await;
        let refused = match outcome {
            Outcome::Answer(status) => status == 400 || status == 0,
            Outcome::Nothing => false,
            _ => true,
        };
        if !refused || !seen.is_empty() {
            let what =
                format!("* {name} (RFC {section})\n  {outcome:?}\n  the origin saw: {seen:?}");
            self.failures.push(what);
        }
    }

    /// A request that may be taken as one of these lines, or refused.
    pub(crate) async fn refused_or(
        &mut self,
        name: &str,
        section: &str,
        bytes: &[u8],
        lines: &[&str],
    ) {
        let (outcome, seen) = self.send(bytes).await;
        let right = match (&*seen, outcome) {
            ([], Outcome::Answer(status)) => status == 400 || status == 0,
            ([], outcome) => outcome != Outcome::Nothing,
            ([one], Outcome::Answer(200)) => lines.contains(&&**one),
            _ => false,
        };
        if !right {
            let what =
                format!("* {name} (RFC {section})\n  {outcome:?}\n  the origin saw: {seen:?}");
            self.failures.push(what);
        }
    }

    /// A connection error: the connection ends, with this code or the one that says no more (RFC 9113, sections 5.4.1 and 7).
    pub(crate) async fn ends(&mut self, name: &str, section: &str, bytes: &[u8], code: u32) {
        let (outcome, seen) = self.send(bytes).await;
        if ![Outcome::GoAway(code), Outcome::GoAway(PROTOCOL), Outcome::Closed].contains(&outcome) {
            let what =
                format!("* {name} (RFC {section})\n  {outcome:?}, not GOAWAY {code}\n  {seen:?}");
            self.failures.push(what);
        }
    }

    /// A request that is unusual and right.
    pub(crate) async fn accepted(
        &mut self,
        name: &str,
        section: &str,
        bytes: &[u8],
        lines: &[&str],
    ) {
        let (outcome, seen) = self.send(bytes).await;
        if outcome != Outcome::Answer(200) || seen.len() != 1 || !lines.contains(&&*seen[0]) {
            let what =
                format!("* {name} (RFC {section})\n  {outcome:?}\n  the origin saw: {seen:?}");
            self.failures.push(what);
        }
    }

    pub(crate) async fn finish(mut self) {
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        let begun = self.witness.begun() as u64;
        if !(begun..=begun + self.cases as u64).contains(&stored.tally.observed) {
            self.failures.push(format!("{begun} reached the origin: {:?}", stored.tally));
        }
        drop(self.folder);
        report(&self.failures, self.cases);
    }
}

pub(crate) const SENTINEL: [Field<'static>; 4] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"books"),
    (b":path", b"/sentinel"),
];

/// Returns a plain request with one pseudo-header field replaced.
fn with(name: &'static [u8], value: &'static [u8]) -> Vec<u8> {
    let fields = GET.map(|field| if field.0 == name { (name, value) } else { field });
    request(1, &fields, END_STREAM)
}

/// Returns a plain request with more fields.
fn and(more: &[Field<'_>]) -> Vec<u8> {
    request(1, &[&GET, more].concat(), END_STREAM)
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudo_header_fields_smuggle_nothing() {
    let mut attacks = Attacks::start().await;
    let section = "9113, 8.3";
    for value in [
        &b"/t HTTP/1.1\r\nHost: evil\r\n\r\n"[..],
        b"/t\r\nX-A: 1",
        b"/t\nX-A: 1",
        b"/t\rX-A: 1",
        b"/t\0",
        b"/a b",
        b"/t\x7f",
        b"/t\x01",
        b"",
        b"t",
        b"http://evil/t",
        b" /t",
        b"/t ",
        b"/t\t",
    ] {
        attacks
            .refused(&format!(":path {}", value.escape_ascii()), section, &with(b":path", value))
            .await;
    }
    for value in
        [&b"GE T"[..], b"GET / HTTP/1.1\r\n", b"GET\r\n", b"GET\0", b"", b"G@T", b" GET", b"GET "]
    {
        attacks
            .refused(
                &format!(":method {}", value.escape_ascii()),
                section,
                &with(b":method", value),
            )
            .await;
    }
    for value in [
        &b"books\r\nX-A: 1"[..],
        b"books\0",
        b"bo oks",
        b"books/t",
        b"a@books",
        b"books, evil",
        b"books?a",
        b"books:http",
        b"books\n",
        b" books",
        b"books#a",
    ] {
        let name = format!(":authority {}", value.escape_ascii());
        attacks.refused(&name, "9113, 8.3.1", &with(b":authority", value)).await;
    }
    for value in [&b"http\r\n"[..], b"ht tp", b"", b"http://evil/?", b"http\0", b"1"] {
        attacks
            .refused(
                &format!(":scheme {}", value.escape_ascii()),
                section,
                &with(b":scheme", value),
            )
            .await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudo_header_fields_are_complete_and_first() {
    let mut attacks = Attacks::start().await;
    let section = "9113, 8.3";
    for left_out in [&b":method"[..], b":scheme", b":path"] {
        let fields: Vec<Field<'_>> = GET.into_iter().filter(|field| field.0 != left_out).collect();
        let name = format!("no {}", left_out.escape_ascii());
        attacks.refused(&name, "9113, 8.3.1", &request(1, &fields, END_STREAM)).await;
    }
    for twice in GET {
        let fields: Vec<Field<'_>> = [twice].into_iter().chain(GET).collect();
        let name = format!("{} twice", twice.0.escape_ascii());
        attacks.refused(&name, section, &request(1, &fields, END_STREAM)).await;
    }
    let late: Vec<Field<'_>> = [GET[0], GET[1], GET[2], (b"x-a", b"1"), GET[3]].into();
    attacks
        .refused("a pseudo-header behind a field", section, &request(1, &late, END_STREAM))
        .await;
    for unknown in [&b":foo"[..], b":status", b":protocol", b":", b":Path"] {
        let fields: Vec<Field<'_>> = [(unknown, &b"200"[..])].into_iter().chain(GET).collect();
        let name = format!("unknown {}", unknown.escape_ascii());
        attacks.refused(&name, section, &request(1, &fields, END_STREAM)).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_smuggle_nothing() {
    let mut attacks = Attacks::start().await;
    let section = "9113, 8.2.1";
    for name in [
        &b"X-A"[..],
        b"x a",
        b"x-a\r\nhost",
        b"x-a\n",
        b"x-a\0",
        b"x-a:",
        b"x:a",
        b"",
        b" x-a",
        b"x-a ",
        b"x-\x7f",
        b"x-\x80",
        b"x\x0ba",
        b"x(a)",
        b"x-a: 1\r\n\r\nGET /smuggled HTTP/1.1",
    ] {
        attacks
            .refused(&format!("name {}", name.escape_ascii()), section, &and(&[(name, b"1")]))
            .await;
    }
    for value in [
        &b"a\r\nb"[..],
        b"a\nb",
        b"a\rb",
        b"a\0b",
        b"\r\n",
        b"1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ] {
        attacks
            .refused(&format!("value {}", value.escape_ascii()), section, &and(&[(b"x-a", value)]))
            .await;
    }
    for value in [&b" a"[..], b"a ", b"\ta", b"a\t"] {
        let lines = ["GET http://books/t | x-a: a | \"\""];
        let name = format!("value {}", value.escape_ascii());
        attacks.refused_or(&name, section, &and(&[(b"x-a", value)]), &lines).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_connection_belong_to_no_stream() {
    let mut attacks = Attacks::start().await;
    let section = "9113, 8.2.2";
    for (name, value) in [
        (&b"connection"[..], &b"close"[..]),
        (b"connection", b"x-a"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"te", b"trailers, gzip"),
    ] {
        let what = format!("{}: {}", name.escape_ascii(), value.escape_ascii());
        attacks.refused(&what, section, &and(&[(name, value)])).await;
    }
    let plain = [
        "GET http://books/t | | \"\"",
        "GET http://books/t || \"\"",
        "GET http://books/t | | \"\"",
    ];
    let section = "9113, 8.3.1";
    attacks.refused_or("Host as :authority", section, &and(&[(b"host", b"books")]), &plain).await;
    attacks
        .refused_or("Host unlike :authority", section, &and(&[(b"host", b"evil")]), &plain)
        .await;
    let two: [Field<'_>; 2] = [(b"host", b"books"), (b"host", b"evil")];
    attacks.refused_or("two Hosts", section, &and(&two), &[]).await;
    let te = and(&[(b"te", b"trailers")]);
    attacks.accepted("te: trailers", "9113, 8.2.2", &te, &plain).await;
    let star: [Field<'_>; 4] = [
        (b":method", b"OPTIONS"),
        (b":scheme", b"http"),
        (b":authority", b"books"),
        (b":path", b"*"),
    ];
    let lines =
        ["OPTIONS * | | \"\"", "OPTIONS http://books/* | | \"\"", "OPTIONS http://books* | | \"\""];
    attacks.accepted("OPTIONS *", section, &request(1, &star, END_STREAM), &lines).await;
    attacks.finish().await;
}
