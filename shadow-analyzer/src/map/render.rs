//! The text of a summary, in aligned columns.

use std::fmt::Write;
use std::path::Path;

use shadow_recorder::amount::format_units;
use shadow_replayer::plan::Range;
use shadow_replayer::run::Evidence;

use super::next::{is_gated, section};
use super::{EXAMPLE_CHARS_MAX, Example, Summary};
use crate::money::people;
use crate::number::{count, counted, exchanges};
use crate::policy::Policy;
use crate::verdict::DimensionName;
use shadow_recorder::table::{Align, plain, table};

/// Reasons shown per route.
const REASONS_SHOWN: usize = 3;
/// Places shown.
const PLACES_SHOWN: usize = 60;
/// Entries of the example shown.
const ENTRIES_SHOWN: usize = 20;
/// Names shown of what lacks a threshold or a rate.
const NAMES_SHOWN: usize = 20;
/// What is said of entries where there are none.
const UNKNOWN: &str = "unknown, nothing was read";

impl Summary {
    /// Returns the text. `policy` is absent where `[certify]` is not written yet; `config` is the file, for the next command.
    pub fn render(
        &self,
        range: Range,
        evidence: &Evidence,
        policy: Option<&Policy>,
        config: &Path,
    ) -> String {
        let mut text = format!(
            "{} recorded from {} to {}\n{}",
            exchanges(self.exchanges()),
            range.from,
            range.to,
            losses(evidence)
        );
        if self.exchanges() > 0 {
            text.push_str(&self.routes_text());
            text.push_str(&self.places_text());
            text.push_str(&self.findings(policy));
            text.push_str(&self.example.as_ref().map(example).unwrap_or_default());
        }
        let _ = write!(text, "\nnext: {}\n", self.next(range, evidence, policy, config));
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
            right("BROKEN OFF"),
        ];
        let rows = self.routes.iter().map(|(name, route)| {
            let counts = [
                route.mapped,
                route.empty,
                route.failed,
                route.unmapped,
                route.unparseable,
                route.broken_off,
            ];
            [name.clone()].into_iter().chain(counts.map(count)).collect()
        });
        let mut text =
            format!("\nanswers by route\n{}", table(&columns, &rows.collect::<Vec<_>>()));
        for (name, route) in &self.routes {
            for (reason, times) in route.commonest(REASONS_SHOWN) {
                let _ =
                    writeln!(text, "  {}: {} x {}", plain(name), count(times), harmless(reason));
            }
        }
        if self.broken_off() > 0 {
            text.push_str(
                "  BROKEN OFF: the answer was not recorded to its end, so that its money is unknown\n",
            );
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
                let sums = [count(sum.lines), money(sum.money.debit), money(sum.money.credit)];
                names.into_iter().chain(sums).collect()
            })
            .collect();
        let mut text = format!("\nwhat production booked\n{}", table(&columns, &rows));
        if self.places.len() > PLACES_SHOWN {
            let more = as_u64(self.places.len() - PLACES_SHOWN);
            let _ = writeln!(
                text,
                "  and {}",
                counted(more, "further combination", "further combinations")
            );
        }
        if self.places_left_out > 0 {
            let _ = writeln!(
                text,
                "  {} of too many combinations not summed",
                counted(self.places_left_out, "line is", "lines are")
            );
        }
        if self.overflowed {
            text.push_str("  a sum is beyond 38 digits and not whole\n");
        }
        text
    }

    fn findings(&self, policy: Option<&Policy>) -> String {
        let mut text = match &self.unbalanced_example {
            _ if self.transactions == 0 => format!("\nunbalanced transactions: {UNKNOWN}\n"),
            None => format!("\nunbalanced transactions: 0 of {}\n", count(self.transactions)),
            Some(id) => format!(
                "\nunbalanced transactions: {} of {}, for example in exchange {id}\n",
                count(self.unbalanced),
                count(self.transactions)
            ),
        };
        for dimension in DimensionName::STANDARD {
            let bare = if is_gated(policy, dimension) {
                let cells = self.without_threshold(policy, dimension);
                self.listed(cells.iter().map(|value| value.join(" / ")))
            } else {
                "none needed (gate = false)".into()
            };
            let _ = writeln!(text, "without a threshold in {}: {bare}", section(dimension));
        }
        let currencies = self.without_rate(policy);
        let _ = writeln!(
            text,
            "currencies without a rate: {}",
            self.listed(currencies.into_iter().map(str::to_owned))
        );
        text
    }

    /// Lists what is lacking. What was never read lacks nothing for certain.
    fn listed(&self, names: impl ExactSizeIterator<Item = String>) -> String {
        if self.places.is_empty() {
            return UNKNOWN.into();
        }
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let mut shown: Vec<String> = names.take(NAMES_SHOWN).map(|name| harmless(&name)).collect();
        if shown.is_empty() {
            shown.push("none".into());
        }
        if more > 0 {
            shown.push(format!("and {} more", count(as_u64(more))));
        }
        if self.places_left_out > 0 {
            shown.push("unknown for the lines that are not summed".into());
        }
        shown.join(", ")
    }
}

/// What a range lacks: what is not covered by readable recordings, and what passed without being recorded.
fn losses(evidence: &Evidence) -> String {
    let mut text = String::new();
    for gap in &evidence.gaps {
        let _ = writeln!(text, "  not covered: {}", harmless(gap));
    }
    for (reason, number) in &evidence.dropped {
        let _ =
            writeln!(text, "  passed unrecorded: {} ({})", exchanges(*number), harmless(reason));
    }
    text
}

/// Keeps text that quotes recordings on one line and off the terminal's controls, and whole: a key that is cut names nothing.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
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
    let more = match as_u64(more) {
        0 => String::new(),
        more => format!("  and {}\n", counted(more, "further entry", "further entries")),
    };
    let lines = shown.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    format!(
        "\none answer: {} (exchange {})\n{lines}\nwhat was read from it\n{}{more}",
        plain(&example.request),
        example.exchange_id,
        table(&columns, &rows)
    )
}
