//! Production's scenarios: what it books in which answers.

use std::collections::BTreeMap;

use super::{Money, Overflow};

/// Where production booked, and in answers to what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScenarioName {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The method and path pattern, or path.
    pub route: String,
}

/// What production booked in a scenario. Money is absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioTotals {
    /// By currency code: in exchanges that were compared, and in the others.
    pub money: BTreeMap<String, [Money; 2]>,
    /// Exchanges that were compared, and the others.
    pub exchanges: [u64; 2],
}

/// Every scenario.
pub type Scenarios = BTreeMap<ScenarioName, ScenarioTotals>;

impl ScenarioTotals {
    /// Adds lines of one sign.
    pub fn add(&mut self, currency: String, compared: bool, money: Money) -> Result<(), Overflow> {
        let of = &mut self.money.entry(currency).or_default()[usize::from(!compared)];
        *of = of.plus(money.absolute()?)?;
        Ok(())
    }
}
