//! One end of a connection, and the strict reading of what arrives on it.
//!
//! The reader knows RFC 9112 and accepts nothing beyond it: what it calls malformed, a careless parser behind it might read as
//! something else, and that difference is what request smuggling lives on.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A step that takes this long is late: loopback needs a millisecond, and a loaded machine a thousand times that.
pub(crate) const LATE: Duration = Duration::from_secs(6);

/// A field's name as written, and its value without the whitespace around it.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Why no more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Closed,
    Reset,
    Late,
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Stopped(Stop),
    Malformed(String),
}

fn malformed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(what.into()))
}

/// A start line and fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) start: Vec<u8>,
    pub(crate) fields: Vec<Field>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

/// What followed a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
    /// Whether its framing says that it is all there.
    pub(crate) whole: bool,
}

impl Head {
    /// Returns the values of a field, in order.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(|f| f.0.eq_ignore_ascii_case(name.as_bytes())).map(|f| &*f.1)
    }

    /// Returns the framing that the fields state; without one, a request has no body and an answer goes on to the end.
    pub(crate) fn framing(&self, unstated: Framing) -> Result<Framing, Fault> {
        let lengths: Vec<_> = self.values("content-length").collect();
        let codings: Vec<_> = self.values("transfer-encoding").collect();
        match (&*lengths, &*codings) {
            ([], []) => Ok(unstated),
            ([], [one]) if one.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            ([one], []) if !one.is_empty() && one.iter().all(u8::is_ascii_digit) => {
                let digits = String::from_utf8_lossy(one);
                let parsed = digits.parse().map(Framing::Length);
                parsed.or_else(|_| malformed(format!("length {digits}")))
            }
            _ => malformed(format!("two framings: {:?}", self.text())),
        }
    }

    /// Returns the status of an answer.
    pub(crate) fn status(&self) -> Result<u16, Fault> {
        let text = String::from_utf8_lossy(&self.start).into_owned();
        let code = (self.start.starts_with(b"HTTP/1.") && self.start.get(8) == Some(&b' '))
            .then(|| text.get(9..12).zip(text.get(12..)))
            .flatten();
        match code {
            Some((code, rest)) if rest.is_empty() || rest.starts_with(' ') => {
                code.parse().or_else(|_| malformed(format!("status line {text:?}")))
            }
            _ => malformed(format!("status line {text:?}")),
        }
    }

    fn text(&self) -> String {
        let mut text = self.start.escape_ascii().to_string();
        for (name, value) in &self.fields {
            let _ = write!(text, " | {}: {}", name.escape_ascii(), value.escape_ascii());
        }
        text
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    stop: Option<Stop>,
    /// Whether the other end takes no more.
    pub(crate) is_broken: bool,
    /// All bytes that arrived and were not taken yet, for others to look at.
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::of(timeout(LATE, TcpStream::connect(to)).await.unwrap().unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new(), stop: None, is_broken: false, waiting: Arc::default() }
    }

    /// Sends, and reads meanwhile, so that two ends that send never wait for each other. A peer that no longer listens is no
    /// fault here: what it said before is still to be read.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let (mut reader, mut writer) = self.stream.split();
        let (unread, stop, waiting) = (&mut self.unread, &mut self.stop, &self.waiting);
        let is_broken = &mut self.is_broken;
        let sending = async {
            while !bytes.is_empty() {
                tokio::select! {
                    sent = writer.write(bytes) => {
                        let Ok(count) = sent else {
                            *is_broken = true;
                            break;
                        };
                        bytes = &bytes[count..];
                    }
                    read = reader.read_buf(unread), if stop.is_none() => {
                        note(&read, stop, waiting);
                    }
                }
            }
        };
        timeout(LATE, sending).await.map_err(|_| Fault::Stopped(Stop::Late))
    }

    /// Ends this half of the connection.
    pub(crate) async fn half_close(&mut self) {
        // Fails on a connection that is gone, which the next reading tells.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn more(&mut self) -> Result<(), Fault> {
        if let Some(stop) = self.stop {
            return Err(Fault::Stopped(stop));
        }
        let Ok(read) = timeout(LATE, self.stream.read_buf(&mut self.unread)).await else {
            return Err(Fault::Stopped(Stop::Late));
        };
        note(&read, &mut self.stop, &self.waiting);
        self.stop.map_or(Ok(()), |stop| Err(Fault::Stopped(stop)))
    }

    /// Waits for bytes that were not taken yet, for ever if there will be none.
    pub(crate) async fn more_or_never(&mut self) {
        while self.unread.is_empty() {
            if self.stop.is_some() {
                return std::future::pending().await;
            }
            let read = self.stream.read_buf(&mut self.unread).await;
            note(&read, &mut self.stop, &self.waiting);
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.unread.drain(..count).collect()
    }

    /// Reads a number of bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Ok(self.take(count))
    }

    /// Reads to the end, and returns how it came.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, Stop) {
        loop {
            if let Err(Fault::Stopped(stop)) = self.more().await {
                return (self.take(self.unread.len()), stop);
            }
        }
    }

    /// Reads a head. Empty lines before it are none of it (RFC 9112, section 2.2).
    pub(crate) async fn head(&mut self) -> Result<Head, Fault> {
        loop {
            while self.unread.starts_with(b"\r\n") {
                self.take(2);
            }
            if let Some(length) = end_of_head(&self.unread) {
                let bytes = self.take(length);
                return parse_head(&bytes);
            }
            match self.more().await {
                Err(Fault::Stopped(Stop::Closed | Stop::Reset)) if !self.unread.is_empty() => {
                    let what = self.take(self.unread.len().min(80));
                    return malformed(format!("a head breaks off: {}", what.escape_ascii()));
                }
                other => other?,
            }
        }
    }

    /// Reads what follows a head. A body that breaks off is returned as such.
    pub(crate) async fn body(&mut self, framing: Framing) -> Result<Body, Fault> {
        let mut body = Body::default();
        let read = match framing {
            Framing::Length(length) => self.append(length, &mut body).await,
            Framing::Chunked => self.chunks(&mut body).await,
            Framing::ToTheEnd => {
                let stop;
                (body.bytes, stop) = self.rest().await;
                if stop == Stop::Closed { Ok(()) } else { Err(Fault::Stopped(stop)) }
            }
        };
        match read {
            Ok(()) => body.whole = true,
            Err(Fault::Stopped(Stop::Closed | Stop::Reset)) => {}
            Err(other) => return Err(other),
        }
        Ok(body)
    }

    async fn append(&mut self, mut length: usize, body: &mut Body) -> Result<(), Fault> {
        while length > 0 {
            if self.unread.is_empty() {
                self.more().await?;
            }
            let count = self.unread.len().min(length);
            body.bytes.extend(self.take(count));
            length -= count;
        }
        Ok(())
    }

    async fn chunks(&mut self, body: &mut Body) -> Result<(), Fault> {
        loop {
            let line = self.line().await?;
            let size = line.split(|b| *b == b';').next().unwrap_or_default();
            let size = size.strip_suffix(b" ").unwrap_or(size);
            let digits = String::from_utf8_lossy(size);
            let hex = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
            let Some(size) = hex.then(|| usize::from_str_radix(&digits, 16).ok()).flatten() else {
                return malformed(format!("chunk size {:?}", line.escape_ascii().to_string()));
            };
            if size == 0 {
                break;
            }
            self.append(size, body).await?;
            if self.exactly(2).await? != b"\r\n" {
                return malformed("a chunk without its end");
            }
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.push(parse_field(&line)?);
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line = self.take(at + 1);
                if !line.ends_with(b"\r\n") || line[..at - 1].contains(&b'\r') {
                    return malformed(format!("line {}", line.escape_ascii()));
                }
                line.truncate(at - 1);
                return Ok(line);
            }
            self.more().await?;
        }
    }
}

fn note(read: &io::Result<usize>, stop: &mut Option<Stop>, waiting: &AtomicUsize) {
    match read {
        Ok(0) => *stop = Some(Stop::Closed),
        Ok(count) => drop(waiting.fetch_add(*count, Ordering::Relaxed)),
        Err(_) => *stop = Some(Stop::Reset),
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.find_map(|(at, _)| match &bytes[at + 1..] {
        [b'\r', b'\n', ..] => Some(at + 3),
        [b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

fn parse_head(bytes: &[u8]) -> Result<Head, Fault> {
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n").filter(|line| !line.contains(&b'\r')) else {
            return malformed(format!("line {}", line.escape_ascii()));
        };
        lines.push(line);
    }
    let (start, fields) = lines.split_first().expect("a head ends in a line end");
    if start.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return malformed(format!("start line {}", start.escape_ascii()));
    }
    let fields = fields.iter().filter(|line| !line.is_empty()).map(|line| parse_field(line));
    Ok(Head { start: start.to_vec(), fields: fields.collect::<Result<_, _>>()? })
}

fn parse_field(line: &[u8]) -> Result<Field, Fault> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or_default();
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(is_token) {
        return malformed(format!("field {}", line.escape_ascii()));
    }
    let value = value[1..].trim_ascii();
    if value.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return malformed(format!("field {}", line.escape_ascii()));
    }
    Ok((name.to_vec(), value.to_vec()))
}
