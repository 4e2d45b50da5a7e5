//! FORMAT: a segment, an immutable file of exchanges that ordinary tools read (`zstdcat FILE | jq`).
//!
//! ```text
//! segment   = frame*                      zstd frames, each complete in itself, each with a content checksum
//! frame     = line*                       whole lines of JSON; one frame per fsync interval
//! line      = {"header":{…}}              format, version, service, build, instance, rules in force; alone in the first frame and,
//!                                         so that no damage to one frame hides what the segment is, again in the second
//!           | {"exchange":{…}}            one recorded exchange
//!           | {"ambient":{…}}             an upstream call that belongs to no exchange
//!           | {"accounting":{…}}          what happened since the line before it of its kind, per stratum
//! ```
//!
//! Invariants: a frame is on disk entirely or torn; a torn or damaged frame costs its own lines and no other; the
//! accounting lines of a segment add up to `observed = recorded + sampled_out + Σ dropped` in every stratum.
//! The same framing carries the candidate's kept answers, with other lines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::census::Census;
use crate::exchange::{Ambient, Exchange, PI_ONE};
use crate::host::Host;
use crate::redact::Written;

/// The name in the header of a capture segment.
pub const FORMAT: &str = "shadow-segment";
/// The version written. Readers refuse a higher one.
pub const VERSION: u32 = 1;
/// Decompressed bytes of one frame that a reader accepts: 64 MiB, a thousand times a usual frame.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;
// zstd's own fast level: a third of level 3's time for a tenth more bytes on JSON.
const LEVEL: i32 = 1;
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// One line of a capture segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Header(Header),
    /// A recorded exchange.
    Exchange(Box<Exchange>),
    /// An upstream call that belongs to no exchange.
    Ambient(Box<Ambient>),
    /// What was observed since the last line of this kind.
    Accounting(Accounting),
}

/// Says what wrote a segment, and under which rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The service's name.
    pub service: String,
    /// The production build in front of which the recorder stood.
    pub build: String,
    /// The sidecar's instance name.
    pub instance: String,
    /// This start of the instance.
    pub boot: String,
    /// Gapless per boot, from 1.
    pub sequence: u64,
    /// When the segment was opened.
    pub opened_at: Timestamp,
    /// Every exchange of the boot received before this instant is in an earlier segment. Later than that instant nothing is certain until
    /// the first accounting line.
    #[serde(default)]
    pub sealed_through: Timestamp,
    /// Where the service listens, so that a replay never goes there.
    pub service_address: String,
    /// Where the named upstreams are, so that a replay never goes there.
    pub upstream_addresses: BTreeMap<String, String>,
    /// Where the recorder ran, so that a loopback address can be told from another machine's; absent in older segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<Host>>,
    /// The sampling rules in force.
    pub sampling: Sampling,
    /// The redaction rules in force.
    pub redaction: Box<Redaction>,
}

/// The sampling rules in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// `everything`; `trace`: the exchanges of a trace are drawn together, by a keyed hash of its id; or `order_key`: those of an
    /// order key are.
    pub rule: String,
    /// The rate as configured, a decimal.
    #[serde(default = "rate_one")]
    pub rate: String,
    /// The rate as it is applied, an integer over 2⁵³.
    #[serde(default = "pi_one")]
    pub pi: u64,
    /// Classes of exchanges with a chance of their own, in the order in which they are looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<Stratum>,
    /// Whether the money of all observed exchanges is added up, recorded or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub census: bool,
}

/// A class of exchanges with a chance of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stratum {
    /// Its name.
    pub name: String,
    /// The chance as configured, a decimal; the least one where there is an interval.
    pub rate: String,
    /// The chance as it is applied, an integer over 2⁵³.
    pub pi: u64,
    /// The monetary size from which on everything is recorded; below it the chance is size / interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Amount>,
}

// Segments written before there were rates record everything.
fn rate_one() -> String {
    "1".into()
}

fn pi_one() -> u64 {
    PI_ONE
}

/// The redaction rules in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// Fields removed from requests and answers, lower-case.
    pub headers_dropped: Vec<String>,
    /// The configured rules, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Written>,
    /// Whether requests say who called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub principal: bool,
    /// What the key of the tokens is known by; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

/// What was observed during one interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// The end of the interval.
    pub at: Timestamp,
    /// Every exchange received before this instant is in this segment or an earlier one of the boot.
    pub sealed_through: Timestamp,
    /// Whether the instance stopped cleanly after this line.
    pub last: bool,
    /// The exchanges, per stratum.
    pub strata: BTreeMap<String, Tally>,
    /// The upstream calls.
    pub calls: Calls,
    /// The money of all observed exchanges; absent without `census = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
}

/// Where the observed exchanges ended: each in exactly one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Exchanges that passed.
    pub observed: u64,
    /// Exchanges written.
    pub recorded: u64,
    /// Exchanges that the sampling left out.
    pub sampled_out: u64,
    /// Exchanges lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// Where the observed upstream calls went: each in exactly one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls kept with their exchange.
    pub attributed: u64,
    /// Calls whose trace id or business key several open exchanges carried; kept as ambient.
    pub ambiguous: u64,
    /// Calls of no known exchange; kept as ambient.
    pub unattributed: u64,
    /// Calls that came after their exchange had closed; kept as ambient.
    pub late: u64,
    /// Calls not kept because their exchange was known not to be recorded when they began: sampled out, or over a limit.
    #[serde(default)]
    pub sampled_out: u64,
    /// Calls not kept: lost with their exchange, or alone because the queue was full.
    pub dropped: u64,
}

impl Tally {
    /// Returns whether every observed exchange ended in exactly one counter.
    pub fn balances(&self) -> bool {
        self.observed == self.recorded + self.sampled_out + self.dropped.values().sum::<u64>()
    }

    /// Adds another interval.
    pub fn add(&mut self, other: &Self) {
        self.observed += other.observed;
        self.recorded += other.recorded;
        self.sampled_out += other.sampled_out;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
    }
}

impl Calls {
    /// Adds another interval.
    pub fn add(&mut self, other: &Self) {
        self.attributed += other.attributed;
        self.ambiguous += other.ambiguous;
        self.unattributed += other.unattributed;
        self.late += other.late;
        self.sampled_out += other.sampled_out;
        self.dropped += other.dropped;
    }
}

/// Compresses lines into one frame and appends it to a file.
pub fn write_frame<L: Serialize>(out: &mut impl Write, lines: &[L]) -> io::Result<()> {
    let mut frame = Frame::new()?;
    for line in lines {
        frame.add(&serde_json::to_vec(line)?)?;
    }
    out.write_all(&frame.finish()?)?;
    out.flush()
}

/// Returns what a segment begins with.
pub(crate) fn opening(header: Header) -> io::Result<Vec<u8>> {
    let line = [Line::Header(header)];
    let mut frames = Vec::new();
    write_frame(&mut frames, &line)?;
    write_frame(&mut frames, &line)?;
    Ok(frames)
}

/// A frame in memory, to which lines are added one by one.
pub(crate) struct Frame(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Frame {
    pub(crate) fn new() -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self(encoder))
    }

    /// Compresses a line of JSON.
    pub(crate) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.write_all(line)?;
        self.0.write_all(b"\n")
    }

    /// Ends the frame.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").finish_non_exhaustive()
    }
}

/// Reads the lines of a segment, frame by frame, over whatever damage it has.
#[derive(Debug)]
pub struct Reader<'a, L> {
    bytes: &'a [u8],
    at: usize,
    /// The text of the frame that is being read, and how much of it was read.
    frame: Vec<u8>,
    read: usize,
    damage: Damage,
    line: PhantomData<L>,
}

/// What a reader could not read. Any of it makes a run's evidence incomplete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Frames that were torn or failed their checksum.
    pub frames: u64,
    /// Lines of sound frames that are not of this format.
    pub lines: u64,
}

impl Damage {
    /// Returns whether anything was lost.
    pub fn any(self) -> bool {
        self.frames + self.lines > 0
    }
}

impl<'a, L: DeserializeOwned> Reader<'a, L> {
    /// Starts at the first frame.
    pub fn new(bytes: &'a [u8]) -> Self {
        let (frame, damage) = (Vec::new(), Damage::default());
        Self { bytes, at: 0, frame, read: 0, damage, line: PhantomData }
    }

    /// Returns what could not be read so far.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Returns the lines of the next sound frame, or `None` at the end.
    pub fn next_frame(&mut self) -> Option<Vec<L>> {
        self.advance()?;
        Some(std::iter::from_fn(|| self.next_of_frame()).collect())
    }

    /// Returns the lines of all sound frames that are left. One frame's text is in memory at a time, and one line of it parsed.
    pub fn lines(&mut self) -> impl Iterator<Item = L> {
        std::iter::from_fn(|| {
            loop {
                if let Some(line) = self.next_of_frame() {
                    return Some(line);
                }
                self.advance()?;
            }
        })
    }

    /// Goes to the next sound frame.
    fn advance(&mut self) -> Option<()> {
        while self.at < self.bytes.len() {
            if let Some((text, length)) = decode(&self.bytes[self.at..]) {
                self.at += length;
                (self.frame, self.read) = (text, 0);
                return Some(());
            }
            self.damage.frames += 1;
            // Resynchronise: a damaged frame must not hide the sound ones behind it.
            let next = self.bytes[self.at + 1..].windows(4).position(|window| window == MAGIC);
            self.at = next.map_or(self.bytes.len(), |offset| self.at + 1 + offset);
        }
        None
    }

    /// Returns the next line of the frame, over those that are not of this format.
    fn next_of_frame(&mut self) -> Option<L> {
        while self.read < self.frame.len() {
            let rest = &self.frame[self.read..];
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let line = &rest[..end];
            self.read += end + 1;
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(line) => return Some(line),
                Err(_) => self.damage.lines += 1,
            }
        }
        None
    }
}

/// Decodes the frame at the start of `bytes`; returns its content and its compressed length.
fn decode(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let length = zstd::zstd_safe::find_frame_compressed_size(bytes).ok()?;
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(bytes.get(..length)?).ok()?.single_frame();
    let mut text = Vec::new();
    let read = decoder.by_ref().take(FRAME_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
    (read as u64 <= FRAME_BYTES_MAX).then_some((text, length))
}

#[cfg(test)]
mod tests;
