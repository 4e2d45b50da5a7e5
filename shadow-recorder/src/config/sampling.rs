//! `sampling_rate` and `sampling_key` of `[recorder]`.

use super::Table;
use crate::sampling::{Key, Rate, Sampling};

/// Takes the sampling rule. No mistake shows the key.
pub(super) fn sampling(table: &mut Table<'_, '_>) -> Sampling {
    let rate = table.parsed("sampling_rate", Rate::parse);
    let key = table.text("sampling_key");
    if let Some(key) = key.as_ref().filter(|key| key.value.is_empty()) {
        table.mistake_at(key, "`sampling_key` is empty");
    }
    let rate = rate.unwrap_or_else(|| Sampling::everything().rate);
    let derived = key.map(|key| Key::derive(&key.value));
    Sampling::new(rate, derived).unwrap_or_else(|| {
        table.mistake(
            "`sampling_key` is missing: with a rate below 1 set it, or SHADOW_RECORDER_SAMPLING_KEY, to a secret text, the same for all sidecars",
        );
        Sampling::everything()
    })
}
