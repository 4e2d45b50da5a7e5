//! What a verdict tells of the classes of difference, and of when each was first seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shadow_recorder::digest::sha256;

/// Classes of difference that a verdict lists. 500 of them are about 250 KiB of JSON.
pub const SIGNATURES_MAX: usize = 500;

/// The classes of difference of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    /// At most [`SIGNATURES_MAX`]: new ones first, then those that most exchanges show.
    pub shown: Vec<Signature>,
    /// How many more there are.
    pub left_out: u64,
}

/// A class of difference: all differences of one kind, at one place and in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Names it in every run alike: SHA-256 over kind, path, line of business, GL account and direction.
    pub sha256: String,
    /// The kind of difference of journal entry lines, or `structure` for one outside the ledger mapping.
    pub kind: String,
    /// Where an answer differs outside the ledger mapping: route, part and path.
    pub path: Option<String>,
    /// The line of business of the lines.
    pub line_of_business: Option<String>,
    /// Their GL account.
    pub gl_account: Option<String>,
    /// What the candidate does other than production, such as `less credit`.
    pub direction: String,
    /// Exchanges that show it.
    pub exchanges: u64,
    /// The money by which the candidate's lines differ from production's, per currency; signed.
    pub money: Vec<SignatureMoney>,
    /// One of the exchanges.
    pub example: String,
    /// Whether the last certified run did not show it; absent where there is none, or where it had more classes than it lists.
    pub new: Option<bool>,
    /// The run in which it was first seen; absent while that is not known.
    pub first: Option<FirstSeen>,
}

/// The money of a class of difference in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureMoney {
    /// ISO 4217 code.
    pub currency: String,
    /// Debits of the candidate less production's.
    pub debit: String,
    /// Credits of the candidate less production's.
    pub credit: String,
}

/// Where a class of difference was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// The run.
    pub run_id: String,
    /// The candidate's build.
    pub build: String,
    /// When the run's verdict was given.
    pub decided_at: Timestamp,
}

impl Signature {
    /// Returns the name of the class that the other fields describe.
    pub(crate) fn name(&self) -> String {
        let parts = [
            Some(&self.kind),
            self.path.as_ref(),
            self.line_of_business.as_ref(),
            self.gl_account.as_ref(),
            Some(&self.direction),
        ];
        sha256(serde_json::to_vec(&parts).expect("texts are JSON"))
    }

    /// Returns where it is, for people.
    pub fn place(&self) -> String {
        match (&self.path, &self.line_of_business, &self.gl_account) {
            (Some(path), ..) => path.clone(),
            (None, Some(line), Some(account)) => format!("{line} / {account}"),
            (None, one, other) => one.as_ref().or(other.as_ref()).cloned().unwrap_or_default(),
        }
    }
}
