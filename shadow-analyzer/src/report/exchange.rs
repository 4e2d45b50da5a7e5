//! The exchanges that were booked differently, each with its transactions side by side.

use std::collections::BTreeMap;

use crate::evidence::sample;
use crate::number::{count, counted};
use crate::report::text::{Figure, Text, instant};
use crate::verdict::{Differing, DifferingExchange, KindCount, Kinds, Line, Unbalanced};

/// Exchanges that the page shows, largest first.
const EXCHANGES_MAX: usize = 60;
/// Rows that the page shows of one exchange.
const EXCHANGE_ROWS_MAX: usize = 40;
/// Rows that the page shows of all exchanges: 1,200 of them are about 1.5 MiB.
const ROWS_MAX: usize = 1_200;
/// Kinds that the page shows.
const KINDS_SHOWN: usize = 20;

/// The section of differing exchanges.
pub(super) struct Exchanges {
    pub(super) total: u64,
    pub(super) total_words: String,
    pub(super) kinds: Vec<Kind>,
    /// On transactions that do not balance, where there are any.
    pub(super) unbalanced: Option<String>,
    pub(super) shown: Vec<Exchange>,
    /// Not on the page, but in the verdict.
    pub(super) more_in_verdict: u64,
    /// Not even in the verdict: only in the journal.
    pub(super) more_in_journal: u64,
}

/// A kind of difference with its meaning.
pub(super) struct Kind {
    pub(super) name: Text,
    pub(super) meaning: &'static str,
    /// What else differs.
    pub(super) field: Option<Text>,
    pub(super) exchanges: String,
    pub(super) lines: String,
}

/// One exchange.
pub(super) struct Exchange {
    pub(super) id: Text,
    pub(super) at: String,
    pub(super) route: Text,
    pub(super) outcome: Text,
    pub(super) reason: Option<Text>,
    pub(super) statuses: String,
    pub(super) kinds: Vec<Text>,
    pub(super) money: Figure,
    pub(super) transactions: Vec<Transaction>,
    pub(super) rows_more: u64,
    /// Whether the control shows all of it too.
    pub(super) explained: bool,
}

/// One transaction of an exchange.
pub(super) struct Transaction {
    pub(super) number: i64,
    pub(super) key: Option<Text>,
    pub(super) rows: Vec<Row>,
}

/// One line of a transaction as each side booked it.
pub(super) struct Row {
    /// `=`, `≠`, `−` or `+`.
    pub(super) symbol: &'static str,
    pub(super) word: &'static str,
    /// What else differs, with both values, as the journal says it.
    pub(super) change: Option<Text>,
    /// Primary, then shadow.
    pub(super) sides: [Option<Side>; 2],
    /// What else differs, such as the accounting date.
    pub(super) further: Vec<Further>,
}

/// A field without a column of its own in which the two sides differ.
pub(super) struct Further {
    pub(super) name: Text,
    pub(super) primary: Text,
    pub(super) shadow: Text,
}

/// What one side booked on a line.
pub(super) struct Side {
    /// Line of business, GL account, currency.
    pub(super) fields: [Field; 3],
    /// Debit, credit.
    pub(super) amounts: [Money; 2],
}

/// A field, and whether the other side has another value.
pub(super) struct Field {
    pub(super) text: Text,
    pub(super) changed: bool,
}

/// An amount, and whether the other side has another value.
pub(super) struct Money {
    pub(super) figure: Figure,
    pub(super) changed: bool,
}

impl Exchanges {
    pub(super) fn of(differing: &Differing, kinds: &Kinds) -> Self {
        let mut rows_left = ROWS_MAX;
        let mut shown = Vec::new();
        for exchange in differing.exchanges.iter().take(EXCHANGES_MAX) {
            if rows_left == 0 {
                break;
            }
            let exchange = Exchange::of(exchange, rows_left.min(EXCHANGE_ROWS_MAX));
            rows_left = rows_left.saturating_sub(
                exchange.transactions.iter().map(|transaction| transaction.rows.len()).sum(),
            );
            shown.push(exchange);
        }
        Self {
            total: differing.total,
            total_words: counted(differing.total, "exchange", "exchanges"),
            kinds: kinds.lines.iter().take(KINDS_SHOWN).map(kind).collect(),
            unbalanced: unbalanced(&kinds.unbalanced),
            more_in_verdict: (differing.exchanges.len() - shown.len()) as u64,
            more_in_journal: differing.left_out,
            shown,
        }
    }
}

fn unbalanced(of: &Unbalanced) -> Option<String> {
    let transactions = |number| counted(number, "transaction", "transactions");
    (of.primary + of.shadow > 0).then(|| {
        format!(
            "Debits are not credits in {} of production and {} of the candidate, of which {} in the candidate alone.",
            transactions(of.primary),
            transactions(of.shadow),
            count(of.newly)
        )
    })
}

fn kind(of: &KindCount) -> Kind {
    let meaning = match &*of.kind {
        "reclassified" => "the same amount under another line of business, GL account or side",
        "amount_changed" => "the same line with another amount",
        "currency_changed" => "the same line in another currency",
        "reversal_style" => "debit and credit changed equally, so that the balance is unchanged",
        "period_changed" => "the same money on another accounting date",
        "entity_changed" => "the same money of another legal entity",
        "field_changed" => "the same money with another value beside it",
        "missing" => "production booked a line that the candidate did not",
        "extra" => "the candidate booked a line that production did not",
        _ => "",
    };
    Kind {
        name: Text::name(&of.kind.replace('_', " ")),
        meaning,
        field: of.field.as_deref().map(Text::name),
        exchanges: count(of.exchanges),
        lines: count(of.lines),
    }
}

impl Exchange {
    fn of(exchange: &DifferingExchange, rows_max: usize) -> Self {
        let mut lines: BTreeMap<i32, Vec<&Line>> = BTreeMap::new();
        for line in &exchange.lines {
            lines.entry(line.transaction).or_default().push(line);
        }
        let mut rows_left = rows_max;
        let mut hidden = exchange.lines_left_out;
        let mut transactions = Vec::new();
        for (number, lines) in lines {
            let key = lines.iter().find_map(|line| line.transaction_key.as_deref());
            let mut rows = sample::pairs(&lines);
            hidden += rows.len().saturating_sub(rows_left) as u64;
            rows.truncate(rows_left);
            rows_left -= rows.len();
            if !rows.is_empty() {
                let rows = rows.into_iter().map(|(primary, shadow)| row(primary, shadow)).collect();
                let number = i64::from(number) + 1;
                transactions.push(Transaction { number, key: key.map(Text::name), rows });
            }
        }
        Self {
            id: Text::name(&exchange.exchange_id),
            at: instant(exchange.occurred_at),
            route: Text::name(&exchange.route),
            outcome: Text::name(&exchange.outcome),
            reason: exchange.reason.as_deref().map(Text::sentence),
            statuses: statuses(exchange),
            kinds: exchange
                .kinds
                .iter()
                .take(8)
                .map(|kind| Text::name(&kind.replace('_', " ")))
                .collect(),
            money: Figure::amount(&exchange.money),
            transactions,
            rows_more: hidden,
            explained: exchange.blame.as_deref() == Some("harness"),
        }
    }
}

fn statuses(exchange: &DifferingExchange) -> String {
    let word =
        |status: Option<u16>| status.map_or("no answer".to_owned(), |code| format!("HTTP {code}"));
    match (exchange.primary_status, exchange.shadow_status) {
        (primary, shadow) if primary == shadow => format!("both sides: {}", word(primary)),
        (primary, shadow) => format!("primary: {}, shadow: {} (≠)", word(primary), word(shadow)),
    }
}

fn row(primary: Option<&Line>, shadow: Option<&Line>) -> Row {
    let (symbol, word) = match (primary, shadow) {
        (Some(line), Some(_)) if line.source == "both" => ("=", "same"),
        (Some(_), Some(_)) => ("≠", "changed"),
        (_, None) => ("−", "missing"),
        (None, _) => ("+", "extra"),
    };
    Row {
        symbol,
        word,
        change: primary.or(shadow).and_then(|line| line.change.as_deref()).map(Text::name),
        sides: [primary.map(|line| side(line, shadow)), shadow.map(|line| side(line, primary))],
        further: primary
            .zip(shadow)
            .map_or_else(Vec::new, |(primary, shadow)| further(primary, shadow)),
    }
}

fn further(primary: &Line, shadow: &Line) -> Vec<Further> {
    let sides = [primary, shadow].map(|line| [&line.accounting_date, &line.entity]);
    let names = ["accounting date", "legal entity"].into_iter();
    let differing = names.zip(sides[0].into_iter().zip(sides[1])).filter(|(_, (a, b))| a != b);
    let text = |value: &Option<String>| Text::name(value.as_deref().unwrap_or("–"));
    differing
        .map(|(name, (primary, shadow))| Further {
            name: Text::name(name),
            primary: text(primary),
            shadow: text(shadow),
        })
        .collect()
}

fn side(line: &Line, other: Option<&Line>) -> Side {
    let field = |of: fn(&Line) -> &String| Field {
        text: Text::name(of(line)),
        changed: other.is_some_and(|other| of(other) != of(line)),
    };
    let money = |of: fn(&Line) -> &String| Money {
        figure: Figure::amount(of(line)),
        changed: other.is_some_and(|other| of(other) != of(line)),
    };
    Side {
        fields: [
            field(|line| &line.line_of_business),
            field(|line| &line.gl_account),
            field(|line| &line.currency),
        ],
        amounts: [money(|line| &line.debit), money(|line| &line.credit)],
    }
}
