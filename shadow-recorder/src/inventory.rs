//! What each start of a recorder has left in the store: ranges, counts, losses and how far it is complete.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::manifest::Manifest;
use crate::segment::Tally;
use crate::table::{Align, table};

/// How a start of a recorder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not said that it ended: it records, or died and has not been started again.
    Recording,
    /// It stopped cleanly.
    Stopped,
    /// It died: what it received after the last segment's `sealed_through` is lost.
    Died,
}

/// One start of one instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Boot {
    /// The sidecar's instance name.
    pub instance: String,
    /// The start.
    pub boot: String,
    /// The production build of the newest segment.
    pub build: String,
    /// How it stands.
    pub state: State,
    /// Its segments.
    pub segments: u64,
    /// Segments that are missing between those that are there.
    pub missing: u64,
    /// When the first segment was opened.
    pub opened_at: Timestamp,
    /// The watermark: everything that it received before is in the store, but for what is missing.
    pub sealed_through: Timestamp,
    /// The first exchange.
    pub first_received_at: Option<Timestamp>,
    /// The last exchange.
    pub last_received_at: Option<Timestamp>,
    /// Upstream calls that belong to no exchange.
    pub ambient: u64,
    /// What it received, over all strata.
    pub exchanges: Tally,
    /// Compressed bytes.
    pub bytes: u64,
}

/// Adds the manifests up per start, in the order of their first segments.
pub fn boots(manifests: &[Manifest]) -> Vec<Boot> {
    let mut of: BTreeMap<(&str, &str), Vec<&Manifest>> = BTreeMap::new();
    for manifest in manifests {
        of.entry((&manifest.instance, &manifest.boot)).or_default().push(manifest);
    }
    let mut boots: Vec<Boot> = of.into_values().filter_map(boot).collect();
    boots.sort_by_key(|boot| boot.opened_at);
    boots
}

fn boot(mut segments: Vec<&Manifest>) -> Option<Boot> {
    segments.sort_by_key(|manifest| manifest.sequence);
    let (first, last) = (*segments.first()?, *segments.last()?);
    let mut exchanges = Tally::default();
    for tally in segments.iter().flat_map(|manifest| manifest.strata.values()) {
        exchanges.add(tally);
    }
    let state = match (last.last, last.torn) {
        (false, _) => State::Recording,
        (true, false) => State::Stopped,
        (true, true) => State::Died,
    };
    let count = segments.len() as u64;
    Some(Boot {
        instance: last.instance.clone(),
        boot: last.boot.clone(),
        build: last.build.clone(),
        state,
        segments: count,
        missing: (last.sequence - first.sequence + 1).saturating_sub(count),
        opened_at: first.opened_at,
        sealed_through: last.sealed_through,
        first_received_at: segments.iter().filter_map(|m| m.first_received_at).min(),
        last_received_at: segments.iter().filter_map(|m| m.last_received_at).max(),
        ambient: segments.iter().map(|m| m.ambient).sum(),
        exchanges,
        bytes: segments.iter().map(|m| m.bytes).sum(),
    })
}

/// Draws the starts as a table, and under it what was dropped and why.
pub fn drawn(boots: &[Boot]) -> String {
    const COLUMNS: [(&str, Align); 12] = [
        ("INSTANCE", Align::Left),
        ("BUILD", Align::Left),
        ("STATE", Align::Left),
        ("FIRST EXCHANGE", Align::Left),
        ("LAST EXCHANGE", Align::Left),
        ("SEALED THROUGH", Align::Left),
        ("SEGMENTS", Align::Right),
        ("MISSING", Align::Right),
        ("RECORDED", Align::Right),
        ("SAMPLED OUT", Align::Right),
        ("DROPPED", Align::Right),
        ("BYTES", Align::Right),
    ];
    let seconds = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let seconds_of = |at: Option<Timestamp>| at.map_or("none".into(), seconds);
    let row = |boot: &Boot| {
        let state = match boot.state {
            State::Recording => "recording",
            State::Stopped => "stopped",
            State::Died => "died",
        };
        vec![
            boot.instance.clone(),
            boot.build.clone(),
            state.into(),
            seconds_of(boot.first_received_at),
            seconds_of(boot.last_received_at),
            seconds(boot.sealed_through),
            boot.segments.to_string(),
            boot.missing.to_string(),
            boot.exchanges.recorded.to_string(),
            boot.exchanges.sampled_out.to_string(),
            boot.exchanges.dropped.values().sum::<u64>().to_string(),
            boot.bytes.to_string(),
        ]
    };
    let mut text = table(&COLUMNS, &boots.iter().map(row).collect::<Vec<_>>());
    let mut sum = Tally::default();
    for boot in boots {
        sum.add(&boot.exchanges);
    }
    let reasons = sum.dropped.iter().map(|(reason, count)| format!("{count} {reason}"));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        text.extend(["dropped: ", &*reasons.join(", "), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests;
