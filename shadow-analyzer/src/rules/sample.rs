//! The rule about ranges that are a sample: what was observed stands for all traffic.

use super::{Finding, one};
use crate::score::Case;
use crate::verdict::Rule;

/// Without a word on how sure it must be, a sample certifies nothing.
pub(super) fn sampled(case: &Case<'_>) -> Vec<Finding> {
    if !case.is_sampled() || case.policy.assurance.is_some() {
        return Vec::new();
    }
    one(
        Rule::Sampled,
        "the range is a sample, and a bound on the difference of all its traffic is not available",
        "set [certify] assurance = \"none\" to be judged by the projection alone, without a bound, or replay a range in which everything was recorded",
    )
}
