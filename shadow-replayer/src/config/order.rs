//! In which order exchanges are replayed: `order` and `bucket_bytes` of `[replay]`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use shadow_recorder::config::Table;

/// In which order exchanges are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Each on its own; about as recorded.
    #[default]
    None,
    /// Those of one order key strictly one after the other as recorded, whatever instance recorded them; different keys at once.
    Key,
}

/// `order` and `bucket_bytes`.
#[derive(Clone, Debug)]
pub struct Ordering {
    /// The order, unless a run is told another.
    pub order: Order,
    /// Compressed bytes of recording for each bucket of order keys, the unit that one worker replays.
    pub bucket_bytes: u64,
}

/// Takes the keys.
pub(super) fn ordering(table: &mut Table<'_, '_>) -> Ordering {
    let order = table.parsed("order", |text| {
        Order::from_str(text, false)
            .map_err(|_| format!("`{text}` is no order: write \"none\" or \"key\""))
    });
    Ordering {
        order: order.unwrap_or_default(),
        bucket_bytes: table.integer("bucket_bytes", 1).unwrap_or(16 << 20),
    }
}
