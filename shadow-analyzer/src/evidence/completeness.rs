//! Whether every exchange is accounted for, from where it passed to its outcome.

use std::collections::BTreeSet;

use shadow_replayer::plan::Accounted;

use crate::number::count;
use crate::score::{Case, Evidence};
use crate::totals::ExchangeTotals;
use crate::verdict::{Completeness, Outcomes, Passed, Stratum};

/// Returns the exchanges of every stratum.
pub(crate) fn strata(exchanges: &ExchangeTotals, evidence: &Evidence) -> Vec<Stratum> {
    let names: BTreeSet<&String> = exchanges.strata.keys().chain(evidence.strata.keys()).collect();
    let of = |name: &String| {
        let outcomes = exchanges.strata.get(name).cloned().unwrap_or_default();
        let accounted = evidence.strata.get(name);
        let repeated = evidence.tally.as_ref().and_then(|tally| tally.repeated.get(name));
        let repeated = repeated.copied().unwrap_or_default();
        // What could not be read of the segments is a loss, and named as one.
        let is_read = evidence.tally.as_ref().is_some_and(|tally| tally.losses.is_empty());
        let agrees = |accounted: &Accounted| {
            let read = outcomes.recorded + repeated;
            let (most, beyond) = (accounted.tally.recorded, accounted.beyond);
            !is_read || (most.saturating_sub(beyond)..=most).contains(&read)
        };
        let balances = |accounted: &Accounted| accounted.tally.balances() && agrees(accounted);
        // A stratum that no recorder accounted for is one too many, unless the plan kept no account at all.
        let passed = accounted.map_or(evidence.strata.is_empty(), balances);
        Stratum {
            name: name.clone(),
            complete: outcomes.add_up() && passed,
            passed: accounted.map(|of| passed_of(of, &outcomes, repeated)),
            exchanges: outcomes,
        }
    };
    names.into_iter().map(of).collect()
}

fn passed_of(accounted: &Accounted, outcomes: &Outcomes, repeated: u64) -> Passed {
    let tally = &accounted.tally;
    let dropped = tally.dropped.iter().filter(|(_, count)| **count > 0);
    Passed {
        observed: tally.observed,
        outside: tally.recorded.saturating_sub(outcomes.recorded + repeated),
        repeated,
        sampled_out: tally.sampled_out,
        dropped: dropped.map(|(reason, count)| (reason.clone(), *count)).collect(),
    }
}

/// Returns the strata whose exchanges are not all accounted for.
pub(crate) fn incomplete(strata: &[Stratum]) -> Vec<&str> {
    strata.iter().filter(|stratum| !stratum.complete).map(|stratum| &*stratum.name).collect()
}

/// Says whether everything is accounted for.
pub(crate) fn of(case: &Case<'_>) -> Completeness {
    let Outcomes { recorded, matched, different, filtered, errored, unverified } =
        case.totals.exchanges.outcomes;
    let complete = case.is_complete();
    let counts = format!(
        "{} recorded = {} matched + {} different + {} filtered + {} errored + {} unverified{}",
        count(recorded),
        count(matched),
        count(different),
        count(filtered),
        count(errored),
        count(unverified),
        passed_in_words(&case.strata)
    );
    let text = if case.evidence.failure.is_some() {
        "the run is not finished: nothing of it was compared".into()
    } else if complete {
        format!("every recorded exchange is accounted for: {counts}")
    } else {
        format!("not every recorded exchange is accounted for: {counts}")
    };
    Completeness { complete, text, strata: case.strata.clone() }
}

/// Says what passed beside that which was recorded in the range, and in how many strata.
fn passed_in_words(strata: &[Stratum]) -> String {
    let mut words = String::new();
    if strata.len() > 1 {
        words = format!(", in {} strata", strata.len());
    }
    let passed = || strata.iter().filter_map(|stratum| stratum.passed.as_ref());
    let sum = |of: fn(&Passed) -> u64| passed().map(of).sum::<u64>();
    let all = [
        ("received outside the range", sum(|passed| passed.outside)),
        ("recorded twice", sum(|passed| passed.repeated)),
        ("left out by the sampling", sum(|passed| passed.sampled_out)),
        ("dropped", sum(|passed| passed.dropped.values().sum())),
    ];
    let beside: Vec<String> = all
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(what, number)| format!("{} {what}", count(number)))
        .collect();
    if beside.is_empty() {
        return words;
    }
    let observed = count(sum(|passed| passed.observed));
    format!("{words}; of {observed} observed with them, {}", beside.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shadow_replayer::run::Tally;

    use super::*;

    fn outcomes(matched: u64) -> Outcomes {
        Outcomes { recorded: matched, matched, ..Outcomes::default() }
    }

    fn accounted(recorded: u64, beyond: u64, dropped: u64) -> Accounted {
        let tally = shadow_recorder::segment::Tally {
            observed: recorded + dropped,
            recorded,
            sampled_out: 0,
            dropped: [("queue_full".to_owned(), dropped)].into(),
        };
        Accounted { tally, beyond }
    }

    /// One stratum of which so many exchanges were read, and so many lay twice.
    fn stratum(matched: u64, repeated: u64, accounted: Accounted) -> Stratum {
        let strata: BTreeMap<String, Outcomes> = [("all".to_owned(), outcomes(matched))].into();
        let exchanges = ExchangeTotals { strata, ..ExchangeTotals::default() };
        let repeated = [("all".to_owned(), repeated)].into();
        let evidence = Evidence {
            tally: Some(Tally { repeated, ..Tally::default() }),
            strata: [("all".to_owned(), accounted)].into(),
            ..Evidence::default()
        };
        super::strata(&exchanges, &evidence).remove(0)
    }

    #[test]
    fn what_was_recorded_is_what_was_read_but_for_what_lies_outside_or_twice() {
        assert!(stratum(5, 0, accounted(5, 0, 0)).complete);
        assert!(!stratum(4, 0, accounted(5, 0, 0)).complete, "one was recorded and not read");
        assert!(!stratum(6, 0, accounted(5, 0, 0)).complete, "one was read and not recorded");
        assert!(stratum(4, 1, accounted(5, 0, 0)).complete);
        let outside = stratum(2, 0, accounted(5, 3, 1));
        assert!(outside.complete);
        let passed = outside.passed.unwrap();
        assert_eq!((passed.observed, passed.outside, passed.repeated), (6, 3, 0));
        assert_eq!(passed.dropped, [("queue_full".to_owned(), 1)].into());
        assert!(!stratum(1, 0, accounted(5, 3, 0)).complete, "only three may lie outside");
    }

    #[test]
    fn an_account_that_does_not_balance_is_not_complete() {
        let mut unbalanced = accounted(5, 0, 0);
        unbalanced.tally.observed += 1;
        assert!(!stratum(5, 0, unbalanced).complete);
    }

    #[test]
    fn a_stratum_without_an_account_is_one_too_many() {
        let strata: BTreeMap<String, Outcomes> =
            [("all".to_owned(), outcomes(1)), ("large".to_owned(), outcomes(1))].into();
        let exchanges = ExchangeTotals { strata, ..ExchangeTotals::default() };
        let mut evidence = Evidence { tally: Some(Tally::default()), ..Evidence::default() };
        assert_eq!(incomplete(&super::strata(&exchanges, &evidence)), Vec::<&str>::new());
        evidence.strata.insert("all".into(), accounted(1, 0, 0));
        assert_eq!(incomplete(&super::strata(&exchanges, &evidence)), ["large"]);
    }
}
