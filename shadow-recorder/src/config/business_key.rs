//! `business_key`: in `[recorder]` for exchanges, in `[[upstream]]` for calls.

use http::HeaderName;
use serde_json_path::JsonPath;

use super::{Table, parse_regex};
use crate::business_key::BusinessKey;

/// Takes `business_key` out of a section.
pub(super) fn business_key(section: &mut Table<'_, '_>) -> Option<BusinessKey> {
    key_sources(section, "business_key")
}

/// Takes where a request has a key.
pub(super) fn key_sources(section: &mut Table<'_, '_>, name: &str) -> Option<BusinessKey> {
    let mut table = section.table(name)?;
    let sources = ["header", "query", "path", "json"];
    let is_empty = !sources.iter().any(|source| table.has(source));
    let key = BusinessKey {
        header: table.parsed("header", |name| {
            HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a field"))
        }),
        query: table.text("query").map(|name| name.value),
        path: table.parsed("path", |text| {
            let pattern = parse_regex(text)?;
            if pattern.captures_len() < 2 {
                return Err(format!("`{text}` has no group: put the key in parentheses"));
            }
            Ok(pattern)
        }),
        json: table.parsed("json", |path| {
            JsonPath::parse(path).map_err(|error| format!("`{path}` is not a JSONPath: {error}"))
        }),
    };
    if is_empty {
        table.mistake("name one of `header`, `query`, `path` and `json`");
    }
    table.finish(&sources);
    Some(key)
}
