//! What stands in the way of certifying: the rules of a verdict, as far as recordings and configuration alone break them.

use std::collections::BTreeSet;
use std::path::Path;

use shadow_replayer::plan::Range;
use shadow_replayer::run::Evidence;

use super::render::harmless;
use super::{Route, Summary};
use crate::money::whole;
use crate::number::exchanges;
use crate::policy::Policy;
use crate::verdict::DimensionName;
use shadow_recorder::table::plain;

/// Returns where the thresholds of a dimension are configured.
pub(super) fn section(dimension: DimensionName) -> String {
    format!("[certify.thresholds.{}]", dimension.word())
}

/// Returns whether a dimension is judged. It is unless the configuration says otherwise.
pub(super) fn is_gated(policy: Option<&Policy>, dimension: DimensionName) -> bool {
    policy.is_none_or(|policy| policy.thresholds(dimension).gate)
}

impl Summary {
    /// Returns the cells of a dimension that have no threshold.
    pub(super) fn without_threshold(
        &self,
        policy: Option<&Policy>,
        dimension: DimensionName,
    ) -> BTreeSet<Vec<String>> {
        let cells = self.places.keys().map(|place| place.cell(dimension).value);
        let bare = |value: &Vec<String>| {
            policy.is_none_or(|policy| {
                // Whether there is a threshold does not depend on what was booked.
                policy.thresholds(dimension).allowed(value, false, &whole(0)).is_none()
            })
        };
        cells.filter(bare).collect()
    }

    /// Returns the currencies that have no rate.
    pub(super) fn without_rate(&self, policy: Option<&Policy>) -> BTreeSet<&str> {
        let bare =
            |currency: &&str| policy.is_none_or(|policy| policy.rates.of(currency).is_none());
        self.places.keys().map(|place| &*place.currency).filter(bare).collect()
    }

    /// Returns what to do about the first obstacle, or the command that certifies.
    pub(super) fn next(
        &self,
        range: Range,
        evidence: &Evidence,
        policy: Option<&Policy>,
        config: &Path,
    ) -> String {
        let obstacle = match policy {
            _ if self.exchanges() == 0 => Some(nothing_read(evidence)),
            None => self
                .mend_mapping()
                .or_else(|| Some("write [certify] with reporting_currency and thresholds".into())),
            Some(policy) => self
                .mend_mapping()
                .or_else(|| self.complete_policy(policy))
                .or_else(|| self.choose_range(evidence, policy)),
        };
        obstacle.unwrap_or_else(|| {
            format!(
                "certify production's own build: shadow-analyzer --config {} certify --candidate http://HOST:PORT --build BUILD \
                 --from {} --to {}",
                config.display(),
                range.from,
                range.to
            )
        })
    }

    /// Returns what to do about what the mapping does not read.
    pub(crate) fn mend_mapping(&self) -> Option<String> {
        let route = |number: fn(&Route) -> u64| {
            self.routes.iter().find(|(_, route)| number(route) > 0).map(|(name, _)| plain(name))
        };
        if let Some(route) = route(|route| route.unparseable) {
            return Some(format!(
                "mend the [[ledger]] of {route}: the reasons above say which field of which entry cannot be read"
            ));
        }
        if let Some(route) = route(|route| route.unmapped) {
            return Some(format!(
                "write a [[ledger]] for {route}; if the route books nothing, with `no_entries = true`"
            ));
        }
        if self.places.is_empty() {
            let advice = if self.broken_off() == self.exchanges() {
                "choose a range in which answers were recorded to their end: here, every one broke off"
            } else {
                "choose a range in which money was booked, or check `transactions` and `entries` of the [[ledger]]"
            };
            return Some(advice.into());
        }
        (self.unbalanced > 0).then(|| {
            "check debit and credit in the [[ledger]]: what production books should balance".into()
        })
    }

    fn complete_policy(&self, policy: &Policy) -> Option<String> {
        self.set_thresholds(policy).or_else(|| self.set_rates(policy))
    }

    /// Returns which threshold to set.
    pub(crate) fn set_thresholds(&self, policy: &Policy) -> Option<String> {
        let gated =
            || DimensionName::STANDARD.into_iter().filter(|name| policy.thresholds(*name).gate);
        if gated().next().is_none() {
            return Some(
                "remove `gate = false` from one of [certify.thresholds]: no dimension would be judged"
                    .into(),
            );
        }
        for dimension in gated() {
            if let Some(value) = self.without_threshold(Some(policy), dimension).first() {
                return Some(format!(
                    "set `net` in {}: {} has no threshold",
                    section(dimension),
                    harmless(&value.join(" / "))
                ));
            }
        }
        None
    }

    /// Returns which rate to set.
    pub(crate) fn set_rates(&self, policy: &Policy) -> Option<String> {
        let without_rate = self.without_rate(Some(policy));
        without_rate
            .first()
            .map(|currency| format!("set the rate of {} in [certify.rates]", harmless(currency)))
    }

    fn choose_range(&self, evidence: &Evidence, policy: &Policy) -> Option<String> {
        let broken_off = self.broken_off();
        if broken_off > policy.money_unknown_max {
            return Some(format!(
                "choose a range without the {} that broke off, or accept them: [certify] money_unknown_max = {broken_off}",
                exchanges(broken_off)
            ));
        }
        if !evidence.gaps.is_empty() {
            return Some(
                "wait until every instance has sealed its segments, or choose a range without what is not covered above"
                    .into(),
            );
        }
        (!evidence.dropped.is_empty()).then(|| {
            "choose a range without the exchanges that passed unrecorded; raise the limit in [recorder] that the reason names"
                .into()
        })
    }
}

/// Damage comes first: whoever lost recordings must not be sent to make new ones.
fn nothing_read(evidence: &Evidence) -> String {
    if !evidence.gaps.is_empty() {
        return "the recordings of this range are damaged or missing, or not sealed yet, as said above: restore them or wait, or choose another range"
            .into();
    }
    if !evidence.dropped.is_empty() {
        return "exchanges of this range passed, and none was recorded: raise the limit in [recorder] that the reason names, or choose another range"
            .into();
    }
    "nothing was recorded in this range; send traffic through shadow-recorder, or choose another range"
        .into()
}
