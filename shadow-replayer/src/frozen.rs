//! Reads what a run has frozen: its segments, as their manifests describe them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{Ambient, Exchange};
use shadow_recorder::segment::{Header, Reader, Redaction};

use crate::bucket;
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

/// A line of a segment, with exchanges as it is convenient.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<E> {
    Header(Box<Header>),
    Exchange(Box<E>),
    Ambient(Box<Ambient>),
    Accounting(IgnoredAny),
}

/// What an exchange is read as.
pub(crate) trait Received: DeserializeOwned {
    /// Returns when production received it.
    fn received_at(&self) -> Timestamp;
}

impl Received for Exchange {
    fn received_at(&self) -> Timestamp {
        self.received_at
    }
}

/// Hands the exchanges of a segment that lie in the range, or those of a bucket's part, to `each`, as [`lines`] does.
pub(crate) fn read(
    bytes: &[u8],
    frozen: &FrozenSegment,
    range: Range,
    sinks: &BTreeSet<String>,
    each: impl FnMut(Option<&Redaction>, Exchange) -> ControlFlow<()>,
) -> Vec<String> {
    if bucket::is_part(&frozen.key) {
        bucket::read(bytes, frozen, each)
    } else {
        lines(bytes, frozen, range, sinks, each)
    }
}

/// Hands the exchanges of a segment that lie in the range to `each`, one after the other, with the rules under which they were recorded:
/// absent where the header cannot be read. Returns the losses: what is damaged, and money that was posted to a sink outside of any
/// exchange.
pub(crate) fn lines<E: Received>(
    bytes: &[u8],
    frozen: &FrozenSegment,
    range: Range,
    sinks: &BTreeSet<String>,
    mut each: impl FnMut(Option<&Redaction>, E) -> ControlFlow<()>,
) -> Vec<String> {
    let key = &frozen.key;
    let mut reader = Reader::<Line<E>>::new(bytes);
    let (mut read, mut stray) = (0_u64, BTreeMap::<String, u64>::new());
    let mut redaction = None;
    for line in reader.lines() {
        match line {
            Line::Header(header) => redaction = Some(*header.redaction),
            Line::Exchange(exchange) => {
                read += 1;
                if range.contains(exchange.received_at())
                    && each(redaction.as_ref(), *exchange).is_break()
                {
                    return Vec::new();
                }
            }
            Line::Ambient(ambient) if range.contains(ambient.at) => {
                *stray.entry(ambient.call.name).or_default() += 1;
            }
            Line::Ambient(_) | Line::Accounting(_) => {}
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
