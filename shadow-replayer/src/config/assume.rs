//! `[[replay.assume]]`: upstream calls that production did not make and that are legitimate all the same.

use serde_json_path::JsonPath;
use shadow_recorder::config::Table;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{Body, Response};
use shadow_recorder::ledger::Route;

use crate::assume::Assumption;

/// Takes `[[replay.assume]]`.
pub(super) fn assumptions(replay: &mut Table<'_, '_>, upstreams: &[Upstream]) -> Vec<Assumption> {
    let tables = replay.tables("assume").into_iter();
    tables.filter_map(|table| assumption(table, upstreams)).collect()
}

fn assumption(mut table: Table<'_, '_>, upstreams: &[Upstream]) -> Option<Assumption> {
    let upstream = table.required("upstream");
    if let Some(named) = &upstream
        && upstreams.iter().all(|upstream| upstream.name != named.value)
    {
        table.mistake_at(named, &format!("there is no [[upstream]] `{}`", named.value));
    }
    if !table.has("route") {
        table.missing("route");
    }
    let route = table.parsed("route", Route::parse);
    let conditions = conditions(&mut table);
    let response = response(&mut table);
    let (reason, owner) = (table.required("reason"), table.required("owner"));
    if !table.has("expires") {
        table.missing("expires");
    }
    let expires = table.parsed("expires", |text| {
        text.parse().map_err(|_| format!("`{text}` is not a day: write it as in \"2026-12-31\""))
    });
    table.finish(&[
        "upstream", "route", "when", "status", "headers", "body", "reason", "owner", "expires",
    ]);
    Some(Assumption {
        upstream: upstream?.value,
        route: route?,
        conditions,
        response: response?,
        reason: reason?.value,
        owner: owner?.value,
        expires: expires?,
    })
}

fn conditions(table: &mut Table<'_, '_>) -> Vec<(JsonPath, String)> {
    let mut conditions = Vec::new();
    for (path, value) in table.text_map("when").unwrap_or_default() {
        match JsonPath::parse(&path) {
            Ok(parsed) => conditions.push((parsed, value.value)),
            Err(error) => {
                table.mistake_at(&value, &format!("`{path}` is not a JSONPath: {error}"));
            }
        }
    }
    conditions
}

fn response(table: &mut Table<'_, '_>) -> Option<Response> {
    let status = table.integer("status", 200).unwrap_or(200);
    let status = u16::try_from(status).ok().filter(|status| *status < 600);
    if status.is_none() {
        table.mistake("`status` must be from 200 to 599");
    }
    let headers = table.text_map("headers").unwrap_or_default();
    let headers = headers.into_iter().map(|(name, value)| (name, value.value)).collect();
    let body = table.text("body").map_or_else(String::new, |body| body.value);
    Some(Response { status: status?, headers, body: Body::of_text(body), trailers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shadow_recorder::config::Document;

    use super::*;

    fn taken(toml: &str) -> (Vec<Assumption>, String) {
        let toml = format!(
            "[[replay.assume]]\n{toml}\n[[upstream]]\nname = \"tax\"\nlisten = \"127.0.0.1:9\"\nforward_to = \"http://tax\"\n"
        );
        let document = Document::parse(Path::new("shadow.toml"), &toml, |_| None).unwrap();
        let upstreams = shadow_recorder::config::upstream::upstreams(&document);
        let taken = assumptions(&mut document.section("replay"), &upstreams);
        let said = document.finish().err().map_or_else(String::new, |error| error.to_string());
        (taken, said)
    }

    #[test]
    fn an_assumption_says_what_why_who_and_until_when() {
        let (taken, said) = taken(
            "upstream = \"tax\"\nroute = \"POST /q\"\nwhen = { \"$.kind\" = \"levy\" }\nbody = \"{}\"\nheaders = { content-type = \"application/json\" }\nreason = \"r\"\nowner = \"o\"\nexpires = \"2026-12-31\"",
        );
        assert_eq!(said, "");
        assert_eq!((taken[0].response.status, taken[0].conditions.len()), (200, 1));
    }

    #[test]
    fn every_mistake_is_told() {
        let (taken, said) = taken(
            "upstream = \"fx\"\nroute = \"/q\"\nwhen = { kind = \"levy\" }\nstatus = 700\nexpires = \"soon\"\nfor_ever = true",
        );
        assert!(taken.is_empty());
        for part in [
            "there is no [[upstream]] `fx`",
            "is not a route",
            "`kind` is not a JSONPath",
            "`status` must be from 200 to 599",
            "`soon` is not a day",
            "`reason` is missing",
            "`owner` is missing",
            "unknown key `for_ever`",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
