//! Which exchanges are recorded: the `sampling_…` keys, `order_key`, `census` and `size` of `[recorder]`, and `[[stratum]]`.

use std::sync::Arc;

use http::HeaderName;

use super::business_key::key_sources;
use super::{At, Document, Table};
use crate::business_key::BusinessKey;
use crate::ledger::{Path, Route};
use crate::redact;
use crate::sampling::{INTERVAL_MAX, Key, Rate, STRATA_MAX, Sampling, Sizes, Stratum};

/// Names that accounts give to what no stratum takes.
const RESERVED: [&str; 3] = ["all", "rest", "undecided"];
const KEY_MISSING: &str = "`sampling_key` is missing: with a rate below 1 set it, or SHADOW_RECORDER_SAMPLING_KEY, to a secret text, the same for all sidecars";

/// Takes the sampling rules. No mistake shows the key.
pub(super) fn sampling(
    document: &Document<'_>,
    table: &mut Table<'_, '_>,
    order_key: Option<&Arc<BusinessKey>>,
) -> Sampling {
    let rate = table.parsed("sampling_rate", Rate::parse);
    let key = table.text("sampling_key");
    if let Some(key) = key.as_ref().filter(|key| key.value.is_empty()) {
        table.mistake_at(key, "`sampling_key` is empty");
    }
    let derived = key.map(|key| Key::derive(&key.value));
    let strata = strata(document);
    let sizes = sizes(table, strata.iter().any(|stratum| stratum.interval.is_some()));
    let rules = Sampling::new(rate.unwrap_or_else(Rate::one), derived)
        .and_then(|rules| rules.with_strata(strata, sizes));
    let mut rules = rules.unwrap_or_else(|| {
        table.mistake(KEY_MISSING);
        Sampling::everything()
    });
    let is_by_order_key = table.parsed("sampling_unit", |unit| match unit {
        "trace" => Ok(false),
        "order_key" => Ok(true),
        _ => Err(format!("`{unit}` is no unit: write \"trace\" or \"order_key\"")),
    });
    if is_by_order_key == Some(true) {
        match order_key {
            Some(source) => rules = rules.by_order_key(Arc::clone(source)),
            None => table.mistake(
                "`sampling_unit = \"order_key\"` needs `order_key`, which says where an exchange has it",
            ),
        }
    }
    if table.flag("census") == Some(true) {
        rules = rules.with_census();
    }
    rules
}

/// Takes `order_key`.
pub(super) fn order_key(table: &mut Table<'_, '_>) -> Option<Arc<BusinessKey>> {
    let key = key_sources(table, "order_key")?;
    if let Some(header) = key.header.as_ref().filter(|name| redact::is_credential(name.as_str())) {
        table.mistake(&format!("`order_key`: `{header}` is a credential, which is not recorded"));
    }
    Some(Arc::new(key))
}

/// Takes `size`, which strata with an interval need.
fn sizes(section: &mut Table<'_, '_>, needed: bool) -> Sizes {
    let Some(mut table) = section.table("size") else {
        if needed {
            section.mistake(
                "`size` is missing: with an `interval` write size = { currency = \"USD\", rates = { EUR = \"1.10\" } }",
            );
        }
        return Sizes::default();
    };
    let currency = table.required("currency").map(|code| checked_currency(&table, code));
    let rates = table.text_map("rates").unwrap_or_default().into_iter();
    let rates =
        rates.filter_map(|(code, rate)| match rate.value.parse::<crate::amount::Amount>() {
            Ok(value) if value.units() > 0 && value.units() <= 1_000_000 * crate::amount::UNITS => {
                Some((code, value))
            }
            _ => {
                table.mistake_at(
                    &rate,
                    &format!("`{code}`: a rate is a decimal above 0 and up to 1000000"),
                );
                None
            }
        });
    let sizes = Sizes { rates: rates.collect(), currency: currency.unwrap_or_default() };
    table.finish(&["currency", "rates"]);
    sizes
}

fn checked_currency(table: &Table<'_, '_>, code: At<String>) -> String {
    if iso_currency::Currency::from_code(&code.value).is_none() {
        table.mistake_at(
            &code,
            &format!("`{}` is not a currency: write its ISO 4217 code", code.value),
        );
    }
    code.value
}

fn strata(document: &Document<'_>) -> Vec<Stratum> {
    let mut strata: Vec<Stratum> = Vec::new();
    for mut table in document.sections("stratum") {
        let Some(stratum) = stratum(&mut table) else { continue };
        if strata.len() == STRATA_MAX {
            table.mistake(&format!("there can be at most {STRATA_MAX} strata"));
            break;
        }
        if strata.iter().any(|other| other.name == stratum.name) {
            table.mistake(&format!("there is another stratum `{}`", stratum.name));
        }
        table.finish(&[
            "name",
            "route",
            "header",
            "answer",
            "line_of_business",
            "rate",
            "interval",
        ]);
        strata.push(stratum);
    }
    strata
}

fn stratum(table: &mut Table<'_, '_>) -> Option<Stratum> {
    let name = table.required("name");
    if let Some(name) = name.as_ref()
        && (name.value.is_empty() || RESERVED.contains(&&*name.value))
    {
        table.mistake_at(name, &format!("`name` cannot be `{}`", name.value));
    }
    let route = table.parsed("route", Route::parse);
    let header = table.table("header").and_then(|mut table| {
        let field = table.required("name").and_then(|name| field_name(&table, &name));
        let values = one_or_more(&mut table, "value");
        table.finish(&["name", "value"]);
        field.zip(Some(values))
    });
    let answer = table.table("answer").and_then(|mut table| {
        let path = table.parsed("path", Path::parse);
        if path.is_none() {
            table.mistake("`path` says which value of the answer is meant");
        }
        let values = one_or_more(&mut table, "value");
        table.finish(&["path", "value"]);
        path.zip(Some(values))
    });
    let lines_of_business =
        if table.has("line_of_business") { one_or_more(table, "line_of_business") } else { vec![] };
    let rate = table.parsed("rate", Rate::parse);
    let interval_given = table.has("interval");
    let interval = table.amount("interval").filter(|interval| {
        let fits = (1..=INTERVAL_MAX).contains(&interval.units());
        if !fits {
            table.mistake("`interval` is above 0 and at most 1000000000000");
        }
        fits
    });
    if rate.is_none() {
        table.mistake(if interval_given {
            "`rate` is missing: the least chance, of exchanges that book nothing as well, such as \"0.01\""
        } else {
            "`rate` is missing: the share of the stratum that is recorded"
        });
    }
    Some(Stratum {
        name: name?.value,
        route,
        header,
        answer,
        lines_of_business,
        rate: rate?,
        interval,
    })
}

/// Takes a text, or a list of them of which any will do.
fn one_or_more(table: &mut Table<'_, '_>, key: &str) -> Vec<String> {
    let texts = if table.holds_list(key) {
        table.texts(key).unwrap_or_default()
    } else {
        table.required(key).into_iter().collect()
    };
    texts.into_iter().map(|text| text.value).collect()
}

fn field_name(table: &Table<'_, '_>, name: &At<String>) -> Option<HeaderName> {
    let field = HeaderName::try_from(&*name.value).ok();
    if field.is_none() {
        table.mistake_at(name, &format!("`{}` is not the name of a field", name.value));
    }
    field
}
