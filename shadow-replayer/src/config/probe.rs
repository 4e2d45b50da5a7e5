//! `[replay.probe]`: an amount that decides what is booked, by which the comparison itself is tried.

use serde_json_path::JsonPath;
use shadow_recorder::config::Table;
use shadow_recorder::config::upstream::Upstream;

/// An amount that decides what is booked.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it is.
    pub amount: JsonPath,
    /// The upstream in whose answers it is; absent: it is in the request.
    pub upstream: Option<String>,
    /// Exchanges in which it is raised.
    pub count: usize,
}

/// Takes `probe` from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>, upstreams: &[Upstream]) -> Option<Probe> {
    let mut table = replay.table("probe")?;
    if !table.has("amount") {
        table.missing("amount");
    }
    let amount = table.parsed("amount", |text| {
        JsonPath::parse(text).map_err(|error| format!("`{text}` is not a JSONPath: {error}"))
    });
    let upstream = table.parsed("upstream", |name| {
        if upstreams.iter().any(|upstream| upstream.name == name) {
            return Ok(name.to_owned());
        }
        Err(format!("`{name}` is no [[upstream]]"))
    });
    let count = table.integer("count", 1);
    table.finish(&["amount", "upstream", "count"]);
    let count = count.map_or(3, |count| usize::try_from(count).unwrap_or(usize::MAX));
    Some(Probe { amount: amount?, upstream, count })
}
