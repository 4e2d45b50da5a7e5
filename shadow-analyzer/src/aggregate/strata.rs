//! How the exchanges of every stratum came out.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::rows::Rows;
use super::{AggregateError, add_outcome, run};
use crate::load::Journal;
use crate::verdict::Outcomes;

/// Counts the exchanges by stratum and outcome.
pub(super) fn of(journal: &Journal) -> Result<BTreeMap<String, Outcomes>, AggregateError> {
    let counted = journal
        .exchanges()?
        .group_by(["stratum", "outcome"].map(col))
        .agg([len().alias("exchanges")]);
    let frame = run("strata", counted)?;
    let rows = Rows::of("strata", &frame);
    let mut strata: BTreeMap<String, Outcomes> = BTreeMap::new();
    for row in 0..rows.len() {
        let outcomes = strata.entry(rows.owned("stratum", row)?).or_default();
        add_outcome(outcomes, &rows.owned("outcome", row)?, rows.count("exchanges", row)?);
    }
    Ok(strata)
}
