//! `[replay.candidate]` and `allow`: where the candidate may be, and what it is sent beside what was recorded.

use http::header::{HeaderName, HeaderValue};
use shadow_recorder::config::Table;

use super::authentication::{self, Authentication};
use crate::allow::Allow;
use crate::carry::Carry;
use crate::request::{EventTime, TimeFormat};

/// What is known of the candidate beside its address.
#[derive(Clone, Debug, Default)]
pub struct CandidateRules {
    /// Where it may be.
    pub allow: Allow,
    /// What its `Host` field says; absent: what was recorded.
    pub host: Option<HeaderValue>,
    /// The field that tells it when the event was recorded.
    pub event_time: Option<EventTime>,
    /// On whose behalf it is asked.
    pub authentication: Authentication,
    /// Values of its answers that later requests of the same order key need.
    pub carry: Vec<Carry>,
}

/// Takes `allow`, `authentication` and `candidate` from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>) -> CandidateRules {
    let mut rules = CandidateRules::default();
    if let Some(entries) = replay.texts("allow") {
        let texts: Vec<&str> = entries.iter().map(|entry| &*entry.value).collect();
        match Allow::parse(&texts) {
            Ok(allow) => rules.allow = allow,
            Err(what) => replay.mistake(&format!("`allow`: {what}")),
        }
    }
    rules.authentication = authentication::take(replay, &rules.allow);
    let Some(mut table) = replay.table("candidate") else { return rules };
    rules.host = table.parsed("host", |text| {
        HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot be a Host field"))
    });
    let format = table.parsed("event_time_format", |text| match text {
        "rfc3339" => Ok(TimeFormat::Rfc3339),
        "epoch_ms" => Ok(TimeFormat::EpochMs),
        _ => Err(format!("`{text}` is not a format: write rfc3339 or epoch_ms")),
    });
    let header = table.parsed("event_time_header", header_name);
    if format.is_some() && header.is_none() {
        table.mistake("`event_time_format` needs `event_time_header`, the field to be sent");
    }
    rules.event_time =
        header.map(|header| EventTime { header, format: format.unwrap_or(TimeFormat::Rfc3339) });
    table.finish(&["host", "event_time_header", "event_time_format"]);
    rules
}

/// Reads the name of a field.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("`{text}` is not the name of a header field"))
}
