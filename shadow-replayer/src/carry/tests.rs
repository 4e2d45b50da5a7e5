use super::*;
use shadow_recorder::exchange::Body;

fn request(target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    Request {
        method: "POST".into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        body: Body::of_text(body),
        trailers: vec![],
        principal: None,
    }
}

fn response(headers: &[(&str, &str)], body: &str) -> Response {
    let Request { headers, body, trailers, .. } = request("/", headers, body);
    Response { status: 200, headers, body, trailers }
}

fn rule(from: Place, into: &[&str]) -> Carry {
    let into = into.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
    Carry { route: None, from, field: None, into }
}

fn json(path: &str) -> Place {
    Place::Json(JsonPath::parse(path).unwrap())
}

#[test]
fn a_created_id_is_replaced_as_a_whole_and_only_where_it_may_be() {
    let rules = [rule(json("$.id"), &["$.trip"])];
    let mut carried = Carried::default();
    let asked = request("/trips", &[], "");
    carried.learn(
        &rules,
        &asked,
        Some(&response(&[], r#"{"id":17}"#)),
        &response(&[], r#"{"id":"a b"}"#),
    );
    let later = request(
        "/trips/17/legs/170?trip=17&n=1",
        &[("x-trip", "17"), ("x-other", "17-1")],
        r#"{"trip":17,"fare":17}"#,
    );
    let sent = carried.applied(&rules, &later);
    assert_eq!(sent.target, "/trips/a%20b/legs/170?trip=a%20b&n=1");
    assert_eq!(sent.headers[0].1, "a b");
    assert_eq!(sent.headers[1].1, "17-1");
    assert_eq!(sent.body.text.as_deref(), Some(r#"{"fare":17,"trip":"a b"}"#));
    let untouched = request("/fares?x", &[], r#"{ "fare": 17.0 }"#);
    assert_eq!(carried.applied(&rules, &untouched), untouched);
}

#[test]
fn a_session_becomes_a_field_or_a_cookie_of_what_follows() {
    let token = Carry {
        field: Some(("authorization".parse().unwrap(), "Bearer ".into())),
        ..rule(json("$.token"), &[])
    };
    let login =
        Carry { route: Some(Route::parse("POST /login").unwrap()), ..rule(Place::Cookies, &[]) };
    let rules = [token, login];
    let mut carried = Carried::default();
    let asked = request("/login", &[], "");
    carried.learn(&rules, &asked, None, &response(&[], r#"{"token":"t1"}"#));
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, "sid=9; Path=/; HttpOnly".parse().unwrap());
    headers.append(SET_COOKIE, "lang=en".parse().unwrap());
    carried.learn_cookies(&rules, &request("/other", &[], ""), &headers);
    assert_eq!(carried.applied(&rules, &asked).headers.len(), 1, "of another route");
    carried.learn_cookies(&rules, &asked, &headers);
    let sent = carried.applied(&rules, &request("/trips", &[("Authorization", "old")], ""));
    let expected = [("authorization", "Bearer t1"), ("cookie", "lang=en; sid=9")];
    assert_eq!(sent.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_part_of_a_field_is_carried_and_unequal_counts_are_not() {
    let capture = Regex::new("^/trips/([^/]+)$").unwrap();
    let rules = [
        rule(Place::Header("location".parse().unwrap(), Some(capture)), &[]),
        rule(json("$.ids[*]"), &[]),
    ];
    let mut carried = Carried::default();
    carried.learn(
        &rules,
        &request("/trips", &[], ""),
        Some(&response(&[("location", "/trips/17")], r#"{"ids":["x","y"]}"#)),
        &response(&[("Location", "/trips/99")], r#"{"ids":["z"]}"#),
    );
    let sent = carried.applied(&rules, &request("/trips/17/x", &[], ""));
    assert_eq!(sent.target, "/trips/99/x");
}
