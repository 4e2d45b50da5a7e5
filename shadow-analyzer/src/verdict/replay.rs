//! What a verdict tells of how the candidate was replayed.

use serde::{Deserialize, Serialize};

/// How the candidate was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// `recorded`: its upstream calls were answered from the recording; `own`: by upstreams of its own.
    pub upstreams: String,
    /// Whether it was seen that the candidate could reach nothing but the replay.
    pub isolation_proven: bool,
    /// How that was seen, or what was not.
    pub isolation: String,
    /// `stateless`, a claim that is tried, or `snapshot`: its store was restored before every attempt.
    pub state: String,
    /// What rests on declared answers to upstream calls that production never made.
    pub assumed: Assumed,
}

/// Exchanges in which a declared call was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumed {
    /// How many.
    pub exchanges: u64,
    /// What the candidate booked in them, by currency code. It is part of the comparison.
    pub money: Vec<AssumedMoney>,
}

/// The money of a currency that rests on assumptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssumedMoney {
    /// ISO 4217 code.
    pub currency: String,
    /// Debits.
    pub debit: String,
    /// Credits.
    pub credit: String,
}
