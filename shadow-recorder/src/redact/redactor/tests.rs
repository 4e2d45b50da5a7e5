use super::*;
use crate::exchange::Rendering;
use crate::redact::{Format, Written};

const KEY: &str = "a key of the tests, long enough";

fn rules(written: &str) -> Redactor {
    let written: Vec<Written> = serde_json::from_str(written).unwrap();
    let rules = written.iter().map(|written| Rule::parse(written).unwrap()).collect();
    Redactor::new(rules, Some(Key::new(KEY))).unwrap()
}

fn fields(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn request(target: &str, content_type: &str, body: &str) -> Request {
    Request {
        method: "POST".into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers: fields(&[("content-type", content_type)]),
        body: Body::of_text(body),
        trailers: vec![],
        principal: None,
    }
}

fn text(redactor: &Redactor, mut request: Request) -> Result<String, Omission> {
    let is_omitted = redactor.request(None, &mut request);
    assert_eq!(is_omitted, request.body.text.is_none());
    request.body.text.ok_or_else(|| request.body.omitted.unwrap())
}

#[test]
fn a_rule_applies_where_it_says() {
    let redactor = rules(
        r#"[{"header":"x-all","with":"mask"}, {"upstream":"fx","header":"x-fx","with":"mask"},
            {"route":"POST /users/*","header":"x-route","with":"mask"},
            {"upstream":"fx","route":"POST /a","header":"x-both","with":"mask"}]"#,
    );
    let masked = |upstream, target| {
        let mut given = request(target, "", "");
        given.headers = fields(&[("X-All", "1"), ("x-fx", "1"), ("x-route", "1"), ("x-both", "1")]);
        given.trailers = given.headers.clone();
        redactor.request(upstream, &mut given);
        assert_eq!(given.trailers, given.headers);
        let mut answer = Response {
            status: 200,
            headers: fields(&[("X-All", "1"), ("x-fx", "1"), ("x-route", "1"), ("x-both", "1")]),
            body: Body::default(),
            trailers: vec![],
        };
        redactor.response(upstream, &given, &mut answer);
        assert_eq!(answer.headers, given.headers);
        given.headers.iter().map(|(_, value)| value == "***").collect::<Vec<_>>()
    };
    assert_eq!(masked(None, "/users/7"), [true, false, true, false]);
    assert_eq!(masked(None, "/a"), [true, false, false, false]);
    assert_eq!(masked(Some("fx"), "/users/7"), [true, true, false, false]);
    assert_eq!(masked(Some("fx"), "/a?x"), [true, true, false, true]);
    assert_eq!(masked(Some("tax"), "/a"), [true, false, false, false]);
}

#[test]
fn a_route_is_looked_for_in_the_redacted_path() {
    let redactor = rules(
        r#"[{"path":"/users/{}","with":"mask"}, {"route":"POST /users/***","query":"q","with":"drop"}]"#,
    );
    let mut given = request("/users/ada?q=1&r=2", "", "");
    redactor.request(None, &mut given);
    assert_eq!(given.target, "/users/***?r=2");
    let once = given.clone();
    redactor.request(None, &mut given);
    assert_eq!(given, once, "a second time changes nothing");
}

#[test]
fn urls_in_fields_are_redacted_like_targets() {
    let redactor = rules(
        r#"[{"path":"/users/{}","with":"mask"}, {"upstream":"fx","query":"token","with":"drop"}]"#,
    );
    let mut given = request("/", "", "");
    given.headers = fields(&[
        ("referer", "https://a.example/users/ada?token=1&x=2"),
        ("link", "</users/ada?token=1>; rel=next"),
        ("x-other", "/users/ada?token=1"),
    ]);
    redactor.request(None, &mut given);
    let expect = fields(&[
        ("referer", "https://a.example/users/***?x=2"),
        ("link", "</users/***>; rel=next"),
        ("x-other", "/users/ada?token=1"),
    ]);
    assert_eq!(given.headers, expect);
}

#[test]
fn a_body_is_looked_into_as_its_type_says_or_not_kept() {
    let redactor = rules(
        r#"[{"json":"$.s","with":"mask"}, {"form":"s","with":"mask"},
            {"route":"POST /opaque","opaque":true}]"#,
    );
    let of = |content_type: &str, body: &str| text(&redactor, request("/", content_type, body));
    let masked = |text: &str| Ok(text.to_owned());
    assert_eq!(of("application/json", r#"{"s":"x","n":1.10}"#), masked(r#"{"s":"***","n":1.10}"#));
    assert_eq!(of("", r#"{"s":"x"}"#), masked(r#"{"s":"***"}"#));
    assert_eq!(of("application/x-ndjson", "{\"s\":1}\n{}\n"), masked("{\"s\":0}\n{}\n"));
    assert_eq!(
        of("application/x-www-form-urlencoded; charset=utf-8", "a=1&s=2"),
        masked("a=1&s=***")
    );
    let part = "--b\r\nContent-Disposition: form-data; name=s\r\n\r\nx\r\n--b--\r\n";
    assert_eq!(of("multipart/form-data; boundary=b", part), Ok(part.replace("\r\nx", "\r\n***")));
    let json = part
        .replace("name=s", "name=t\r\nContent-Type: application/json")
        .replace("x\r\n", "{\"s\":1}\r\n");
    assert_eq!(of("multipart/form-data; boundary=b", &json), Ok(json.replace(":1}", ":0}")));
    for (content_type, body) in [
        ("application/json", "{"),
        ("text/html", "<p>ada</p>"),
        ("multipart/form-data", part),
        ("multipart/form-data; boundary=c", part),
    ] {
        assert_eq!(of(content_type, body), Err(Omission::Unredactable), "{content_type}");
        let opaque = text(&redactor, request("/opaque", content_type, body));
        assert_eq!(opaque, masked(body), "{content_type}");
    }
    assert_eq!(of("text/html", ""), masked(""), "nothing is hidden in nothing");
    let other_rules = rules(r#"[{"header":"x","with":"drop"}]"#);
    assert_eq!(text(&other_rules, request("/", "text/html", "<p>")), masked("<p>"));
    let forms_only = rules(r#"[{"form":"s","with":"mask"}]"#);
    let json = request("/", "application/json", "{}");
    assert_eq!(text(&forms_only, json), Err(Omission::Unredactable), "no rule looks into JSON");
}

#[test]
fn grpc_is_redacted_as_the_json_that_it_is_recorded_as() {
    let redactor = rules(r#"[{"json":"$.s","with":"mask"}, {"form":"s","with":"mask"}]"#);
    let mut given =
        request("/ledger.Books/Book", "application/grpc", "{\"s\":\"x\"}\n{\"s\":\"y\"}\n");
    given.body.rendering = Some(Rendering::GrpcStream);
    assert_eq!(text(&redactor, given.clone()).unwrap(), "{\"s\":\"***\"}\n{\"s\":\"***\"}\n");
    given.body.rendering = Some(Rendering::GrpcMessage);
    redactor.request(None, &mut given);
    assert_eq!((given.body.omitted, given.body.rendering), (Some(Omission::Unredactable), None));
}

#[test]
fn one_value_has_one_token_wherever_it_stands() {
    let redactor = rules(
        r#"[{"header":"x-mail","with":"token","format":"email"}, {"query":"mail","with":"token","format":"email"},
            {"path":"/users/{}","with":"token","format":"email"}, {"json":"$.mail","with":"token","format":"email"}]"#,
    );
    let mail = "ada.lovelace@example.org";
    let token = Key::new(KEY).token(Format::Email, mail);
    let mut given = request(
        "/users/ada.lovelace%40example.org?mail=ada.lovelace@example.org",
        "application/json",
        &format!(r#"{{"mail":"{mail}"}}"#),
    );
    given.headers.push(("x-mail".into(), mail.into()));
    redactor.request(None, &mut given);
    let encoded = token.replace('@', "%40");
    assert_eq!(given.target, format!("/users/{encoded}?mail={encoded}"));
    assert_eq!(given.body.text, Some(format!(r#"{{"mail":"{token}"}}"#)));
    assert_eq!(given.headers[1].1, token);
    assert!(!format!("{given:?}").contains("lovelace"));
}

#[test]
fn rules_that_make_tokens_need_the_key() {
    let written: Vec<Written> =
        serde_json::from_str(r#"[{"query":"q","with":"token"}, {"query":"r","with":"drop"}]"#)
            .unwrap();
    let parsed = |written: &[Written]| written.iter().map(|w| Rule::parse(w).unwrap()).collect();
    assert!(Redactor::new(parsed(&written), None).is_none());
    assert!(Redactor::new(parsed(&written[1..]), None).is_some());
}
