//! The lines of the next frame, serialised, with what must be known of them if the frame cannot be written.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::account::Reason;
use crate::capture::Event;
use crate::exchange::{Ambient, Attribution, Exchange, ExchangeId, UpstreamCall};
use crate::grpc::Descriptors;
use crate::metrics::Metrics;
use crate::observation::{Seen, micros};
use crate::redact::Redactor;
use crate::registry::{Call, Closed};
use crate::segment::{Calls, FRAME_BYTES_MAX, Line};
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
    /// What must not be written, beside credentials.
    pub(crate) redactor: Arc<Redactor>,
}

/// A line that is ready to be written.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) text: Box<RawValue>,
    pub(crate) of: Of,
}

/// What a line holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Exchange { received_at: Timestamp, calls: u64 },
    Ambient(Attribution),
}

/// The lines of a frame.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Box<RawValue>>,
    pub(crate) received: Vec<Timestamp>,
    /// The first and the last of them.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// The calls among the lines, each under its attribution.
    pub(crate) calls: Calls,
    pub(crate) ambient: u64,
    pub(crate) bytes: usize,
}

impl Batch {
    pub(crate) fn push(&mut self, ready: Ready) {
        self.bytes += ready.text.get().len();
        self.lines.push(ready.text);
        match ready.of {
            Of::Exchange { received_at, calls } => {
                self.received.push(received_at);
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

/// Decodes the bodies of an event and writes its line; the error says why the event is dropped.
pub(crate) fn line(event: Event, naming: &Naming, metrics: &Metrics) -> Result<Ready, Reason> {
    let (line, of) = match event {
        Event::Exchange(closed) => {
            let (received_at, calls) = (closed.received_at, closed.calls.len() as u64);
            let exchange = exchange(*closed, naming, metrics).ok_or(Reason::Panic)?;
            (Line::Exchange(exchange.into()), Of::Exchange { received_at, calls })
        }
        Event::Stray { at, attribution, upstream, seen } => {
            let call = call(&upstream, 0, *seen, naming, metrics);
            (Line::Ambient(Ambient { at, attribution, call }.into()), Of::Ambient(attribution))
        }
        Event::End => return Err(Reason::Shutdown),
    };
    let text = to_raw_value(&line).map_err(|_| Reason::Panic)?;
    if text.get().len() as u64 > LINE_BYTES_MAX {
        return Err(Reason::LineBytesMax);
    }
    Ok(Ready { text, of })
}

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
    Some(Exchange {
        id: ExchangeId(Uuid::from_u128(closed.id).hyphenated().to_string()),
        trace_id: format!("{:032x}", closed.trace_id),
        received_at: closed.received_at,
        sequence: closed.sequence,
        duration_us,
        service: naming.service.clone(),
        build: naming.build.clone(),
        order_key: None,
        request,
        response,
        end,
        upstream: calls?,
        sample: closed.drawn.sample(),
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
