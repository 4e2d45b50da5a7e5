//! The text of a summary, in aligned columns.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use shadow_recorder::amount::format_units;
use shadow_replayer::plan::Range;

use super::{EXAMPLE_CHARS_MAX, Example, Summary};
use crate::money::{people, whole};
use crate::policy::Policy;
use crate::table::{Align, plain, table};
use crate::verdict::DimensionName;

/// Reasons shown per route.
const REASONS_SHOWN: usize = 3;
/// Places shown.
const PLACES_SHOWN: usize = 60;
/// Entries of the example shown.
const ENTRIES_SHOWN: usize = 20;

impl Summary {
    /// Returns the text. `policy` is absent where `[certify]` is not written yet; `config` is the file, for the next command.
    pub fn render(
        &self,
        range: Range,
        gaps: &[String],
        policy: Option<&Policy>,
        config: &Path,
    ) -> String {
        let mut text = format!(
            "{} exchanges recorded from {} to {}\n",
            self.exchanges(),
            range.from,
            range.to
        );
        for gap in gaps {
            let _ = writeln!(text, "  not covered: {}", plain(gap));
        }
        if self.exchanges() > 0 {
            text.push_str(&self.routes_text());
            text.push_str(&self.places_text());
            text.push_str(&self.findings(policy));
            text.push_str(&self.example.as_ref().map(example).unwrap_or_default());
        }
        let _ = write!(text, "\nnext: {}\n", self.next(range, policy, config));
        text
    }

    fn routes_text(&self) -> String {
        let right = |heading| (heading, Align::Right);
        let columns = [
            ("ROUTE", Align::Left),
            right("MAPPED"),
            right("EMPTY"),
            right("FAILED"),
            right("UNMAPPED"),
            right("UNPARSEABLE"),
            right("NO ANSWER"),
        ];
        let rows = self.routes.iter().map(|(name, route)| {
            let counts = [
                route.mapped,
                route.empty,
                route.failed,
                route.unmapped,
                route.unparseable,
                route.unanswered,
            ];
            [name.clone()].into_iter().chain(counts.map(|count| count.to_string())).collect()
        });
        let mut text =
            format!("\nanswers by route\n{}", table(&columns, &rows.collect::<Vec<_>>()));
        for (name, route) in &self.routes {
            for (reason, count) in route.commonest(REASONS_SHOWN) {
                let reason: String =
                    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let _ = writeln!(text, "  {}: {count} x {reason}", plain(name));
            }
        }
        text
    }

    fn places_text(&self) -> String {
        if self.places.is_empty() {
            return "\nno entry was read: nothing was booked, or the mapping does not find it\n"
                .into();
        }
        let columns = [
            ("LINE OF BUSINESS", Align::Left),
            ("GL ACCOUNT", Align::Left),
            ("CURRENCY", Align::Left),
            ("LINES", Align::Right),
            ("DEBIT", Align::Right),
            ("CREDIT", Align::Right),
        ];
        let money = |units| people(&format_units(units), "");
        let rows: Vec<Vec<String>> = self
            .places
            .iter()
            .take(PLACES_SHOWN)
            .map(|(place, sum)| {
                let names =
                    [&place.line_of_business, &place.gl_account, &place.currency].map(Clone::clone);
                let sums = [sum.lines.to_string(), money(sum.money.debit), money(sum.money.credit)];
                names.into_iter().chain(sums).collect()
            })
            .collect();
        let mut text = format!("\nwhat production booked\n{}", table(&columns, &rows));
        if self.places.len() > PLACES_SHOWN {
            let _ =
                writeln!(text, "  and {} further combinations", self.places.len() - PLACES_SHOWN);
        }
        if self.places_left_out > 0 {
            let _ = writeln!(
                text,
                "  {} lines of too many combinations are not summed",
                self.places_left_out
            );
        }
        if self.overflowed {
            text.push_str("  a sum is beyond 38 digits and not whole\n");
        }
        text
    }

    fn findings(&self, policy: Option<&Policy>) -> String {
        let example = self
            .unbalanced_example
            .as_ref()
            .map_or(String::new(), |id| format!(", for example in exchange {id}"));
        format!(
            "\nunbalanced transactions: {} of {}{example}\nlines of business without a threshold: {}\n\
             currencies without a rate: {}\n",
            self.unbalanced,
            self.transactions,
            listed(&self.without_threshold(policy)),
            listed(&self.without_rate(policy)),
        )
    }

    fn without_threshold(&self, policy: Option<&Policy>) -> BTreeSet<&str> {
        let thresholds = policy.map(|policy| &policy.dimensions[&DimensionName::LineOfBusiness]);
        let bare = |name: &&str| match thresholds {
            Some(thresholds) => {
                thresholds.gate
                    && thresholds.allowed(&[(*name).to_owned()], false, &whole(0)).is_none()
            }
            None => true,
        };
        self.places.keys().map(|place| &*place.line_of_business).filter(bare).collect()
    }

    fn without_rate(&self, policy: Option<&Policy>) -> BTreeSet<&str> {
        let bare =
            |currency: &&str| policy.is_none_or(|policy| policy.rates.of(currency).is_none());
        self.places.keys().map(|place| &*place.currency).filter(bare).collect()
    }

    /// The first thing that stands in the way of certifying.
    fn next(&self, range: Range, policy: Option<&Policy>, config: &Path) -> String {
        let route = |count: fn(&super::Route) -> u64| {
            self.routes.iter().find(|(_, route)| count(route) > 0).map(|(name, _)| plain(name))
        };
        if self.exchanges() == 0 {
            return "nothing was recorded in this range; send traffic through shadow-recorder, or choose another range".into();
        }
        if let Some(route) = route(|route| route.unparseable) {
            return format!(
                "mend the [[ledger]] of {route}: the reasons above say which field of which entry cannot be read"
            );
        }
        if let Some(route) = route(|route| route.unmapped) {
            return format!(
                "write a [[ledger]] for {route}; if the route books nothing, with `no_entries = true`"
            );
        }
        if self.places.is_empty() {
            return "choose a range in which money was booked, or check `transactions` and `entries` of the [[ledger]]".into();
        }
        if self.unbalanced > 0 {
            return "check debit and credit in the [[ledger]]: what production books should balance".into();
        }
        if policy.is_none() {
            return "write [certify] with reporting_currency and thresholds".into();
        }
        if let Some(name) = self.without_threshold(policy).first() {
            return format!(
                "set `net` in [certify.thresholds.line_of_business], which {} has not",
                plain(name)
            );
        }
        if let Some(currency) = self.without_rate(policy).first() {
            return format!("set the rate of {currency} in [certify.rates]");
        }
        format!(
            "certify production's own build: shadow-analyzer --config {} certify --candidate http://HOST:PORT --build BUILD \
             --from {} --to {}",
            config.display(),
            range.from,
            range.to
        )
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
}

fn example(example: &Example) -> String {
    let answer: String =
        example.answer.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    let mut shown: String = answer.chars().take(EXAMPLE_CHARS_MAX).collect();
    if shown.len() < answer.len() {
        shown.push_str("...");
    }
    let columns = [
        ("KEY", Align::Left),
        ("LINE OF BUSINESS", Align::Left),
        ("GL ACCOUNT", Align::Left),
        ("CURRENCY", Align::Left),
        ("DEBIT", Align::Right),
        ("CREDIT", Align::Right),
    ];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for transaction in &example.transactions {
        for entry in &transaction.entries {
            let key = transaction.key.clone().unwrap_or_else(|| "-".into());
            let names = [
                key,
                entry.line_of_business.clone(),
                entry.gl_account.clone(),
                entry.currency.clone(),
            ];
            let sums = [entry.debit, entry.credit].map(|amount| people(&amount.to_string(), ""));
            rows.push(names.into_iter().chain(sums).collect());
        }
    }
    let more = rows.len().saturating_sub(ENTRIES_SHOWN);
    rows.truncate(ENTRIES_SHOWN);
    let more = if more > 0 { format!("  and {more} further entries\n") } else { String::new() };
    let lines = shown.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    format!(
        "\none answer: {} (exchange {})\n{lines}\nwhat was read from it\n{}{more}",
        plain(&example.request),
        example.exchange_id,
        table(&columns, &rows)
    )
}
