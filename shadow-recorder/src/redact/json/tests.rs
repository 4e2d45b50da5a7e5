use proptest::prelude::*;

use super::*;
use crate::redact::key::Key;
use crate::redact::token::Format;

fn key() -> Key {
    Key::new("a key of the tests, long enough")
}

fn redacted(text: &str, rules: &[(&str, Action<'_>)]) -> Result<String, Unredactable> {
    let parsed: Vec<_> =
        rules.iter().map(|(path, action)| (JsonPath::parse(path).unwrap(), *action)).collect();
    let rules: Vec<_> = parsed.iter().map(|(path, action)| (path, *action)).collect();
    document(text, &rules)
}

#[track_caller]
fn check(text: &str, rules: &[(&str, Action<'_>)], expect: &str) {
    assert_eq!(redacted(text, rules).as_deref(), Ok(expect));
}

#[test]
fn only_the_selected_spans_change() {
    let mask = Action::Mask;
    let text = "{ \"amount\" : 1.10,\n\t\"who\":\"Ad\\u0061\\\"\" , \"ok\":true,\"n\":null, \"z\": -2.50e3 }\n";
    check(text, &[("$.who", mask)], &text.replace(r#""Ad\u0061\"""#, r#""***""#));
    check(text, &[("$.none", mask)], text);
    check(
        text,
        &[("$.*", mask)],
        "{ \"amount\" : 0,\n\t\"who\":\"***\" , \"ok\":false,\"n\":null, \"z\": 0 }\n",
    );
    check(r#"{"a":{"b":[1,"x",{"c":""}]}}"#, &[("$.a", mask)], r#"{"a":{"b":[0,"***",{"c":""}]}}"#);
    check(r#" "whole" "#, &[("$", mask)], r#" "***" "#);
}

#[test]
fn dropped_members_go_with_their_comma_and_elements_keep_their_places() {
    let drop = |path| [(path, Action::Drop)];
    let text = r#"{"a":1, "b":2 ,"c":3}"#;
    check(text, &drop("$.a"), r#"{"b":2 ,"c":3}"#);
    check(text, &drop("$.b"), r#"{"a":1 ,"c":3}"#);
    check(text, &drop("$.c"), r#"{"a":1, "b":2}"#);
    check(text, &drop("$['a','b']"), r#"{"c":3}"#);
    check(text, &drop("$['b','c']"), r#"{"a":1}"#);
    check(text, &drop("$['a','c']"), r#"{"b":2}"#);
    check(text, &drop("$.*"), "{}");
    check("[1,2,3]", &drop("$[1]"), "[1,null,3]");
    check(r#"{"a":1}"#, &drop("$"), "null");
    let nested = r#"{"a":{"b":"s","c":1},"d":2}"#;
    check(nested, &[("$.a.b", Action::Mask), ("$.a", Action::Drop)], r#"{"d":2}"#);
    check(nested, &[("$.a", Action::Drop), ("$.a.b", Action::Mask)], r#"{"d":2}"#);
}

#[test]
fn the_first_rule_that_selects_a_value_counts() {
    let key = key();
    let rules = [("$.card", Action::Token(&key, Format::Luhn)), ("$..*", Action::Mask)];
    let text = r#"{"card":"4111111111111111","x":"y"}"#;
    let card = key.token(Format::Luhn, "4111111111111111");
    check(text, &rules, &format!(r#"{{"card":"{card}","x":"***"}}"#));
}

#[test]
fn a_repeated_name_is_redacted_every_time_in_every_reading() {
    let mask = |path| [(path, Action::Mask)];
    check(r#"{"a":"1","a":"2","b":3}"#, &mask("$.a"), r#"{"a":"***","a":"***","b":3}"#);
    let outer = r#"{"a":{"s":"1"},"a":{"x":2},"a":{"s":"3","s":"4"}}"#;
    let expect = r#"{"a":{"s":"***"},"a":{"x":2},"a":{"s":"***","s":"***"}}"#;
    check(outer, &mask("$.a.s"), expect);
    check(outer, &mask("$..s"), expect);
    let filtered = r#"[{"kind":"x","kind":"card","n":"1"}]"#;
    check(filtered, &mask("$[?@.kind == 'x'].n"), &filtered.replace(r#""1""#, r#""***""#));
    check(r#"{"a":1,"\u0061":2}"#, &[("$.a", Action::Drop)], "{}");
    let many: Vec<String> = (0..7).map(|n| format!(r#""k{n}":1,"k{n}":2"#)).collect();
    let many = format!("{{{}}}", many.join(","));
    assert_eq!(redacted(&many, &mask("$.k0")), Err(Unredactable), "more readings than are asked");
}

#[test]
fn what_is_no_json_cannot_be_looked_into() {
    for text in ["", "{", "{'a':1}", "[1,]", "\u{feff}{}", "{} {}", r#"{"a":"\ud800"}"#] {
        assert_eq!(redacted(text, &[("$.a", Action::Mask)]), Err(Unredactable), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(redacted(&deep, &[("$.a", Action::Mask)]), Err(Unredactable));
    let path = JsonPath::parse("$.s").unwrap();
    let stream = "{\"s\":\"a\"}\n\n{\"t\":1}\n{\"s\":2}";
    let rules = [(&path, Action::Mask)];
    assert_eq!(lines(stream, &rules).unwrap(), "{\"s\":\"***\"}\n\n{\"t\":1}\n{\"s\":0}");
    assert_eq!(lines("{}\nx\n", &rules), Err(Unredactable));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[1-9][0-9]{0,8}[.][0-9]{2}".prop_map(|text| serde_json::from_str(&text).unwrap()),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ab\"\\\\é]{1,3}", inner, 0..5)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// The same done to the parsed document, without regard to its text.
fn naive(value: &Value, key: &Key) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::String(text) => key.token(Format::Digits, text).into(),
        Value::Number(number) => {
            serde_json::from_str(&key.number_token(Format::Digits, &number.to_string())).unwrap()
        }
        Value::Array(elements) => elements.iter().map(|element| naive(element, key)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), naive(value, key))).collect()
        }
    }
}

proptest! {
    #[test]
    fn the_text_is_what_the_document_becomes(document in documents(), pretty: bool) {
        let key = key();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let text = text.unwrap();
        let rules = [("$", Action::Token(&key, Format::Digits))];
        let once = redacted(&text, &rules).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&once).unwrap(), naive(&document, &key));
        prop_assert_eq!(redacted(&once, &rules).unwrap(), once);
        prop_assert_eq!(redacted(&text, &[]).unwrap(), text);
    }

    #[test]
    fn what_is_not_selected_stays_byte_for_byte(before in "[ \t]{0,3}\"[a-z\\\\u0041]{0,0}[a-zA-Z0-9 é]{0,10}\"[ ]{0,2}", secret in "[a-z0-9]{8,30}", number in "[1-9][0-9]{0,9}[.][0-9]{1,5}0") {
        let text = format!("{{\"x\":{before}, \"s\" :\"{secret}\",\n\"amount\":{number} }}");
        let key = key();
        let redacted = redacted(&text, &[("$.s", Action::Token(&key, Format::Text))]).unwrap();
        let token = key.token(Format::Text, &secret);
        prop_assert_eq!(&redacted, &text.replace(&format!("\"{secret}\","), &format!("\"{token}\",")));
    }
}
