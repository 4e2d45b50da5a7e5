//! Reads what a run has frozen: its segments, as their manifests describe them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::segment::{Line, Reader, Redaction};

use crate::config::Config;
use crate::plan::Range;
use crate::run::FrozenSegment;

/// Fetches a segment; the error is a loss, never an end of the run: whatever else is sound is still compared.
pub(crate) async fn fetch(config: &Config, frozen: &FrozenSegment) -> Result<Vec<u8>, String> {
    config.store.get(&frozen.key).await.map_err(|error| {
        let (key, exchanges) = (&frozen.key, frozen.exchanges);
        let error = anyhow::Error::from(error);
        format!("segment {key} with {exchanges} exchanges cannot be read: {error:#}")
    })
}

/// Hands the exchanges of a segment that lie in the range to `each`, one after the other, with the rules under which they were recorded:
/// absent where the header cannot be read. Returns the losses: what is damaged, and money that was posted to a sink outside of any
/// exchange.
pub(crate) fn read(
    bytes: &[u8],
    frozen: &FrozenSegment,
    range: Range,
    sinks: &BTreeSet<String>,
    mut each: impl FnMut(Option<&Redaction>, Exchange) -> ControlFlow<()>,
) -> Vec<String> {
    let key = &frozen.key;
    let mut reader = Reader::<Line>::new(bytes);
    let (mut read, mut stray) = (0_u64, BTreeMap::<String, u64>::new());
    let mut redaction = None;
    for line in reader.lines() {
        match line {
            Line::Header(header) => redaction = Some(*header.redaction),
            Line::Exchange(exchange) => {
                read += 1;
                if range.contains(exchange.received_at)
                    && each(redaction.as_ref(), *exchange).is_break()
                {
                    return Vec::new();
                }
            }
            Line::Ambient(ambient) if range.contains(ambient.at) => {
                *stray.entry(ambient.call.name).or_default() += 1;
            }
            _ => {}
        }
    }
    let mut losses = Vec::new();
    for (sink, calls) in stray.iter().filter(|(name, _)| sinks.contains(*name)) {
        losses.push(format!(
            "{calls} calls to sink {sink} in segment {key} belong to no exchange: raise [recorder] linger, or pass the trace context on"
        ));
    }
    let damage = reader.damage();
    if sha256(bytes) != frozen.sha256 || damage.any() {
        losses.push(format!(
            "segment {key} is not what its manifest describes: {} of {} exchanges could be read, {} frames and {} lines are damaged",
            read,
            frozen.exchanges,
            damage.frames,
            damage.lines
        ));
    }
    losses
}
