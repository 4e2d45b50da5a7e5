//! Reads the ambient calls of the segments of a range.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use shadow_recorder::exchange::Ambient;
use shadow_recorder::segment::{Line, Reader};

use super::{AmbientCalls, signed};
use crate::RunError;
use crate::config::Config;
use crate::plan::{Found, Range};
use crate::run::Evidence;

/// Returns the segments whose ambient calls may answer in the range.
pub(crate) fn segments(config: &Config, found: &Found, range: Range) -> Vec<String> {
    let ages = config.upstreams.iter().filter_map(|upstream| upstream.ambient_age_max);
    let Some(age_max) = ages.max() else { return Vec::new() };
    let since = range.from.saturating_sub(signed(age_max)).unwrap_or(Timestamp::MIN);
    let touching = found
        .manifests
        .iter()
        .filter(|m| m.ambient > 0 && m.opened_at < range.to && m.sealed_at >= since);
    touching.map(|manifest| manifest.segment.clone()).collect()
}

/// Reads the ambient calls that may answer in the range: from the segments that were there when the run was planned, for every worker
/// alike.
pub(crate) async fn read(
    config: &Config,
    evidence: &Evidence,
    range: Range,
) -> Result<AmbientCalls, RunError> {
    let mut calls = AmbientCalls::default();
    let ages: HashMap<&str, Duration> = config
        .upstreams
        .iter()
        .filter_map(|upstream| Some((&*upstream.name, upstream.ambient_age_max?)))
        .collect();
    let may_answer = |ambient: &Ambient| {
        let age_max = ages.get(&*ambient.call.name).copied().map(signed);
        ambient.at < range.to
            && age_max.is_some_and(|age_max| range.from.duration_since(ambient.at) <= age_max)
    };
    for segment in &evidence.ambient {
        // A segment that cannot be read is reported where its exchanges are read.
        let Ok(bytes) = config.store.get(segment).await else { continue };
        // Neither can one whose rules of redaction are not known: its calls would be compared with what nobody redacted.
        let mut redactor = None;
        for line in Reader::new(&bytes).lines() {
            match (line, &redactor) {
                (Line::Header(header), _) => redactor = config.redactors.of(&header.redaction).ok(),
                (Line::Ambient(ambient), Some(redactor)) if may_answer(&ambient) => {
                    calls.add(*ambient, redactor);
                }
                _ => {}
            }
        }
        let most = config.stub.ambient_bytes_max;
        if calls.bytes() > most {
            return Err(RunError::Usage(format!(
                "the ambient calls of the range take more than {most} bytes: choose a shorter range, shorten the upstreams' ambient_age_max, or raise [replay.stub] ambient_bytes_max"
            )));
        }
    }
    Ok(calls)
}
