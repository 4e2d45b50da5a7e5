//! HTTP/2 frames made by hand (RFC 9113, section 4), for what no well-behaved peer sends.

use std::net::SocketAddr;

use crate::wire::{Fault, Stop, Wire};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Also ACK, where the frame has one.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A frame as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Returns the code of a `RST_STREAM` or `GOAWAY`.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()))
    }
}

/// Returns a frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Returns fields encoded as literals that no table keeps (RFC 7541, section 6.2.2).
pub(crate) fn literals(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), 7, &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// Writes an integer with a prefix of so many bits (RFC 7541, section 5.1).
pub(crate) fn integer(mut number: usize, bits: u32, block: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if number < most {
        return block.push(u8::try_from(number).unwrap());
    }
    block.push(u8::try_from(most).unwrap());
    number -= most;
    while number >= 128 {
        block.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    block.push(u8::try_from(number).unwrap());
}

/// The pseudo-header fields of a plain request.
pub(crate) const GET: [(&[u8], &[u8]); 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"books"), (b":path", b"/t")];

/// Returns a request's HEADERS frame.
pub(crate) fn request(stream: u32, fields: &[(&[u8], &[u8])], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &literals(fields))
}

/// A peer that writes and reads frames.
pub(crate) struct Frames {
    wire: Wire,
    /// Whether the outcome's head was the end of its stream.
    pub(crate) ended: bool,
}

impl Frames {
    /// Connects as a client, with these settings.
    pub(crate) async fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { wire: Wire::connect(to).await, ended: false };
        frames.send(&[PREFACE, &frame(SETTINGS, 0, 0, &payload_of(settings))].concat()).await;
        frames
    }

    /// Greets as an origin.
    pub(crate) async fn greet(mut wire: Wire) -> Result<Self, Fault> {
        if wire.exactly(PREFACE.len()).await? != PREFACE {
            return Err(Fault::Malformed("no preface".to_owned()));
        }
        let mut frames = Self { wire, ended: false };
        frames.send(&frame(SETTINGS, 0, 0, &[])).await;
        Ok(frames)
    }

    /// Sends bytes; returns whether they all went out in time.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.wire.send(bytes).await.is_ok()
    }

    /// Returns whether the other end takes no more.
    pub(crate) fn is_broken(&self) -> bool {
        self.wire.is_broken
    }

    /// Reads a frame, and acknowledges settings.
    pub(crate) async fn read(&mut self) -> Result<Frame, Fault> {
        let head = self.wire.exactly(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
        let payload = self.wire.exactly(length as usize).await?;
        let read = Frame { kind: head[3], flags: head[4], stream, payload };
        if read.kind == SETTINGS && read.flags & END_STREAM == 0 {
            self.send(&frame(SETTINGS, END_STREAM, 0, &[])).await;
        }
        Ok(read)
    }

    /// Reads up to what ends a stream or the connection, and says which.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let read = match self.read().await {
                Ok(read) => read,
                Err(Fault::Stopped(Stop::Late)) => return Outcome::Nothing,
                Err(_) => return Outcome::Closed,
            };
            match read.kind {
                GOAWAY if read.code() != 0 => return Outcome::GoAway(read.code()),
                RST_STREAM if read.stream == stream => return Outcome::Reset(read.code()),
                HEADERS if read.stream == stream => {
                    // The first field is the status: one of those that the static table indexes (RFC 7541, appendix A).
                    self.ended = read.flags & END_STREAM > 0;
                    let statuses = [200, 204, 206, 304, 400, 404, 500];
                    let indexed = read.payload.first().and_then(|byte| byte.checked_sub(0x88));
                    let status = indexed.and_then(|at| statuses.get(usize::from(at)));
                    return Outcome::Answer(status.copied().unwrap_or(0));
                }
                _ => {}
            }
        }
    }
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A status, 0 for one that is rarely used.
    Answer(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
    Nothing,
}

/// Returns the payload of SETTINGS.
pub(crate) fn payload_of(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (setting, value) in settings {
        payload.extend_from_slice(&setting.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    payload
}
