//! What of `[replay]` says how answers are compared outside the ledger mapping.

use shadow_recorder::config::Table;
use shadow_recorder::ledger::{Mapping, Route};

use crate::structure::{Ignored, Rules, Selection};

/// Takes `compare_headers`, `[[replay.ignore]]` and `[[replay.unordered]]`.
pub(super) fn structure(table: &mut Table<'_, '_>, mapping: &Mapping) -> Rules {
    let headers = table.texts("compare_headers").unwrap_or_default();
    let headers = headers.into_iter().map(|name| name.value.to_ascii_lowercase()).collect();
    let ignored = table.tables("ignore").into_iter().filter_map(ignored).collect();
    let unordered = table.tables("unordered").into_iter().filter_map(unordered).collect();
    Rules::new(headers, ignored, unordered, mapping)
}

fn ignored(mut table: Table<'_, '_>) -> Option<Ignored> {
    let selection = selection(&mut table);
    let reason = table.required("reason").and_then(|reason| {
        if reason.value.trim().is_empty() {
            table.mistake_at(&reason, "`reason` must say why the difference does not matter");
            return None;
        }
        Some(reason.value)
    });
    table.finish(&["route", "path", "reason"]);
    Some(Ignored { selection: selection?, reason: reason? })
}

fn unordered(mut table: Table<'_, '_>) -> Option<Selection> {
    let selection = selection(&mut table);
    table.finish(&["route", "path"]);
    selection
}

fn selection(table: &mut Table<'_, '_>) -> Option<Selection> {
    let route = table.has("route").then(|| table.parsed("route", Route::parse));
    let path = table.required("path")?;
    let made = match route {
        Some(None) => return None,
        route => Selection::new(route.flatten(), &path.value),
    };
    made.map_err(|what| table.mistake_at(&path, &what)).ok()
}
