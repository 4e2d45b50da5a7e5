use super::*;
use crate::exchange::{ExchangeId, Omission, Sample, UpstreamCall};

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn exchange() -> Exchange {
    let request = Request {
        method: "POST".into(),
        target: "/book?day=1&note=a%20b+c&flag".into(),
        version: "HTTP/1.1".into(),
        headers: fields(&[("Host", "books:8080"), ("Content-Type", "application/json")]),
        body: Body::of_text("{\"amount\": 1.10}"),
        trailers: Vec::new(),
        principal: None,
    };
    let body = Body { omitted: Some(Omission::Binary), wire_bytes: 9, ..Body::default() };
    let headers = fields(&[("location", "/book/1")]);
    let response = Response { status: 201, headers, body, trailers: Vec::new() };
    let call = UpstreamCall {
        name: "fx".into(),
        offset_us: 1_500,
        duration_us: 250,
        request: Request {
            method: "GET".into(),
            target: "/rate".into(),
            body: Body::default(),
            headers: Vec::new(),
            ..request.clone()
        },
        response: None,
        end: End::UpstreamFailed,
    };
    Exchange {
        id: ExchangeId("0197a0e5-0000-7000-8000-000000000001".into()),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        received_at: "2026-11-20T07:30:00.000001Z".parse().unwrap(),
        sequence: 1,
        duration_us: 12_345,
        service: "ledger".into(),
        build: "p1".into(),
        order_key: None,
        request,
        response: Some(response),
        end: End::Complete,
        upstream: vec![call],
        sample: Sample::everything(),
    }
}

#[test]
fn an_exchange_and_its_calls_are_entries_with_all_that_the_format_asks_for() {
    let [own, call] = <[Value; 2]>::try_from(entries(&exchange())).unwrap();
    assert_eq!(own["startedDateTime"], "2026-11-20T07:30:00.000001Z");
    assert_eq!(own["time"].to_string(), "12.345");
    assert_eq!(own["request"]["url"], "http://books:8080/book?day=1&note=a%20b+c&flag");
    assert_eq!(own["request"]["postData"]["text"], "{\"amount\": 1.10}");
    assert_eq!(own["request"]["postData"]["mimeType"], "application/json");
    let query = json!([
        { "name": "day", "value": "1" },
        { "name": "note", "value": "a b c" },
        { "name": "flag", "value": "" }
    ]);
    assert_eq!(own["request"]["queryString"], query);
    assert_eq!(
        (&own["response"]["status"], &own["response"]["statusText"]),
        (&json!(201), &json!("Created"))
    );
    assert_eq!(own["response"]["redirectURL"], "/book/1");
    // What was omitted is not made up.
    assert_eq!(
        own["response"]["content"],
        json!({ "size": 9, "mimeType": "", "_omitted": "binary" })
    );
    assert_eq!(call["startedDateTime"], "2026-11-20T07:30:00.001501Z");
    assert_eq!((&call["_upstream"], &call["response"]["status"]), (&json!("fx"), &json!(0)));
    assert!(call["request"].get("postData").is_none());
    for entry in [&own, &call] {
        // HAR 1.2: what an entry, a request and a response must have.
        for (part, keys) in [
            ("", &["startedDateTime", "time", "request", "response", "cache", "timings"][..]),
            (
                "request",
                &[
                    "method",
                    "url",
                    "httpVersion",
                    "cookies",
                    "headers",
                    "queryString",
                    "headersSize",
                    "bodySize",
                ],
            ),
            (
                "response",
                &[
                    "status",
                    "statusText",
                    "httpVersion",
                    "cookies",
                    "headers",
                    "content",
                    "redirectURL",
                    "headersSize",
                    "bodySize",
                ],
            ),
        ] {
            let part = if part.is_empty() { entry } else { &entry[part] };
            for key in keys {
                assert!(part.get(key).is_some(), "{key} in {part}");
            }
        }
        assert_eq!(entry["_exchange"], "0197a0e5-0000-7000-8000-000000000001");
    }
}

#[test]
fn the_parts_of_a_file_make_one_document() {
    let document = format!("{}{}{TAIL}", head(), json!({}));
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["log"]["version"], "1.2");
    assert_eq!(document["log"]["entries"].as_array().unwrap().len(), 1);
}
