//! A case: what the client and the origin do, byte for byte, and the transcript of what each of them saw.

use std::fmt::Write;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wire::{Body, Fault, Field, Framing, Head, LATE, Stop, Wire};

/// What the client or the origin does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Reads one message: the origin a request, the client an answer, be it an interim one.
    Message,
    /// Reads an answer to HEAD.
    Bodiless,
    /// Reads a head, and leaves what follows it.
    Head,
    /// Reads what follows the last head.
    Body,
    /// Reads bytes as they are.
    Read(usize),
    /// Lets the other side's `Await` go on.
    Signal,
    Await,
    /// Waits for a request on the last connection, or on another beside it; the origin's script ends here if the client's ends
    /// without.
    IfCalled,
    HalfClose,
    /// Reads to the end of the connection.
    End,
    Close,
    Reset,
}

/// Returns a number of fields, each of another name.
pub(crate) fn fields(count: usize) -> String {
    let mut fields = String::new();
    for number in 0..count {
        let _ = write!(fields, "X-Field-{number}: {number}\r\n");
    }
    fields
}

/// Sends bytes.
pub(crate) fn send(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Send(bytes.into())
}

/// What is sent, and where the RFC says what is to happen to it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    pub(crate) client: Vec<Step>,
    pub(crate) origin: Vec<Step>,
}

/// What each side saw, in lines that can be compared: without what belongs to a connection alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) client: Vec<String>,
    pub(crate) origin: Vec<String>,
}

impl Transcript {
    /// Returns a line that says that the script itself did not go through.
    pub(crate) fn broken(&self) -> Option<&String> {
        let mut lines = self.client.iter().chain(&self.origin);
        lines.find(|line| line.starts_with("late") || line.starts_with("malformed"))
    }
}

impl Case {
    /// Plays both sides, the client connected to `to`.
    pub(crate) async fn play(&self, to: SocketAddr, origin: &TcpListener) -> Transcript {
        let (signals, awaited) = (Semaphore::new(0), Semaphore::new(0));
        let over = CancellationToken::new();
        let mut client =
            Player::new(Some(Wire::connect(to).await), None, [&awaited, &signals], &over);
        let mut server = Player::new(None, Some(origin), [&signals, &awaited], &over);
        let playing = async {
            client.play(&self.client).await;
            over.cancel();
        };
        tokio::join!(playing, server.play(&self.origin));
        Transcript { client: client.lines, origin: server.lines }
    }

    /// Takes out a date that only the proxy can have added to an origin's answer, and returns whether there was one.
    pub(crate) fn take_date(&self, lines: &mut Vec<String>) -> bool {
        let has_date = |step: &Step| matches!(step, Step::Send(bytes) if bytes.windows(6).any(|w| w.eq_ignore_ascii_case(b"\ndate:")));
        let before = lines.len();
        if !self.origin.iter().any(has_date) {
            lines.retain(|line| !line.starts_with("  date: "));
        }
        before > lines.len() && !lines.iter().any(|line| line == "answer 502")
    }
}

/// One side of a case.
struct Player<'a> {
    wire: Option<Wire>,
    /// Where the origin's connections come from; the client has none.
    listener: Option<&'a TcpListener>,
    /// What this side gives, and what it waits for.
    signals: [&'a Semaphore; 2],
    /// Cancelled when the client's script has ended.
    over: &'a CancellationToken,
    /// Connections that the origin neither uses nor closes.
    left: Vec<Wire>,
    framing: Framing,
    /// Whether the client speaks HTTP/1.0 and understands no chunks.
    old: bool,
    lines: Vec<String>,
}

impl<'a> Player<'a> {
    fn new(
        wire: Option<Wire>,
        listener: Option<&'a TcpListener>,
        signals: [&'a Semaphore; 2],
        over: &'a CancellationToken,
    ) -> Self {
        let framing = Framing::Length(0);
        Self {
            wire,
            listener,
            signals,
            over,
            left: Vec::new(),
            framing,
            old: false,
            lines: Vec::new(),
        }
    }

    async fn play(&mut self, steps: &[Step]) {
        for step in steps {
            if matches!(step, Step::IfCalled) {
                if !self.called().await {
                    return;
                }
                continue;
            }
            match self.step(step).await {
                Ok(()) => {}
                Err(Fault::Stopped(Stop::Late)) => {
                    return self.lines.push(format!("late in {}", short(step)));
                }
                Err(Fault::Stopped(_)) => return self.lines.push("ended".to_owned()),
                Err(Fault::Malformed(what)) => {
                    return self.lines.push(format!("malformed: {what}"));
                }
            }
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Send(bytes) => {
                self.old |= bytes.windows(10).any(|window| window == b"HTTP/1.0\r\n");
                self.wire().await?.send(bytes).await?;
            }
            Step::Message => {
                self.head(false).await?;
                self.body().await?;
            }
            Step::Bodiless => self.head(true).await?,
            Step::Head => self.head(false).await?,
            Step::Body => self.body().await?,
            Step::Read(count) => {
                let bytes = self.wire().await?.exactly(*count).await?;
                self.lines.push(format!("read {}", shown(&bytes)));
            }
            Step::Signal => self.signals[0].add_permits(1),
            Step::Await => match timeout(LATE, self.signals[1].acquire()).await {
                Ok(permit) => permit.unwrap().forget(),
                Err(_) => return Err(Fault::Stopped(Stop::Late)),
            },
            Step::HalfClose => self.wire().await?.half_close().await,
            Step::End => {
                let (bytes, ending) = self.wire().await?.rest().await;
                if bytes.starts_with(b"HTTP/1.1 400 ") {
                    self.lines.push("refused".to_owned());
                } else if !bytes.is_empty() {
                    self.lines.push(format!("read {}", shown(&bytes)));
                }
                return Err(Fault::Stopped(ending)).or_else(|fault| match ending {
                    Stop::Late => Err(fault),
                    Stop::Closed | Stop::Reset => {
                        self.lines.push("end".to_owned());
                        Ok(())
                    }
                });
            }
            Step::IfCalled => {}
            Step::Close => self.wire = None,
            Step::Reset => self.wire.take().expect("a connection to reset").reset(),
        }
        Ok(())
    }

    /// Waits for a request on the last connection or on another, and returns whether there will be one.
    async fn called(&mut self) -> bool {
        let listener = self.listener.expect("only the origin is called");
        let used = async {
            match &mut self.wire {
                Some(wire) => wire.more_or_never().await,
                None => std::future::pending().await,
            }
        };
        let another = tokio::select! {
            () = used => None,
            accepted = listener.accept() => Some(accepted.unwrap().0),
            () = self.over.cancelled() => return false,
        };
        if let Some(stream) = another {
            self.left.extend(self.wire.replace(Wire::of(stream)));
        }
        true
    }

    async fn wire(&mut self) -> Result<&mut Wire, Fault> {
        if self.wire.is_none() {
            let Some(listener) = self.listener else { return Err(Fault::Stopped(Stop::Closed)) };
            let Ok(accepted) = timeout(LATE, listener.accept()).await else {
                return Err(Fault::Stopped(Stop::Late));
            };
            self.wire = Some(Wire::of(accepted.unwrap().0));
        }
        Ok(self.wire.as_mut().expect("just accepted"))
    }

    async fn head(&mut self, bodiless: bool) -> Result<(), Fault> {
        let origin = self.listener.is_some();
        let head = loop {
            match self.wire().await?.head().await {
                // A connection that ends between two requests: the next one comes on another.
                Err(Fault::Stopped(Stop::Closed | Stop::Reset)) if origin => self.wire = None,
                other => break other?,
            }
        };
        if origin {
            self.framing = head.framing(Framing::Length(0))?;
            return write_request(&head, &mut self.lines);
        }
        let status = head.status()?;
        let none = bodiless || matches!(status, 100..=199 | 204 | 304);
        self.framing = if none { Framing::Length(0) } else { head.framing(Framing::ToTheEnd)? };
        if self.old && head.values("transfer-encoding").next().is_some() {
            return Err(Fault::Malformed("chunks for an HTTP/1.0 client".to_owned()));
        }
        self.lines.push(format!("answer {status}"));
        // The protocol that the connection switches to is what an Upgrade of status 101 says, and no longer about the hop.
        let kept: &[&str] = if status == 101 { &["upgrade"] } else { &[] };
        write_fields("", &end_to_end(&head, kept), &mut self.lines);
        Ok(())
    }

    async fn body(&mut self) -> Result<(), Fault> {
        let framing = self.framing;
        let Body { bytes, trailers, whole } = self.wire().await?.body(framing).await?;
        if !bytes.is_empty() {
            self.lines.push(format!("  body {}", shown(&bytes)));
        }
        write_fields("trailer ", &trailers, &mut self.lines);
        self.lines.push(if whole { "  whole" } else { "  cut" }.to_owned());
        Ok(())
    }
}

/// Writes a request as it means the same in origin form and in absolute form (RFC 9112, section 3.2.2).
fn write_request(head: &Head, lines: &mut Vec<String>) -> Result<(), Fault> {
    let parts: Vec<&[u8]> = head.start.split(|byte| *byte == b' ').collect();
    let &[method, mut target, version] = &*parts else {
        return Err(Fault::Malformed(format!("request line {}", head.start.escape_ascii())));
    };
    let mut kept = end_to_end(head, &[]);
    if let Some(rest) = target.strip_prefix(b"http://") {
        let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        target = if slash < rest.len() { &rest[slash..] } else { b"/" };
        kept.retain(|(name, _)| !name.eq_ignore_ascii_case(b"host"));
        kept.push((b"host".to_vec(), rest[..slash].to_vec()));
    }
    let hosts = head.values("host").count();
    if hosts > 1 || hosts == 0 && version != b"HTTP/1.0" {
        return Err(Fault::Malformed(format!("{hosts} Host fields")));
    }
    lines.push(format!("request {} {}", method.escape_ascii(), target.escape_ascii()));
    write_fields("", &kept, lines);
    Ok(())
}

/// Returns the fields but those of the hop (RFC 9110, section 7.6.1) and the trace context, which the recorder adds.
fn end_to_end(head: &Head, but: &[&str]) -> Vec<Field> {
    let own =
        ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    let own = own.into_iter().chain(["traceparent", "tracestate"]);
    let own: Vec<_> = own.filter(|name| !but.contains(name)).collect();
    let is_own = |name: &[u8]| own.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    head.fields.iter().filter(|(name, _)| !is_own(name)).cloned().collect()
}

/// Writes fields by name; only among fields of one name does the order carry meaning (RFC 9110, section 5.3).
fn write_fields(what: &str, fields: &[Field], lines: &mut Vec<String>) {
    let mut fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), shown(value))).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in fields {
        lines.push(format!("  {what}{}: {value}", name.escape_ascii()));
    }
}

/// Returns bytes as text; of long ones the length, both ends and the sum.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 400 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes
        .iter()
        .fold(0u64, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*byte)));
    let (first, last) = (&bytes[..20], &bytes[bytes.len() - 20..]);
    format!("{} bytes {}..{} {sum:x}", bytes.len(), first.escape_ascii(), last.escape_ascii())
}

fn short(step: &Step) -> String {
    match step {
        Step::Send(bytes) => format!("Send({})", shown(bytes)),
        other => format!("{other:?}"),
    }
}
