//! The lines of the next frame, with what must be known of them if the frame cannot be written.
//!
//! Each is compressed as it comes. To compress a whole frame at its end kept the thread busy for 10 to 30 ms at a time, which on a
//! pod of one core are missing to the requests.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::account::Reason;
use crate::business_key::BusinessKey;
use crate::capture::Event;
use crate::census::Census;
use crate::exchange::{Ambient, Attribution, Exchange, ExchangeId, Sample, UpstreamCall};
use crate::grpc::Descriptors;
use crate::ledger::Mapping;
use crate::metrics::Metrics;
use crate::observation::{Seen, micros};
use crate::redact::Redactor;
use crate::registry::{Call, Closed};
use crate::sampling::{Decision, Sampling, StratumId};
use crate::segment::{Accounting, Calls, FRAME_BYTES_MAX, Frame, Line};
use crate::totals::spanning;

/// A frame is written at this size even before its time: 8 MiB, an eighth of what a reader accepts.
pub(crate) const FRAME_BYTES: usize = 8 << 20;
/// A line that would not leave a reader room for the rest of its frame is dropped.
const LINE_BYTES_MAX: u64 = FRAME_BYTES_MAX / 2;

/// What the lines are made of beside what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) service: String,
    pub(crate) build: String,
    pub(crate) body_bytes_max: usize,
    /// How gRPC messages are read, where that is known.
    pub(crate) grpc: Option<Descriptors>,
    /// How what was booked is read, where the sampling needs that.
    pub(crate) mapping: Option<Mapping>,
    pub(crate) sampling: Sampling,
    /// Where an exchange has its order key.
    pub(crate) order_key: Option<Arc<BusinessKey>>,
    /// What must not be written, beside credentials.
    pub(crate) redactor: Arc<Redactor>,
}

#[cfg(test)]
impl Naming {
    /// Records everything, and knows nothing of the messages.
    pub(crate) fn plain() -> Self {
        Self {
            service: "ledger".into(),
            build: "p1".into(),
            body_bytes_max: 1000,
            grpc: None,
            mapping: None,
            sampling: Sampling::everything(),
            order_key: None,
            redactor: Arc::default(),
        }
    }
}

/// What a line holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Exchange { received_at: Timestamp, calls: u64, stratum: StratumId },
    Ambient(Attribution),
}

/// Why an event becomes no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The sampling leaves the exchange out.
    Out(StratumId),
    Lost(Reason),
}

/// The lines of a frame.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Absent until there is a line.
    pub(crate) frame: Option<Frame>,
    pub(crate) received: Vec<Timestamp>,
    /// The exchanges by stratum.
    pub(crate) strata: BTreeMap<StratumId, u64>,
    /// The first and the last of them.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// The calls among the lines, each under its attribution.
    pub(crate) calls: Calls,
    pub(crate) ambient: u64,
    pub(crate) bytes: usize,
}

impl Batch {
    /// Adds a line, which holds this.
    pub(crate) fn push(&mut self, line: &[u8], of: Of) -> io::Result<()> {
        self.frame_mut()?.add(line)?;
        self.bytes += line.len();
        match of {
            Of::Exchange { received_at, calls, stratum } => {
                self.received.push(received_at);
                *self.strata.entry(stratum).or_default() += 1;
                self.span = Some(spanning(self.span, received_at));
                self.calls.attributed += calls;
            }
            Of::Ambient(attribution) => {
                self.ambient += 1;
                match attribution {
                    Attribution::Ambiguous => self.calls.ambiguous += 1,
                    Attribution::Late => self.calls.late += 1,
                    Attribution::Attributed | Attribution::Unattributed => {
                        self.calls.unattributed += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the frame with the accounting line.
    pub(crate) fn finish(&mut self, accounting: &Accounting) -> anyhow::Result<Vec<u8>> {
        let line = serde_json::to_vec(&Line::Accounting(accounting.clone()))?;
        self.frame_mut()?.add(&line)?;
        Ok(self.frame.take().map_or_else(|| Ok(Vec::new()), Frame::finish)?)
    }

    fn frame_mut(&mut self) -> io::Result<&mut Frame> {
        let frame = match self.frame.take() {
            Some(frame) => frame,
            None => Frame::new()?,
        };
        Ok(self.frame.insert(frame))
    }

    /// Returns the exchanges among the lines.
    pub(crate) fn exchanges(&self) -> u64 {
        self.received.len() as u64
    }

    /// Returns the upstream calls in the lines.
    pub(crate) fn call_count(&self) -> u64 {
        let Calls { attributed, ambiguous, unattributed, late, sampled_out: _, dropped: _ } =
            self.calls;
        attributed + ambiguous + unattributed + late
    }
}

/// Decodes the bodies of an event, adds what it booked to the census, and puts its line into `text`; the error says why there
/// is none.
pub(crate) fn line(
    event: Event,
    naming: &Naming,
    metrics: &Metrics,
    census: Option<&mut Census>,
    text: &mut Vec<u8>,
) -> Result<Of, Left> {
    let (line, of) = match event {
        Event::Exchange(closed) => {
            let (drawn, trace_id) = (closed.drawn, closed.trace_id);
            let (received_at, calls) = (closed.received_at, closed.calls.len() as u64);
            let mut exchange =
                exchange(*closed, naming, metrics).ok_or(Left::Lost(Reason::Panic))?;
            let reading =
                naming.mapping.as_ref().and_then(|mapping| mapping.read_exchange(&exchange));
            if let Some(census) = census {
                census.read(reading.as_ref());
            }
            let sampling = &naming.sampling;
            match sampling.decide(drawn, trace_id, &exchange, reading.as_ref()) {
                Decision::Out(stratum) => return Err(Left::Out(stratum)),
                Decision::Kept(stratum, sample) => {
                    exchange.sample = sample;
                    (Line::Exchange(exchange.into()), Of::Exchange { received_at, calls, stratum })
                }
            }
        }
        Event::Stray { at, attribution, upstream, seen } => {
            let call = call(&upstream, 0, *seen, naming, metrics);
            (Line::Ambient(Ambient { at, attribution, call }.into()), Of::Ambient(attribution))
        }
        Event::End => return Err(Left::Lost(Reason::Shutdown)),
    };
    text.clear();
    serde_json::to_writer(&mut *text, &line).map_err(|_| Left::Lost(Reason::Panic))?;
    if text.len() as u64 > LINE_BYTES_MAX {
        return Err(Left::Lost(Reason::LineBytesMax));
    }
    Ok(of)
}

/// Its sample is decided on after it.
fn exchange(closed: Closed, naming: &Naming, metrics: &Metrics) -> Option<Exchange> {
    let calls: Option<Vec<UpstreamCall>> = closed
        .calls
        .into_iter()
        .map(|Call { upstream, offset, seen, .. }| {
            Some(call(&upstream, micros(offset), seen?, naming, metrics))
        })
        .collect();
    let (end, duration_us) = (closed.seen.end(), closed.seen.duration_us());
    let (request, response) = closed.seen.into_messages(None, naming, metrics);
    let order_key = naming.order_key.as_ref().and_then(|source| source.of(&request));
    Some(Exchange {
        id: ExchangeId(Uuid::from_u128(closed.id).hyphenated().to_string()),
        trace_id: format!("{:032x}", closed.trace_id),
        received_at: closed.received_at,
        sequence: closed.sequence,
        duration_us,
        service: naming.service.clone(),
        build: naming.build.clone(),
        order_key,
        request,
        response,
        end,
        upstream: calls?,
        sample: Sample::everything(),
    })
}

fn call(
    upstream: &str,
    offset_us: u64,
    seen: Seen,
    naming: &Naming,
    metrics: &Metrics,
) -> UpstreamCall {
    let (end, duration_us) = (seen.end(), seen.duration_us());
    let (request, response) = seen.into_messages(Some(upstream), naming, metrics);
    UpstreamCall { name: upstream.into(), offset_us, duration_us, request, response, end }
}
