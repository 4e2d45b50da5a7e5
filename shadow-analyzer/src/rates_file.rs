//! `[certify] rates_file`: exchange rates by date.
//!
//! ```text
//! date,currency,rate          other columns are ignored
//! 2026-03-13,EUR,1.0842       from this UTC day on, one unit is worth so much in the reporting currency
//! ```
//!
//! A run has one rate for each currency: that of the last UTC day of its range, or the latest earlier one that is at most `rates_age_max`
//! old. So one small table converts the whole run, and anybody can check it; an older rate is none, and the currency has no rate.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use shadow_recorder::digest::sha256;

use crate::columns::{self, Row};
use crate::money::{Rate, is_currency};

/// The rates of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesFile {
    /// Of the file.
    pub sha256: String,
    /// How old a rate may be.
    pub age_max: Duration,
    rates: BTreeMap<String, BTreeMap<Date, Rate>>,
}

impl RatesFile {
    /// Reads a file; the error has every mistake with its line.
    pub fn parse(bytes: &[u8], reporting: &str, age_max: Duration) -> Result<Self, Vec<String>> {
        let mut rates: BTreeMap<String, BTreeMap<Date, Rate>> = BTreeMap::new();
        let mut mistakes = Vec::new();
        for row in columns::rows(bytes, &["date", "currency", "rate"])? {
            match read(&row, reporting) {
                Ok((date, currency, rate)) => {
                    let earlier = rates.entry(currency.clone()).or_default().insert(date, rate);
                    if earlier.is_some() {
                        let what = format!("{currency} has two rates of {date}");
                        mistakes.push(row.mistake(&what));
                    }
                }
                Err(what) => mistakes.push(row.mistake(&what)),
            }
        }
        if rates.is_empty() && mistakes.is_empty() {
            mistakes.push("holds no rate".into());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self { sha256: sha256(bytes), age_max, rates })
    }

    /// Returns the currencies that it has rates of.
    pub fn currencies(&self) -> impl Iterator<Item = &str> {
        self.rates.keys().map(String::as_str)
    }

    /// Returns each currency's rate on a day, with the date that it is of.
    pub fn on(&self, day: Date) -> BTreeMap<String, (Date, Rate)> {
        let latest = |(currency, rates): (&String, &BTreeMap<Date, Rate>)| {
            let (date, rate) = rates.range(..=day).next_back()?;
            let age = Duration::try_from(day.duration_since(*date)).ok()?;
            (age <= self.age_max).then(|| (currency.clone(), (*date, rate.clone())))
        };
        self.rates.iter().filter_map(latest).collect()
    }
}

fn read(row: &Row, reporting: &str) -> Result<(Date, String, Rate), String> {
    let [date, currency, rate] = [0, 1, 2].map(|column| row.text(column));
    let date: Date =
        date.parse().map_err(|_| format!("`{date}` is not a date: write YYYY-MM-DD"))?;
    if !is_currency(currency) {
        return Err(format!("`{currency}` is not an ISO 4217 code"));
    }
    let rate = Rate::parse(rate)?;
    if currency == reporting && !rate.is_one() {
        return Err(format!("{currency} is the reporting currency, its rate is 1"));
    }
    Ok((date, currency.to_owned(), rate))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn parse(text: &str) -> Result<RatesFile, Vec<String>> {
        RatesFile::parse(text.as_bytes(), "USD", 3 * DAY)
    }

    #[test]
    fn a_day_has_its_rate_or_the_latest_before_it_that_is_not_too_old() {
        let file = parse(
            "currency,source,date,rate\nEUR,ecb,2026-03-13,1.08\nEUR,ecb,2026-03-10,1.07\nGBP,ecb,2026-03-16,1.3\n",
        )
        .unwrap();
        let on = |day: i8| {
            let rates = file.on(date(2026, 3, day));
            let text = |(currency, (date, rate)): (String, (Date, Rate))| {
                format!("{currency} {} of {date}", rate.text)
            };
            rates.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(on(13), ["EUR 1.08 of 2026-03-13"]);
        assert_eq!(on(12), ["EUR 1.07 of 2026-03-10"]);
        assert_eq!(on(16), ["EUR 1.08 of 2026-03-13", "GBP 1.3 of 2026-03-16"]);
        assert_eq!(on(17), ["GBP 1.3 of 2026-03-16"], "four days are too old");
        assert_eq!(on(9), Vec::<String>::new(), "a later rate is no rate of today");
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "date,currency,rate\n13.3.2026,EUR,1\n2026-03-13,EURO,1\n2026-03-13,EUR,0\n2026-03-13,USD,2\n\
                    2026-03-13,USD,1.0\n2026-03-13,GBP,1.3\n2026-03-13,GBP,1.4\n2026-03-14,GBP\n";
        let mistakes = parse(text).unwrap_err();
        let expected = [
            "line 2: `13.3.2026` is not a date: write YYYY-MM-DD",
            "line 3: `EURO` is not an ISO 4217 code",
            "line 4: `0` is not a rate",
            "line 5: USD is the reporting currency, its rate is 1",
            "line 8: GBP has two rates of 2026-03-13",
            "line 9: `` is not a rate",
        ];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{mistake}");
        }
        assert_eq!(parse("date,rate\n").unwrap_err(), ["its first line has no column `currency`"]);
        assert_eq!(parse("date,currency,rate\n").unwrap_err(), ["holds no rate"]);
    }
}
