//! The only place that reads the clock and draws randomness. Everything else takes time and ids as parameters.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::exchange::ExchangeId;
use crate::trace_context::Fresh;

/// Returns the wall-clock time, in whole microseconds as the formats keep it.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Returns a new exchange id.
pub(crate) fn exchange_id() -> ExchangeId {
    ExchangeId(random().hyphenated().to_string())
}

/// Returns a name for this start of the process, without hyphens because it is a part of keys.
pub(crate) fn boot_id() -> String {
    random().simple().to_string()
}

/// Returns ids for a request that brings no trace context.
pub(crate) fn fresh_trace() -> Fresh {
    // The lower half of a version 7 UUID is random but for its two variant bits, which also keep it from being zero.
    Fresh { trace_id: random().as_u128(), parent_id: random().as_u64_pair().1 }
}

/// Returns a duration between half of `base` and the whole, so that many sidecars do not retry in step.
pub(crate) fn jittered(base: Duration) -> Duration {
    let thousandth = u32::try_from(random().as_u64_pair().1 % 500).unwrap_or(0);
    base / 2 + base * thousandth / 1000
}

#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
fn random() -> Uuid {
    Uuid::now_v7()
}
