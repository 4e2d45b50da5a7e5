//! Table `entry`: the journal entry lines of both sides. The rows are pure.

use arrow_schema::{DataType, Schema};
use shadow_recorder::ledger::Entry;

use super::table::{DECIMALS, PRECISION, Table};
use super::{Blame, ExchangeRow};

/// On which side a line was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Equal on both sides.
    Both,
    /// Production only.
    Primary,
    /// The candidate only.
    Shadow,
    /// The control, in an exchange that it did not reproduce.
    Control,
}

impl Source {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Primary => "primary",
            Self::Shadow => "shadow",
            Self::Control => "control",
        }
    }
}

/// What kind of difference a line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The same amount under another line of business, account or side.
    Reclassified,
    /// Another amount under the same line of business and account.
    AmountChanged,
    /// Another currency under the same line of business and account, whatever the amount.
    CurrencyChanged,
    /// Debit and credit of one place changed equally, so that its balance is unchanged.
    ReversalStyle,
    /// The same money on another accounting date.
    PeriodChanged,
    /// The same money of another legal entity.
    EntityChanged,
    /// The same money with another value of a further dimension, or of a field beside money.
    FieldChanged,
    /// Booked by production only.
    Missing,
    /// Booked by the candidate only.
    Extra,
    /// Production's money of an exchange that was not compared.
    NotExamined,
}

impl Kind {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reclassified => "reclassified",
            Self::AmountChanged => "amount_changed",
            Self::CurrencyChanged => "currency_changed",
            Self::ReversalStyle => "reversal_style",
            Self::PeriodChanged => "period_changed",
            Self::EntityChanged => "entity_changed",
            Self::FieldChanged => "field_changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::NotExamined => "not_examined",
        }
    }
}

/// What differs between a line and its counterpart beside place and money: accounting date, entity, dimensions and fields.
// The values stand in words beside the name: those of fields have no column of their own, and a reader wants both sides at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldChange {
    /// The names of what differs, such as `accounting_date, memo`.
    pub field: String,
    /// The same with the values of both sides, such as `memo: 'a' → 'b'`.
    pub change: String,
}

/// One line of table `entry`, less what its exchange says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The transaction's position in the exchange.
    pub transaction: i32,
    /// The transaction's key, where mapped.
    pub transaction_key: Option<String>,
    /// The line's position in the transaction.
    pub line: i32,
    /// Which side.
    pub source: Source,
    /// What was booked.
    pub entry: Entry,
    /// Part of which difference.
    pub kind: Option<Kind>,
    /// What else differs from its counterpart on the other side.
    pub changed: Option<FieldChange>,
    /// Whose fault, where it is known not to be the candidate's.
    pub blame: Option<Blame>,
}

/// The columns after the further dimensions.
const LAST_COLUMNS: [(&str, DataType, bool); 5] = [
    ("kind", DataType::Utf8, true),
    ("pi", DataType::Int64, false),
    ("blame", DataType::Utf8, true),
    ("field", DataType::Utf8, true),
    ("change", DataType::Utf8, true),
];

/// Returns the columns, those of further dimensions after `entity`.
pub(super) fn schema(dimensions: &[String]) -> Schema {
    let money = DataType::Decimal128(PRECISION, DECIMALS);
    let mut columns = vec![
        ("transaction", DataType::Int32, false),
        ("line", DataType::Int32, false),
        ("transaction_key", DataType::Utf8, true),
        ("source", DataType::Utf8, false),
        ("line_of_business", DataType::Utf8, false),
        ("gl_account", DataType::Utf8, false),
        ("currency", DataType::Utf8, false),
        ("debit", money.clone(), false),
        ("credit", money, false),
        ("accounting_date", DataType::Utf8, true),
        ("entity", DataType::Utf8, true),
    ];
    columns.extend(dimensions.iter().map(|name| (&**name, DataType::Utf8, true)));
    columns.extend(LAST_COLUMNS);
    super::schema(&columns)
}

pub(super) fn append(table: &mut Table, row: &ExchangeRow, line: &EntryRow, dimensions: &[String]) {
    table.int(3, Some(line.transaction));
    table.int(4, Some(line.line));
    table.text(5, line.transaction_key.as_deref());
    table.text(6, Some(line.source.word()));
    table.text(7, Some(&line.entry.line_of_business));
    table.text(8, Some(&line.entry.gl_account));
    table.text(9, Some(&line.entry.currency));
    table.decimal(10, line.entry.debit.units());
    table.decimal(11, line.entry.credit.units());
    table.text(12, line.entry.accounting_date.as_deref());
    table.text(13, line.entry.entity.as_deref());
    for (at, name) in (14..).zip(dimensions) {
        table.text(at, line.entry.dimensions.get(name).map(String::as_str));
    }
    let last = 14 + dimensions.len();
    table.text(last, line.kind.map(Kind::word));
    table.long(last + 1, Some(row.pi));
    table.text(last + 2, line.blame.map(Blame::word));
    table.text(last + 3, line.changed.as_ref().map(|changed| &*changed.field));
    table.text(last + 4, line.changed.as_ref().map(|changed| &*changed.change));
}
