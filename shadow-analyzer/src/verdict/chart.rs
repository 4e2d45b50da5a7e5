//! What was booked outside of the chart of accounts.

use serde::{Deserialize, Serialize};

/// Places that a verdict lists.
pub const OUTSIDE_CHART_MAX: usize = 100;

/// Where lines were booked that the chart does not know. Absent from a verdict where no chart is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideChart {
    /// At most [`OUTSIDE_CHART_MAX`]; those of the candidate alone first.
    pub places: Vec<OutsidePlace>,
    /// How many more there are.
    pub left_out: u64,
}

/// A GL account of a line of business that the chart does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsidePlace {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// Lines that production booked there.
    pub entries_primary: u64,
    /// Lines that the candidate booked there.
    pub entries_shadow: u64,
}

impl OutsidePlace {
    /// Returns whether only the candidate books there.
    pub fn is_new(&self) -> bool {
        self.entries_primary == 0 && self.entries_shadow > 0
    }
}
