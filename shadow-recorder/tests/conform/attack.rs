//! Requests that two parsers might read differently, and the origin that sees what became of them.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::group::{nothing_dropped, report};
use crate::harness::Sidecar;
use crate::script::shown;
use crate::wire::{Fault, Framing, Head, Stop, Wire};

/// Follows every attack on its connection: it may be answered after a request that was well understood, never after a refusal.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: books\r\nConnection: close\r\n\r\n";
const SENTINEL: &str = "GET /sentinel HTTP/1.1\r\nHost: books\r\nConnection: close\r\n\r\n";

/// What may become of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is answered by one of these statuses (0: not at all), its connection closed, and not one byte reaches the origin.
    Refused(&'static [u16]),
    /// It reaches the origin once, framed anew, as one of these lines: method, target, fields, body.
    Once(&'static [&'static str]),
    /// Either of both.
    RefusedOr(&'static [u16], &'static [&'static str]),
    /// The same, and the connection is closed after it.
    RefusedOrLast(&'static [u16], &'static [&'static str]),
    /// Its body is malformed when its head is on its way already: the origin never sees it whole.
    Broken,
    /// The same, or it reaches the origin once.
    OnceOrBroken(&'static [&'static str]),
    /// Broken, where the client leaves it unfinished.
    Unfinished,
}

/// A request that reached the origin.
#[derive(Clone, Debug)]
struct Seen {
    head: Head,
    body: Option<Vec<u8>>,
}

/// What reached the origin on all connections.
#[derive(Debug, Default)]
pub(crate) struct Log {
    requests: Vec<Seen>,
    malformed: Vec<String>,
    /// Bytes of each connection that make no request yet.
    waiting: Vec<Arc<AtomicUsize>>,
}

/// An origin that answers every request and remembers what it read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    log: Arc<Mutex<Log>>,
}

impl Witness {
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let witness = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let wire = Wire::of(stream);
                witness.log.lock().unwrap().waiting.push(Arc::clone(&wire.waiting));
                tokio::spawn(witness.clone().serve(wire));
            }
        });
        at
    }

    async fn serve(self, mut wire: Wire) {
        loop {
            match self.one(&mut wire).await {
                // An idle connection may be used later.
                Ok(()) | Err(Fault::Stopped(Stop::Late)) => {}
                Err(Fault::Stopped(_)) => return,
                Err(Fault::Malformed(what)) => {
                    return self.log.lock().unwrap().malformed.push(what);
                }
            }
        }
    }

    async fn one(&self, wire: &mut Wire) -> Result<(), Fault> {
        let head = wire.head().await?;
        let at = {
            let mut log = self.log.lock().unwrap();
            log.requests.push(Seen { head: head.clone(), body: None });
            log.requests.len() - 1
        };
        let body = wire.body(head.framing(Framing::Length(0))?).await?;
        if !body.whole {
            return Err(Fault::Stopped(Stop::Closed));
        }
        self.log.lock().unwrap().requests[at].body = Some(body.bytes);
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    fn requests(&self) -> usize {
        self.log.lock().unwrap().requests.len()
    }
}

/// Attacks that share a recorder.
pub(crate) struct Attacks {
    folder: TempDir,
    sidecar: Sidecar,
    witness: Witness,
    failures: Vec<String>,
    cases: u64,
}

impl Attacks {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::default();
        let sidecar = Sidecar::start(folder.path(), witness.listen().await, &[], "").await;
        Self { folder, sidecar, witness, failures: Vec::new(), cases: 0 }
    }

    /// Sends an attack, another request behind it, and then a sentinel on a connection of its own.
    pub(crate) async fn check(
        &mut self,
        name: &str,
        section: &str,
        bytes: impl AsRef<[u8]>,
        fate: Fate,
    ) {
        self.cases += 1;
        let before = self.witness.requests();
        let attack = [bytes.as_ref(), AFTER.as_bytes()].concat();
        let unfinished = matches!(fate, Fate::Unfinished);
        let answers = exchange(self.sidecar.clients, &attack, unfinished).await;
        let sentinel = exchange(self.sidecar.clients, SENTINEL.as_bytes(), false).await;
        let mut wrong = judge(&answers, &self.witness, before, fate).err().unwrap_or_default();
        if sentinel != ["200", "end"] {
            let _ = writeln!(wrong, "  the request after it on another connection: {sentinel:?}");
        }
        if !wrong.is_empty() {
            let sent = shown(bytes.as_ref());
            self.failures.push(format!("* {name} (RFC {section})\n  sent: {sent}\n{wrong}"));
        }
    }

    /// Stops the recorder: what reached the origin was observed, and what was observed is recorded.
    pub(crate) async fn finish(mut self) {
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        let reached = self.witness.requests() as u64;
        if !(reached..=reached + self.cases).contains(&stored.tally.observed) {
            self.failures.push(format!("{reached} reached the origin: {:?}", stored.tally));
        }
        drop(self.folder);
        report(&self.failures, usize::try_from(self.cases).unwrap());
    }
}

/// Sends bytes and reads answers to the end: their statuses, and how it ended.
async fn exchange(to: SocketAddr, bytes: &[u8], half_close: bool) -> Vec<String> {
    let mut wire = Wire::connect(to).await;
    let mut seen = Vec::new();
    let reading = async {
        wire.send(bytes).await?;
        if half_close {
            wire.half_close().await;
        }
        loop {
            let head = wire.head().await?;
            let status = head.status()?;
            seen.push(status.to_string());
            let body = wire.body(head.framing(Framing::ToTheEnd)?).await?;
            if !body.whole {
                seen.push("cut".to_owned());
            }
        }
    };
    let ended: Result<(), Fault> = reading.await;
    seen.push(match ended {
        Err(Fault::Stopped(Stop::Late)) => "left open".to_owned(),
        Err(Fault::Malformed(what)) => format!("malformed: {what}"),
        _ => "end".to_owned(),
    });
    seen
}

fn judge(answers: &[String], witness: &Witness, before: usize, fate: Fate) -> Result<(), String> {
    let log = witness.log.lock().unwrap();
    let new = log.requests[before..].iter();
    let new: Vec<&Seen> =
        new.filter(|seen| !seen.head.start.starts_with(b"GET /sentinel ")).collect();
    let lines: Vec<String> = new.iter().map(|seen| line(seen)).collect();
    let waiting: usize = log.waiting.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
    let all = format!(
        "  expected: {fate:?}\n  the client saw: {answers:?}\n  the origin saw: {lines:#?}\n"
    );
    if !log.malformed.is_empty() || waiting > 0 {
        return Err(format!("{all}  malformed: {:?}, and {waiting} bytes\n", log.malformed));
    }
    let (statuses, end) = answers.split_at(answers.len() - 1);
    let refused = |allowed: &[u16]| {
        let status = match statuses {
            [] => Some(0),
            [one] => one.parse().ok(),
            _ => None,
        };
        lines.is_empty() && status.is_some_and(|status| allowed.contains(&status))
    };
    let once = |allowed: &[&str], last: bool| {
        let rest = lines.get(1..).unwrap_or_default();
        lines.first().is_some_and(|first| allowed.contains(&&**first))
            && (rest.is_empty() || !last && rest == ["GET /after || \"\""])
            && statuses.iter().all(|status| status == "200")
            && statuses.len() == lines.len()
    };
    let broken = new.len() <= 1
        && new.iter().all(|seen| seen.body.is_none())
        && statuses.len() <= 1
        && statuses.iter().all(|status| status.starts_with('4'));
    let right = match fate {
        Fate::Refused(allowed) => refused(allowed),
        Fate::Once(allowed) => once(allowed, false),
        Fate::RefusedOr(statuses, allowed) => refused(statuses) || once(allowed, false),
        Fate::RefusedOrLast(statuses, allowed) => refused(statuses) || once(allowed, true),
        Fate::Broken | Fate::Unfinished => broken,
        Fate::OnceOrBroken(allowed) => broken || once(allowed, false),
    };
    if right && *end == ["end"] { Ok(()) } else { Err(all) }
}

/// Writes a request in one line: method, target, the fields that the attacks set, body.
fn line(seen: &Seen) -> String {
    let start = String::from_utf8_lossy(&seen.head.start).into_owned();
    let request = start.rsplit_once(' ').map_or(&*start, |(request, _)| request);
    let mut fields = String::new();
    for (name, value) in seen.head.fields.iter().filter(|(name, _)| name.starts_with(b"X-")) {
        let _ = write!(fields, " {}: {} ", name.escape_ascii(), value.escape_ascii());
    }
    let body = seen.body.as_deref().map_or("cut".to_owned(), shown);
    format!("{request} |{fields}| {body}")
}
