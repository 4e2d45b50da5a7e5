//! What a verdict tells of production's scenarios: which of them the run compared, and how much of production's money.

use serde::{Deserialize, Serialize};

/// Scenarios that a verdict lists of those reached, and of those not reached.
pub const SCENARIOS_MAX: usize = 100;

/// How much of what production does was compared. It is shown and never judged. Money is absolute and converted: debits and credits together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Production's scenarios in the range: line of business × GL account × route, as far as its money was read.
    pub scenarios: u64,
    /// Those of which at least one exchange was compared.
    pub reached: u64,
    /// Production's money in the range; absent where a rate is missing.
    pub money: Option<String>,
    /// The part of it that was compared; absent where a rate is missing.
    pub money_compared: Option<String>,
    /// That part of 1, rounded down; absent where there is no money or a rate is missing.
    pub money_share: Option<String>,
    /// Scenarios of which nothing was compared, the most money first; at most [`SCENARIOS_MAX`].
    pub not_reached: Vec<Scenario>,
    /// Scenarios that are not in `not_reached`.
    pub not_reached_left_out: u64,
    /// The other scenarios, the most money first; at most [`SCENARIOS_MAX`].
    pub compared: Vec<Scenario>,
    /// Scenarios that are not in `compared`.
    pub compared_left_out: u64,
}

/// A scenario of production.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The method and path pattern, or path.
    pub route: String,
    /// Exchanges that booked in it.
    pub exchanges: u64,
    /// Those that were compared.
    pub exchanges_compared: u64,
    /// What production booked in it; absent where a rate is missing.
    pub money: Option<String>,
    /// The part of it that was compared; absent where a rate is missing.
    pub money_compared: Option<String>,
}
