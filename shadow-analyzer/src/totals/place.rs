//! Where and when lines are booked, at its finest.

use std::collections::BTreeMap;

use crate::verdict::{CellName, DimensionName, NO_VALUE};

/// Where lines are booked, at its finest.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The currency.
    pub currency: String,
    /// The value in each dimension that the mapping adds.
    pub further: BTreeMap<DimensionName, String>,
    /// The UTC day of the exchange, in days since 1970; absent where no threshold is per day.
    pub day: Option<i64>,
}

impl Place {
    /// Returns the place's cell in a dimension.
    pub fn cell(&self, dimension: DimensionName) -> CellName {
        let value = match dimension {
            DimensionName::LineOfBusiness => vec![self.line_of_business.clone()],
            DimensionName::GlAccount => vec![self.gl_account.clone()],
            DimensionName::LineOfBusinessGlAccount => {
                vec![self.line_of_business.clone(), self.gl_account.clone()]
            }
            further => {
                vec![self.further.get(&further).cloned().unwrap_or_else(|| NO_VALUE.to_owned())]
            }
        };
        CellName { dimension, value }
    }

    /// Returns the place's cell in every dimension.
    pub fn cells(&self) -> impl Iterator<Item = CellName> + '_ {
        let further = self.further.keys().copied();
        DimensionName::STANDARD.into_iter().chain(further).map(|dimension| self.cell(dimension))
    }
}
