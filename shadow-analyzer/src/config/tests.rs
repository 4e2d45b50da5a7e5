use std::path::Path;

use shadow_recorder::config::ConfigError;

use super::*;
use crate::money::whole;
use crate::policy::Replayed;
use crate::verdict::DimensionName::{GlAccount, LineOfBusiness, LineOfBusinessGlAccount};
use crate::verdict::{AssumptionPolicy, IgnoredPath};

fn read(text: &str) -> Result<Policy, Vec<String>> {
    let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
    let mapping = shadow_recorder::ledger::config::mapping(&document, &[]);
    let policy = take_with(&document, Some(&dimensions(extracts(&mapping))));
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
    for name in DimensionName::STANDARD {
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
    assert_eq!(take_if_present(&document, None), None);
    document.finish().unwrap();
}

#[test]
fn the_digest_changes_with_everything_that_a_verdict_depends_on() {
    let text = "[certify]\nreporting_currency = \"USD\"\n[certify.rates]\nEUR = \"1.25\"\n\
                [certify.thresholds.line_of_business]\nnet = 5\n";
    let replayed =
        |mapping: &str| Replayed { mapping_sha256: mapping.into(), ..Replayed::default() };
    let digest = |text: &str, mapping: &str| read(text).unwrap().document(replayed(mapping)).sha256;
    let first = digest(text, "mapping");
    assert_eq!(first.len(), 64);
    assert_eq!(first, digest(&text.replace("net = 5", "net = \"5.00\" # the same"), "mapping"));
    for (from, to) in [
        ("USD", "GBP"),
        ("1.25", "1.26"),
        ("net = 5", "net = 6"),
        ("net = 5", "net = 5\ngate = false"),
        ("net = 5", "net = 5\nper = \"day\""),
        ("[certify]\n", "[certify]\nassurance = \"none\"\n"),
        ("[certify]\n", "[certify]\naccounting_period = \"date\"\n"),
    ] {
        assert_ne!(first, digest(&text.replace(from, to), "mapping"), "{to}");
    }
    assert_ne!(first, digest(text, "another mapping"));
    let ignored = IgnoredPath { route: None, path: "$..at".into(), reason: "the time".into() };
    for other in [
        Replayed { state: "snapshot".into(), ..replayed("mapping") },
        Replayed { ignored: vec![ignored], ..replayed("mapping") },
        Replayed { assumptions: vec![AssumptionPolicy::default()], ..replayed("mapping") },
    ] {
        assert_ne!(first, read(text).unwrap().document(other.clone()).sha256, "{other:?}");
    }
}

/// Reads a configuration beside which such a file lies.
fn read_with(name: &str, content: &str, text: &str) -> Result<Policy, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    let file = folder.path().join("shadow.toml");
    let document = Document::parse(&file, text, |_| None).unwrap();
    let policy = take(&document, None);
    match document.finish() {
        Ok(()) => Ok(policy.unwrap()),
        Err(ConfigError::Mistakes(mistakes)) => Err(mistakes),
        Err(other) => panic!("{other}"),
    }
}

const RATES: &str = "[certify]\nreporting_currency = \"USD\"\nrates_file = \"rates.csv\"\n";

#[test]
fn a_run_takes_the_rates_of_the_last_day_of_its_range() {
    let file = "date,currency,rate\n2026-03-13,EUR,1.08\n2026-03-14,EUR,1.09\n2026-03-01,GBP,1.3\n";
    let text = format!("{RATES}[certify.rates]\nJPY = \"0.0066\"\n");
    let policy = read_with("rates.csv", file, &text).unwrap();
    let of = |to: &str| policy.clone().of_range(to.parse().unwrap());
    let texts = |policy: &Policy| {
        policy
            .rates
            .values
            .iter()
            .map(|(code, rate)| format!("{code} {}", rate.text))
            .collect::<Vec<_>>()
    };
    // The range ends before the instant: midnight belongs to the day before.
    let friday = of("2026-03-14T00:00:00Z");
    assert_eq!(texts(&friday), ["EUR 1.08", "JPY 0.0066"], "GBP is older than seven days");
    assert_eq!(texts(&of("2026-03-14T00:00:00.000001Z")), ["EUR 1.09", "JPY 0.0066"]);
    assert_eq!(texts(&of("2026-03-08T12:00:00Z")), ["GBP 1.3", "JPY 0.0066"]);
    let shown = friday.document(Replayed::default()).rates_file.unwrap();
    assert_eq!(shown.sha256, shadow_recorder::digest::sha256(file));
    assert_eq!(shown.day, Some(jiff::civil::date(2026, 3, 13)));
    assert_eq!(shown.dates, [("EUR".to_owned(), jiff::civil::date(2026, 3, 13))].into());
}

#[test]
fn a_file_of_rates_with_a_mistake_or_a_second_truth_is_refused() {
    let file = "date,currency,rate\n2026-03-13,EUR,1.08\n";
    let twice = format!("{RATES}[certify.rates]\nEUR = \"1.1\"\n");
    let mistakes = read_with("rates.csv", file, &twice).unwrap_err().join("\n");
    let expected =
        "shadow.toml:3: [certify]: EUR has a rate in `rates_file` and in [certify.rates]";
    assert!(mistakes.contains(expected), "{mistakes}");
    let mistakes = read_with("rates.csv", "date,currency,rate\nx,EUR,0\n", RATES).unwrap_err();
    assert!(mistakes[0].contains("shadow.toml:3: [certify]: `rates_file` "), "{mistakes:?}");
    assert!(mistakes[0].ends_with("rates.csv: line 2: `x` is not a date: write YYYY-MM-DD"));
    let mistakes = read_with("other.csv", file, RATES).unwrap_err().join("\n");
    assert!(mistakes.contains("rates.csv: cannot be read: "), "{mistakes}");
    let alone = "[certify]\nreporting_currency = \"USD\"\nrates_age_max = \"1d\"\n";
    let mistakes = read(alone).unwrap_err().join("\n");
    assert!(
        mistakes.contains("`rates_age_max` is of a `rates_file`, which is missing"),
        "{mistakes}"
    );
}

#[test]
fn a_chart_is_read_from_its_file() {
    let text = "[certify]\nreporting_currency = \"USD\"\nchart = \"chart.csv\"\n";
    let policy = read_with("chart.csv", "gl_account\n4000\n", text).unwrap();
    let chart = policy.chart.as_ref().unwrap();
    assert!(chart.knows("rides", "4000") && !chart.knows("rides", "4001"));
    assert_eq!(policy.document(Replayed::default()).chart_sha256, Some(chart.sha256.clone()));
    let mistakes = read_with("chart.csv", "account\n4000\n", text).unwrap_err().join("\n");
    assert!(mistakes.contains("chart.csv: its first line has none of the columns"), "{mistakes}");
}

const MAPPING: &str = r#"
[[ledger]]
route = "POST /trips"
transactions = "$"
entries = "$[*]"
line_of_business = "$.lob"
gl_account = "$.account"
currency = "$.currency"
debit = "$.debit"
credit = "$.credit"
entity = "$.entity"
dimensions = { country = "$.country" }
"#;

#[test]
fn a_dimension_that_the_mapping_names_may_have_thresholds() {
    let text = format!(
        "{MAPPING}[certify]\nreporting_currency = \"USD\"\nassurance = \"none\"\naccounting_period = \"date\"\n\
         [certify.thresholds.country]\nnet = 7\nper = \"day\"\n\
         [[certify.threshold]]\ndimension = \"entity\"\nvalue = \"SE01\"\nnet = 3\n"
    );
    let policy = read(&text).unwrap();
    let country = DimensionName::named("country").unwrap();
    assert!(policy.gates(country) && policy.judges_all(country) && policy.is_daily());
    assert!(policy.gates(DimensionName::Entity) && !policy.judges_all(DimensionName::Entity));
    let cell = |value: &str| crate::verdict::CellName {
        dimension: DimensionName::Entity,
        value: vec![value.to_owned()],
    };
    assert!(policy.gates_cell(&cell("SE01")) && !policy.gates_cell(&cell("NL01")));
    assert_eq!((policy.period, policy.assurance), (Period::Date, Some(Assurance::None)));
    let document = policy.document(Replayed::default());
    assert_eq!(
        (&*document.accounting_period, document.assurance.as_deref()),
        ("date", Some("none"))
    );
    let shown = document.thresholds.iter().find(|of| of.dimension == country).unwrap();
    assert_eq!(shown.default.as_ref().unwrap().per.as_deref(), Some("day"));
}

#[test]
fn what_cannot_be_judged_is_a_mistake_and_no_silence() {
    let text = format!(
        "{MAPPING}[certify]\nreporting_currency = \"USD\"\nassurance = \"95 %\"\naccounting_period = \"year\"\n\
         [certify.thresholds.country]\ngate = true\n\
         [certify.thresholds.accounting_period]\nnet = 1\n\
         [certify.thresholds.contry]\nnet = 1\n\
         [certify.thresholds.gl_account]\nnet = 1\nper = \"week\"\n\
         [[certify.threshold]]\ndimension = \"product\"\nvalue = \"x\"\nnet = 3\n"
    );
    let mistakes = read(&text).unwrap_err().join("\n");
    for expected in [
        "`95 %` is not available: only \"none\" is",
        "`year` is no accounting period: write \"month\" or \"date\"",
        "[certify.thresholds.country]: `net` or `share` is missing, or `gate = false`",
        "[certify.thresholds.accounting_period]: no [[ledger]] maps `accounting_date`",
        "unknown key `contry`; did you mean `country`?",
        "`week` is not known: write \"run\" or \"day\"",
        "`product` is not a dimension: write one of line_of_business, gl_account, line_of_business_gl_account, entity, country",
    ] {
        assert!(mistakes.contains(expected), "{expected}\n--- in\n{mistakes}");
    }
}
