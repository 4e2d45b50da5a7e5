//! The rule about lines that moved without their money.

use super::{Finding, again, one};
use crate::number;
use crate::score::Case;
use crate::totals::Redated;
use crate::verdict::{DimensionName, Rule};

pub(super) fn date_or_entity_changed(case: &Case<'_>) -> Vec<Finding> {
    let exchanges = &case.totals.exchanges;
    let kinds = [
        (DimensionName::AccountingPeriod, &exchanges.period_changed, "accounting date"),
        (DimensionName::Entity, &exchanges.entity_changed, "legal entity"),
    ];
    // Where every cell of the dimension is judged, its threshold says what may move.
    let unjudged = kinds.into_iter().filter(|(dimension, ..)| !case.policy.judges_all(*dimension));
    let of = |(dimension, moved, what): (DimensionName, &Redated, &str)| {
        let Some(example) = &moved.example else { return Vec::new() };
        let word = dimension.word();
        let column = dimension.column();
        one(
            Rule::DateOrEntityChanged,
            format!(
                "in {} entries moved to another {what}, for example in exchange {example}, and no threshold judges this",
                number::exchanges(moved.exchanges)
            ),
            format!(
                "if the change is intended, set `net` in [certify.thresholds.{word}] and {}, or take `{column}` out of the [[ledger]] mapping and compare the run again",
                again(case)
            ),
        )
    };
    unjudged.flat_map(of).collect()
}
