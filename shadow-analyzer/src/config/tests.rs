use std::path::Path;

use shadow_recorder::config::ConfigError;

use super::*;
use crate::money::whole;
use crate::verdict::DimensionName::{GlAccount, LineOfBusiness, LineOfBusinessGlAccount};

fn read(text: &str) -> Result<Policy, Vec<String>> {
    let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
    let policy = take(&document);
    match document.finish() {
        Ok(()) => Ok(policy.unwrap()),
        Err(ConfigError::Mistakes(mistakes)) => Err(mistakes),
        Err(other) => panic!("{other}"),
    }
}

fn units(whole_currency: i128) -> num_rational::BigRational {
    whole(whole_currency * shadow_recorder::amount::UNITS)
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let policy = read("[certify]\nreporting_currency = \"USD\"").unwrap();
    assert_eq!(
        (policy.min_exchanges, policy.min_range, policy.candidate_errors_max),
        (100, Duration::ZERO, 0)
    );
    for name in DimensionName::ALL {
        let thresholds = &policy.dimensions[&name];
        assert!(thresholds.gate && thresholds.are_missing(), "{name:?}");
        assert_eq!(thresholds.allowed(&["any".into()], false, &units(1)), None);
    }
}

#[test]
fn thresholds_are_fixed_relative_or_of_one_cell() {
    let policy = read(
        r#"
        [certify]
        reporting_currency = "USD"
        [certify.rates]
        EUR = "1.25"
        USD = "1.00"
        [certify.thresholds.line_of_business]
        net = 1000
        [certify.thresholds.gl_account]
        share = "0.001"
        floor = "10.50"
        gross = 70
        gate = false
        [[certify.threshold]]
        dimension = "line_of_business_gl_account"
        line_of_business = "rides"
        gl_account = "fares"
        net = 5
        [[certify.threshold]]
        dimension = "line_of_business"
        value = "scooters"
        net = 7
        declared = true
        "#,
    )
    .unwrap();
    let allowed = |name, value: &[&str], new, primary| {
        let value: Vec<String> = value.iter().map(|part| (*part).to_owned()).collect();
        let allowed = policy.dimensions[&name].allowed(&value, new, &units(primary))?;
        Some((crate::money::text(&allowed.net), crate::money::text(&allowed.gross)))
    };
    let some = |net: &str, gross: &str| Some((net.to_owned(), gross.to_owned()));
    assert_eq!(allowed(LineOfBusiness, &["rides"], false, 1), some("1000.00", "5000.00"));
    assert_eq!(
        allowed(LineOfBusiness, &["boats"], true, 0),
        some("0.00", "0.00"),
        "a new value is allowed nothing"
    );
    assert_eq!(
        allowed(LineOfBusiness, &["scooters"], true, 0),
        some("7.00", "35.00"),
        "unless it is declared"
    );
    assert_eq!(allowed(GlAccount, &["fares"], false, 10_000), some("10.50", "70.00"));
    assert_eq!(allowed(GlAccount, &["fares"], false, 1_000_000), some("1000.00", "70.00"));
    assert_eq!(
        allowed(LineOfBusinessGlAccount, &["rides", "fares"], false, 1),
        some("5.00", "25.00")
    );
    assert_eq!(allowed(LineOfBusinessGlAccount, &["rides", "tips"], false, 1), None);
    assert!(!policy.dimensions[&GlAccount].gate);
    assert_eq!(policy.rates.values.keys().collect::<Vec<_>>(), ["EUR"]);
}

#[test]
fn all_mistakes_are_reported_together_and_say_what_to_write() {
    let mistakes = read(
        r#"
        [certify]
        reporting_currency = "DOLLARS"
        min_exchange = 5
        [certify.rates]
        EUR = "0"
        XXQ = "1"
        [certify.thresholds.line_of_busines]
        net = 1
        [certify.thresholds.gl_account]
        net = 1000.5
        [certify.thresholds.line_of_business]
        net = -1
        share = "2"
        [certify.thresholds.line_of_business_gl_account]
        gross = 5
        [[certify.threshold]]
        dimension = "account"
        [[certify.threshold]]
        dimension = "line_of_business"
        value = "rides"
        net = 1
        [[certify.threshold]]
        dimension = "line_of_business"
        value = "rides"
        net = 2
        "#,
    )
    .unwrap_err()
    .join("\n");
    for expected in [
        "shadow.toml:3: [certify]: `DOLLARS` is not an ISO 4217 code, for example USD",
        "unknown key `min_exchange`; did you mean `min_exchanges`?",
        "rates: EUR: `0` is not a rate",
        "rates: `XXQ` is not an ISO 4217 code",
        "unknown key `line_of_busines`; did you mean `line_of_business`?",
        "money is never a float",
        "`net` is below zero",
        "`2` is not a share",
        "`net` or `share` is missing",
        "`account` is not a dimension: write one of line_of_business, gl_account, line_of_business_gl_account",
        "`net` is missing",
        "line of business rides already has a threshold",
    ] {
        assert!(mistakes.contains(expected), "{expected}\n--- in\n{mistakes}");
    }
}

#[test]
fn an_absent_section_says_what_it_needs() {
    let mistakes = read("").unwrap_err().join("\n");
    assert!(
        mistakes.contains("section [certify] is missing; it needs `reporting_currency`"),
        "{mistakes}"
    );
    let document = Document::parse(Path::new("shadow.toml"), "", |_| None).unwrap();
    assert_eq!(take_if_present(&document), None);
    document.finish().unwrap();
}

#[test]
fn the_digest_changes_with_everything_that_a_verdict_depends_on() {
    let text = "[certify]\nreporting_currency = \"USD\"\n[certify.rates]\nEUR = \"1.25\"\n\
                [certify.thresholds.line_of_business]\nnet = 5\n";
    let digest = |text: &str, mapping: &str| read(text).unwrap().document(mapping).sha256;
    let first = digest(text, "mapping");
    assert_eq!(first.len(), 64);
    assert_eq!(first, digest(&text.replace("net = 5", "net = \"5.00\" # the same"), "mapping"));
    for (from, to) in [
        ("USD", "GBP"),
        ("1.25", "1.26"),
        ("net = 5", "net = 6"),
        ("net = 5", "net = 5\ngate = false"),
    ] {
        assert_ne!(first, digest(&text.replace(from, to), "mapping"), "{to}");
    }
    assert_ne!(first, digest(text, "another mapping"));
}
