//! Exchanges as HAR 1.2, which browsers and many other tools open.
//!
//! An exchange is an entry, and so is each upstream call made for it, marked by `_upstream`. Fields that begin with an underscore are
//! Shadow's own, as the format allows. What was not recorded is not made up: a body that was omitted has no text and says why.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::exchange::{Body, End, Exchange, Request, Response, header};

/// What a HAR begins with, up to its first entry.
pub fn head() -> String {
    let creator = json!({ "name": "shadow-recorder", "version": env!("CARGO_PKG_VERSION") });
    format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[")
}

/// What it ends with.
pub const TAIL: &str = "]}}";

/// Returns the entries of an exchange: its own, and one for each upstream call.
pub fn entries(exchange: &Exchange) -> Vec<Value> {
    let mut own = entry(
        exchange.received_at,
        exchange.duration_us,
        &exchange.request,
        exchange.response.as_ref(),
        exchange.end,
    );
    own["_exchange"] = json!(exchange.id);
    own["_build"] = json!(exchange.build);
    let calls = exchange.upstream.iter().map(|call| {
        let offset = i64::try_from(call.offset_us).unwrap_or(i64::MAX);
        let began = exchange.received_at.saturating_add(SignedDuration::from_micros(offset));
        let began = began.unwrap_or(exchange.received_at);
        let (request, response) = (&call.request, call.response.as_ref());
        let mut entry = entry(began, call.duration_us, request, response, call.end);
        entry["_exchange"] = json!(exchange.id);
        entry["_upstream"] = json!(call.name);
        entry
    });
    std::iter::once(own).chain(calls).collect()
}

fn entry(
    began: Timestamp,
    duration_us: u64,
    request: &Request,
    response: Option<&Response>,
    end: End,
) -> Value {
    let took = milliseconds(duration_us);
    json!({
        "startedDateTime": began.to_string(),
        "time": took,
        "request": request_of(request),
        "response": response_of(response, &request.version),
        "cache": {},
        // The recorder measures the whole alone.
        "timings": { "send": 0, "wait": took, "receive": 0 },
        "_end": end,
    })
}

fn request_of(request: &Request) -> Value {
    let host = header(&request.headers, "host").unwrap_or("unknown.invalid");
    let mut value = json!({
        "method": request.method,
        "url": format!("http://{host}{}", request.target),
        "httpVersion": request.version,
        "cookies": [],
        "headers": pairs(&request.headers),
        "queryString": query(request.query()),
        "headersSize": -1,
        "bodySize": request.body.wire_bytes,
    });
    if request.body.wire_bytes > 0 {
        let mime_type = mime_type(&request.headers);
        let text = request.body.text.as_deref().unwrap_or_default();
        value["postData"] = json!({ "mimeType": mime_type, "text": text, "params": [] });
        omitted(&mut value["postData"], &request.body);
    }
    value
}

fn response_of(response: Option<&Response>, version: &str) -> Value {
    // A status of zero is the custom of browsers for an answer that never came.
    let none =
        Response { status: 0, headers: Vec::new(), body: Body::default(), trailers: Vec::new() };
    let response = response.unwrap_or(&none);
    let mut content = json!({
        "size": response.body.text.as_ref().map_or(response.body.wire_bytes, |text| text.len() as u64),
        "mimeType": mime_type(&response.headers),
    });
    if let Some(text) = &response.body.text {
        content["text"] = json!(text);
    }
    omitted(&mut content, &response.body);
    let reason =
        http::StatusCode::from_u16(response.status).ok().and_then(|s| s.canonical_reason());
    json!({
        "status": response.status,
        "statusText": reason.unwrap_or_default(),
        "httpVersion": version,
        "cookies": [],
        "headers": pairs(&response.headers),
        "content": content,
        "redirectURL": header(&response.headers, "location").unwrap_or_default(),
        "headersSize": -1,
        "bodySize": response.body.wire_bytes,
    })
}

fn omitted(value: &mut Value, body: &Body) {
    if let Some(why) = body.omitted {
        value["_omitted"] = json!(why);
    }
    if let Some(rendering) = body.rendering {
        value["_rendering"] = json!(rendering);
    }
}

fn mime_type(headers: &[(String, String)]) -> &str {
    header(headers, "content-type").unwrap_or_default()
}

fn pairs(fields: &[(String, String)]) -> Vec<Value> {
    fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn query(query: &str) -> Vec<Value> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| json!({ "name": decoded(name), "value": decoded(value) }))
        .collect()
}

/// HAR counts in milliseconds, with decimals.
fn milliseconds(us: u64) -> Value {
    let text = format!("{}.{:03}", us / 1_000, us % 1_000);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests;
