use std::path::Path;

use super::*;
use crate::config::upstream::upstreams;
use crate::config::{ConfigError, Environment};
use crate::ledger::config::mapping;

const GOOD: &str = r#"
[redaction]
key = "0123456789abcdef"
principal = true
[[redact]]
header = "X-User"
with = "token"
[[redact]]
upstream = "fx"
route = "POST /convert"
json = "$.customer.card"
with = "token"
format = "luhn"
[[redact]]
path = "/users/{}/**"
with = "mask"
[[redact]]
route = "GET /page"
opaque = true
[[upstream]]
name = "fx"
listen = "127.0.0.1:9101"
forward_to = "http://fx.internal"
[[ledger]]
route = "POST /book/*"
transactions = "$.transactions[*]"
key = "$.id"
entries = "$.lines[*]"
line_of_business = { path = "$.lob", from = "answer" }
gl_account = "$.account"
currency = { value = "USD" }
amount = "$.amount"
positive = "debit"
"#;

fn taken(text: &str, environment: Environment) -> Result<Redaction, String> {
    let document = Document::parse(Path::new("shadow.toml"), text, environment).unwrap();
    let upstreams = upstreams(&document);
    let mapping = mapping(&document, &upstreams);
    let redaction = redaction(&document, &upstreams, &mapping);
    require_key(&document, &redaction);
    match document.finish() {
        Ok(()) => Ok(redaction),
        Err(ConfigError::Mistakes(mistakes)) => Err(mistakes.join("\n")),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_rules_of_the_file_are_the_rules_of_the_header_without_the_key() {
    let redaction = taken(GOOD, |_| None).unwrap();
    let header = serde_json::to_string(&redaction.header()).unwrap();
    assert!(!header.contains("0123456789abcdef"), "{header}");
    let fingerprint = Key::new("0123456789abcdef").fingerprint();
    for part in [
        r#"{"header":"X-User","with":"token"}"#,
        r#"{"upstream":"fx","route":"POST /convert","json":"$.customer.card","with":"token","format":"luhn"}"#,
        r#"{"route":"GET /page","opaque":true}"#,
        r#""principal":true"#,
        &format!(r#""key_fingerprint":"{fingerprint}""#),
    ] {
        assert!(header.contains(part), "{part} is not in {header}");
    }
    assert!(redaction.redactor().is_some());
    let secret = |name: &str| (name == "SHADOW_REDACTION_KEY").then(|| "f".repeat(16));
    let other = taken(GOOD, secret).unwrap().header().key_fingerprint;
    assert!(other.is_some() && other != Some(fingerprint), "the environment has the last word");
    let keyless = taken("[[redact]]\nheader = \"x\"\nwith = \"drop\"\n", |_| None).unwrap();
    assert_eq!(keyless.header().key_fingerprint, None);
}

#[track_caller]
fn wrong(from: &str, to: &str, expect: &str) {
    assert!(GOOD.contains(from), "{from}");
    let found = taken(&GOOD.replace(from, to), |_| None).unwrap_err();
    assert!(found.contains(expect), "{expect}\n--- is not in\n{found}");
    assert!(!found.contains("0123456789"), "the key is shown: {found}");
}

#[test]
fn every_mistake_is_reported_with_a_hint() {
    wrong(
        "key = \"0123456789abcdef\"",
        "",
        "`key` is missing: where tokens are made set it, or SHADOW_REDACTION_KEY",
    );
    wrong("0123456789abcdef", "0123456789", "less than 16 characters");
    wrong(
        "principal = true",
        "principle = true",
        "unknown key `principle`; did you mean `principal`?",
    );
    wrong("upstream = \"fx\"", "upstream = \"tax\"", "there is no [[upstream]] `tax`");
    wrong("POST /convert", "/convert", "`route` `/convert` is not a route");
    wrong("$.customer.card", "customer", "`customer` is not a JSONPath");
    wrong("X-User", "x user", "is not the name of a field");
    wrong("X-User", "authorization", "is a credential, which is dropped without a rule");
    wrong("X-User", "content-type", "without `content-type` a recording cannot be read");
    wrong(
        "header = \"X-User\"",
        "",
        "name one of `header`, `query`, `path`, `json`, `form` and `opaque`",
    );
    wrong("header = \"X-User\"", "header = \"a\"\nquery = \"b\"", "name one of");
    wrong(
        "with = \"mask\"",
        "with = \"hash\"",
        "`hash` is unknown: write \"drop\", \"mask\" or \"token\"",
    );
    wrong("with = \"mask\"", "with = \"drop\"", "a segment of a path cannot be dropped");
    wrong("with = \"mask\"", "", "`with` is missing");
    wrong(
        "with = \"mask\"",
        "with = \"mask\"\nformat = \"iban\"",
        "`format` says what a token looks like",
    );
    wrong("format = \"luhn\"", "format = \"card\"", "`card` is no format");
    wrong("/users/{}/**", "/users", "is not a pattern of a path");
    wrong("path = \"/users", "route = \"GET /x\"\npath = \"/users", "leave `route` out");
    wrong("route = \"GET /page\"", "", "`opaque` needs a `route` or an `upstream`");
    wrong("opaque = true", "opaque = true\nwith = \"mask\"", "`opaque` is said without `with`");
}

#[test]
fn what_the_mapping_reads_must_stay() {
    let rule = |text: &str| taken(&format!("{GOOD}\n[[redact]]\n{text}\n"), |_| None);
    for (text, what) in [
        ("json = \"$.transactions[*].lines[*].amount\"\nwith = \"token\"", "amount"),
        ("json = \"$..account\"\nwith = \"mask\"\nroute = \"POST /book/7\"", "gl_account"),
        ("json = \"$.lob\"\nwith = \"drop\"", "line_of_business"),
        ("json = \"$.transactions[*].id\"\nwith = \"mask\"", "key"),
    ] {
        let found = rule(text).unwrap_err();
        assert!(found.contains(&format!("a [[ledger]] reads as {what}:")), "{text}: {found}");
    }
    for text in [
        "json = \"$.transactions[*].id\"\nwith = \"token\"",
        "json = \"$..account\"\nwith = \"mask\"\nroute = \"GET /book/7\"",
        "json = \"$..account\"\nwith = \"mask\"\nupstream = \"fx\"",
        "json = \"$..email\"\nwith = \"mask\"",
    ] {
        assert!(rule(text).is_ok(), "{text}: {:?}", rule(text));
    }
}
