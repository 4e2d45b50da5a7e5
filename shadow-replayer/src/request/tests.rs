use super::*;
use shadow_recorder::exchange::{End, ExchangeId, Sample};

fn exchange(headers: &[(&str, &str)]) -> Exchange {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Exchange {
        id: ExchangeId("e".into()),
        trace_id: String::new(),
        received_at: "2026-11-20T07:30:00.000001Z".parse().unwrap(),
        sequence: 1,
        duration_us: 1,
        service: "books".into(),
        build: "p".into(),
        order_key: None,
        request: exchange::Request {
            method: "POST".into(),
            target: "/a?b=1".into(),
            version: "HTTP/1.1".into(),
            headers,
            body: Body::of_text("{}"),
            trailers: vec![],
            principal: None,
        },
        response: None,
        end: End::Complete,
        upstream: vec![],
        sample: Sample::everything(),
    }
}

fn maker(rules: CandidateRules) -> Maker {
    let origin = Origin::parse("http://127.0.0.1:9000").unwrap();
    Maker { origin, run: RunId::fresh(), rules }
}

fn moment() -> Moment {
    Moment {
        trace_id: "0123456789abcdef0123456789abcdef".into(),
        now: "2026-11-21T00:00:00Z".parse().unwrap(),
        credential: None,
    }
}

fn sent(rules: CandidateRules, fields: &[(&str, &str)]) -> HeaderMap {
    maker(rules).request(&exchange(fields), &moment()).unwrap().headers().clone()
}

#[test]
fn no_recorded_target_leads_to_another_host() {
    let origin = Origin::parse("http://127.0.0.1:9000").unwrap();
    assert_eq!(uri(&origin, "/a?b=1").unwrap(), "http://127.0.0.1:9000/a?b=1");
    for target in ["*", "@other/", ":80/", "", "other.example/x"] {
        assert!(uri(&origin, target).is_err(), "{target} gave {:?}", uri(&origin, target));
    }
}

#[test]
fn what_belongs_to_the_connection_or_the_cache_is_not_sent() {
    let fields = [
        ("host", "books.internal"),
        ("Date", "Fri, 20 Nov 2026 07:30:00 GMT"),
        ("x-forwarded-for", "10.1.1.1"),
        ("range", "bytes=0-9"),
        ("If-None-Match", "\"1\""),
        ("if-modified-since", "Fri, 20 Nov 2026 07:30:00 GMT"),
        ("keep-alive", "timeout=5"),
        ("Upgrade", "websocket"),
        ("proxy-connection", "keep-alive"),
        ("tracestate", "other=1"),
        ("baggage", "tenant=7"),
    ];
    let sent = sent(CandidateRules::default(), &fields);
    let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let kept = ["baggage", "date", "host", "range", "traceparent", "tracestate", "x-forwarded-for"];
    assert_eq!(names, kept);
    assert_eq!(sent["tracestate"], "shadow=e");
    let baggage: Vec<_> = sent.get_all("baggage").iter().collect();
    assert_eq!(baggage[0], "tenant=7");
    assert!(baggage[1].to_str().unwrap().starts_with("shadow.run_id="));
}

#[test]
fn the_host_is_the_recorded_one_unless_another_is_configured() {
    let fields = [("host", "books.internal")];
    assert_eq!(sent(CandidateRules::default(), &fields)["host"], "books.internal");
    assert_eq!(sent(CandidateRules::default(), &[])["host"], "127.0.0.1:9000");
    let host = Some(HeaderValue::from_static("rc.internal"));
    let rules = CandidateRules { host, ..CandidateRules::default() };
    assert_eq!(sent(rules, &fields)["host"], "rc.internal");
}

#[test]
fn the_recorded_time_goes_into_the_field_of_choice() {
    let time = |format| {
        let event_time = Some(EventTime { header: "x-event-time".parse().unwrap(), format });
        let rules = CandidateRules { event_time, ..CandidateRules::default() };
        sent(rules, &[("x-event-time", "recorded")])["x-event-time"].to_str().unwrap().to_owned()
    };
    assert_eq!(time(TimeFormat::Rfc3339), "2026-11-20T07:30:00.000001Z");
    assert_eq!(time(TimeFormat::EpochMs), "1795159800000");
}
