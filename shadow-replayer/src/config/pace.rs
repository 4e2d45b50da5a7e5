//! `[replay.pace]`: how fast exchanges are sent.

use std::time::Duration;

use shadow_recorder::config::Table;

use crate::pace::Pace;

/// `[replay.pace]`.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// The pace, unless the command line names another.
    pub pace: Pace,
    /// Exchanges in flight at once where there is a pace. One that finds no place among them is sent late.
    pub in_flight_max: usize,
    /// How often an exchange that the candidate refuses with 429 or 503 is sent again.
    pub backoff_tries_max: u32,
    /// For how long in all the candidate may hold a worker back.
    pub backoff_max: Duration,
}

/// Takes the table; `None` stands for its absence.
pub(super) fn pacing(table: Option<Table<'_, '_>>) -> Pacing {
    let mut pacing = Pacing {
        pace: Pace::Unpaced,
        in_flight_max: 256,
        backoff_tries_max: 5,
        backoff_max: Duration::from_mins(5),
    };
    let Some(mut table) = table else { return pacing };
    let paces = [
        table.parsed("factor", Pace::factor),
        table.parsed("rate", Pace::rate),
        table.parsed("over", Pace::over),
    ];
    let mut named = paces.into_iter().flatten();
    pacing.pace = named.next().unwrap_or_default();
    if named.next().is_some() {
        table.mistake("more than one pace is given: keep one of factor, rate and over");
    }
    if let Some(number) = table.integer("in_flight_max", 1) {
        pacing.in_flight_max = usize::try_from(number).unwrap_or(usize::MAX);
    }
    if let Some(tries) = table.integer("backoff_tries_max", 0) {
        pacing.backoff_tries_max = u32::try_from(tries).unwrap_or(u32::MAX);
    }
    pacing.backoff_max = table.duration("backoff_max").unwrap_or(pacing.backoff_max);
    table.finish(&["factor", "rate", "over", "in_flight_max", "backoff_tries_max", "backoff_max"]);
    pacing
}
