//! Reads what a run has frozen: its segments, as their manifests describe them.

use std::collections::BTreeMap;

use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::segment::{Line, Reader, Redaction};

use crate::config::Config;
use crate::plan::Range;
use crate::run::FrozenSegment;

/// What was read of a segment.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The rules under which it was recorded; absent where its header cannot be read.
    pub(crate) redaction: Option<Redaction>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// Reads the exchanges of a segment that lie in the range. What is missing or damaged is named in `losses` and never an end of the
/// run: whatever is sound is still compared. Money that was posted to a sink outside of any exchange is a loss as well.
pub(crate) async fn exchanges(
    config: &Config,
    frozen: &FrozenSegment,
    range: Range,
    losses: &mut Vec<String>,
) -> Read {
    let key = &frozen.key;
    let bytes = match config.store.get(key).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let error = anyhow::Error::from(error);
            losses.push(format!(
                "segment {key} with {} exchanges cannot be read: {error:#}",
                frozen.exchanges
            ));
            return Read::default();
        }
    };
    let mut reader = Reader::<Line>::new(&bytes);
    let (mut exchanges, mut read, mut stray) = (Vec::new(), 0_u64, BTreeMap::<String, u64>::new());
    let mut redaction = None;
    for line in reader.lines() {
        match line {
            Line::Header(header) => redaction = Some(*header.redaction),
            Line::Exchange(exchange) => {
                read += 1;
                exchanges.extend(range.contains(exchange.received_at).then_some(*exchange));
            }
            Line::Ambient(ambient) if range.contains(ambient.at) => {
                *stray.entry(ambient.call.name).or_default() += 1;
            }
            _ => {}
        }
    }
    for (sink, calls) in stray.iter().filter(|(name, _)| config.mapping.sinks.contains(*name)) {
        losses.push(format!(
            "{calls} calls to sink {sink} in segment {key} belong to no exchange: raise [recorder] linger, or pass the trace context on"
        ));
    }
    let damage = reader.damage();
    if sha256(&bytes) != frozen.sha256 || damage.any() {
        losses.push(format!(
            "segment {key} is not what its manifest describes: {} of {} exchanges could be read, {} frames and {} lines are damaged",
            read,
            frozen.exchanges,
            damage.frames,
            damage.lines
        ));
    }
    Read { redaction, exchanges }
}
