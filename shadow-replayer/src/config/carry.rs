//! `[[replay.carry]]`: values of the candidate's answers that later requests of the same order key need.

use serde_json_path::JsonPath;
use shadow_recorder::config::{Table, parse_regex};
use shadow_recorder::ledger::Route;

use super::candidate::header_name;
use super::order::Order;
use crate::carry::{Carry, Place};

/// Takes every `carry` from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>, order: Order) -> Vec<Carry> {
    let tables = replay.tables("carry");
    if !tables.is_empty() && order != Order::Key {
        replay.mistake(
            "`carry` goes from one exchange of an order key to the next: set order = \"key\"",
        );
    }
    tables.into_iter().filter_map(carry).collect()
}

fn json_path(text: &str) -> Result<JsonPath, String> {
    JsonPath::parse(text).map_err(|error| format!("`{text}` is not a JSONPath: {error}"))
}

fn carry(mut table: Table<'_, '_>) -> Option<Carry> {
    let route = table.parsed("route", Route::parse);
    let json = table.parsed("json", json_path);
    let header = table.parsed("header", header_name);
    let capture = table.parsed("capture", parse_regex);
    let cookies = table.flag("cookies").unwrap_or(false);
    let send_as = table.parsed("send_as", header_name);
    let prefix = table.text("prefix").map(|prefix| prefix.value).unwrap_or_default();
    let into = table.texts("into").unwrap_or_default().into_iter().filter_map(|path| {
        json_path(&path.value).map_err(|what| table.mistake_at(&path, &what)).ok()
    });
    let into: Vec<JsonPath> = into.collect();
    let from = match (json, header, cookies) {
        (Some(path), None, false) => Some(Place::Json(path)),
        (None, Some(name), false) => Some(Place::Header(name, capture)),
        (None, None, true) => Some(Place::Cookies),
        _ => {
            table.mistake("it needs one of `json`, `header` and `cookies = true`: where the value is in the candidate's answer");
            None
        }
    };
    table.finish(&["route", "json", "header", "capture", "cookies", "send_as", "prefix", "into"]);
    Some(Carry { route, from: from?, field: send_as.map(|name| (name, prefix)), into })
}
