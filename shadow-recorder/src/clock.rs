//! The only place that reads the clock and draws randomness. Everything else takes time and ids as parameters.

use std::time::Duration;

use jiff::Timestamp;
use rand::distr::{Distribution, StandardUniform};
use uuid::Uuid;

use crate::trace_context::Fresh;

/// Returns the wall-clock time, in whole microseconds as the formats keep it.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Returns a new exchange id, a `UUIDv7` as a number, for an exchange received at `at`.
pub(crate) fn exchange_id(at: Timestamp) -> u128 {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random::<u128>().to_ne_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().as_u128()
}

/// Returns a name for this start of the process, without hyphens because it is a part of keys.
pub(crate) fn boot_id() -> String {
    Uuid::from_u128(exchange_id(now())).simple().to_string()
}

/// Returns ids for a request that brings no trace context. The standard forbids zero.
pub(crate) fn fresh_trace() -> Fresh {
    Fresh { trace_id: random::<u128>().max(1), parent_id: random::<u64>().max(1) }
}

/// Returns a key for hashes that live as long as the process.
pub(crate) fn hash_key() -> [u8; 16] {
    random::<u128>().to_ne_bytes()
}

/// Returns a duration between half of `base` and the whole, so that many sidecars do not retry in step.
pub(crate) fn jittered(base: Duration) -> Duration {
    let thousandth = u32::try_from(random::<u64>() % 500).unwrap_or(0);
    base / 2 + base * thousandth / 1000
}

/// Returns a random number. The generator is the thread's own, seeded by the system: no system call per request.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_id_is_a_uuid_of_its_time() {
        let at: Timestamp = "2026-11-01T12:00:00.123456Z".parse().unwrap();
        let ids: Vec<Uuid> = (0..100).map(|_| Uuid::from_u128(exchange_id(at))).collect();
        for id in &ids {
            assert_eq!(id.get_version_num(), 7);
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            assert_eq!((seconds, nanos), (1_793_534_400, 123_000_000));
        }
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }
}
