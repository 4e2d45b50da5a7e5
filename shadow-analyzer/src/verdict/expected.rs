//! What a verdict tells of the differences that were declared before.

use serde::{Deserialize, Serialize};

/// A declared change, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedChange {
    /// What was declared, by whom and until when.
    pub declared: ExpectedPolicy,
    /// What came of it.
    pub state: ChangeState,
    /// The money of its kind that was found and is not judged, in the declaration's currency; debits and credits together.
    pub money: String,
    /// Whether there was more than its maximum; what is beyond is judged.
    pub exhausted: bool,
    /// Exchanges that show it.
    pub exchanges: u64,
    /// The first of them.
    pub example: Option<String>,
}

/// What came of a declared change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// It appeared.
    Appeared,
    /// It did not appear, or with less than its minimum: it is not in the build.
    Absent,
    /// Its last day is over: it applied to nothing.
    Expired,
}

impl ChangeState {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Absent => "absent",
            Self::Expired => "expired",
        }
    }
}

/// A declared change as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedPolicy {
    /// The kind of difference.
    pub kind: String,
    /// Where; of a reclassification, from where.
    pub cell: ExpectedCell,
    /// Of a reclassification, to where.
    pub to: Option<ExpectedCell>,
    /// `increase`, `decrease` or `either`.
    pub sign: String,
    /// The currency of the differences and the amounts; absent, any currency, the amounts in the reporting currency.
    pub currency: Option<String>,
    /// The least that must appear.
    pub minimum: String,
    /// The most that is not judged.
    pub maximum: String,
    /// Why the build books differently.
    pub reason: String,
    /// Where that was decided.
    pub ticket: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it applies.
    pub expires: String,
}

/// A line of business, a GL account, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCell {
    /// Absent, any.
    pub line_of_business: Option<String>,
    /// Absent, any.
    pub gl_account: Option<String>,
}

/// What of a cell's difference was declared and is not judged, in the cell's currency. What is judged is the difference less this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedMoney {
    /// Of the debits' net difference.
    pub debit: String,
    /// Of the credits'.
    pub credit: String,
    /// Of the balance's.
    pub balance: String,
    /// Of the gross differences: debit, credit and balance.
    pub gross: [String; 3],
}

impl ExpectedPolicy {
    /// Returns where it is, for people.
    pub fn place(&self) -> String {
        let named = |cell: &ExpectedCell| match (&cell.line_of_business, &cell.gl_account) {
            (Some(line), Some(account)) => format!("{line} / {account}"),
            (one, other) => one.as_ref().or(other.as_ref()).cloned().unwrap_or_default(),
        };
        match &self.to {
            Some(to) => format!("{} → {}", named(&self.cell), named(to)),
            None => named(&self.cell),
        }
    }
}
