//! How much of the recorders' time is covered.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::amount::format_units;
use shadow_replayer::plan::Range;
use shadow_replayer::plan::time::{Cause, Gap, Presence};

use crate::money::whole;
use crate::number::share;
use crate::verdict::{STRETCHES_MAX, Start, Stretch, TimeCoverage, TimeGap};

/// Returns the coverage of a range by what was there in it; a plan that does not tell has nothing to show.
pub(crate) fn coverage(range: Range, presence: &[Presence]) -> TimeCoverage {
    if presence.is_empty() {
        return TimeCoverage::default();
    }
    let instances: BTreeSet<&str> = presence.iter().map(|of| &*of.instance).collect();
    let length: SignedDuration = presence.iter().map(Presence::length).sum();
    let covered: SignedDuration = presence.iter().map(Presence::covered).sum();
    let mut gaps: Vec<&Gap> = presence.iter().flat_map(|of| &of.gaps).collect();
    gaps.sort_by_key(|gap| (Reverse(gap.length()), gap.from));
    let mut starts: Vec<&Presence> = presence.iter().collect();
    starts.sort_by_key(|of| (of.covered().saturating_sub(of.length()), of.from));
    let unrecorded = unrecorded(range, presence);
    let beyond = |length: usize| length.saturating_sub(STRETCHES_MAX) as u64;
    TimeCoverage {
        instances: instances.len() as u64,
        instance_seconds: seconds(length),
        covered_seconds: seconds(covered),
        share: share(&whole(covered.as_nanos()), &whole(length.as_nanos())),
        gaps_left_out: beyond(gaps.len()),
        gaps: gaps.into_iter().take(STRETCHES_MAX).map(gap).collect(),
        unrecorded_left_out: beyond(unrecorded.len()),
        unrecorded: unrecorded.into_iter().take(STRETCHES_MAX).collect(),
        starts_left_out: beyond(starts.len()),
        starts: starts.into_iter().take(STRETCHES_MAX).map(start).collect(),
    }
}

/// Returns when no recorder was there.
fn unrecorded(range: Range, presence: &[Presence]) -> Vec<Stretch> {
    let mut there: Vec<(Timestamp, Timestamp)> =
        presence.iter().map(|of| (of.from, of.to)).chain([(range.to, range.to)]).collect();
    there.sort();
    let mut since = range.from;
    let mut stretches = Vec::new();
    for (from, to) in there {
        if from > since {
            stretches.push(stretch(since, from));
        }
        since = since.max(to);
    }
    stretches
}

fn start(of: &Presence) -> Start {
    Start {
        instance: of.instance.clone(),
        boot: of.boot.clone(),
        build: of.build.clone(),
        time: stretch(of.from, of.to),
        covered_seconds: seconds(of.covered()),
    }
}

fn gap(gap: &Gap) -> TimeGap {
    let cause = match gap.cause {
        Cause::Crashed => "crashed",
        Cause::Unsealed => "unsealed",
        Cause::Missing { .. } => "missing",
    };
    TimeGap {
        instance: gap.instance.clone(),
        boot: gap.boot.clone(),
        cause: cause.into(),
        text: gap.to_string(),
        time: stretch(gap.from, gap.to),
    }
}

fn stretch(from: Timestamp, to: Timestamp) -> Stretch {
    Stretch { from, to, seconds: seconds(to.duration_since(from)) }
}

/// Returns a length as decimal text.
fn seconds(length: SignedDuration) -> String {
    // A unit of money is 10⁻⁹, as a nanosecond is of a second.
    format_units(length.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).unwrap()
    }

    fn there(instance: &str, from: i64, to: i64, gaps: &[(i64, i64)]) -> Presence {
        let gap = |(from, to): &(i64, i64)| Gap {
            instance: instance.into(),
            boot: "b".into(),
            from: at(*from),
            to: at(*to),
            cause: Cause::Crashed,
        };
        Presence {
            instance: instance.into(),
            boot: "b".into(),
            build: "1".into(),
            from: at(from),
            to: at(to),
            gaps: gaps.iter().map(gap).collect(),
        }
    }

    #[test]
    fn instance_seconds_are_added_up_and_gaps_are_named_longest_first() {
        let range = Range { from: at(0), to: at(100) };
        let all = [there("a", 0, 100, &[(10, 20)]), there("b", 40, 90, &[(60, 90)])];
        let time = coverage(range, &all);
        assert_eq!((time.instances, &*time.instance_seconds), (2, "150.00"));
        assert_eq!((&*time.covered_seconds, time.share.as_deref()), ("110.00", Some("0.733333")));
        let gaps: Vec<_> = time.gaps.iter().map(|of| (&*of.instance, &*of.time.seconds)).collect();
        assert_eq!(gaps, [("b", "30.00"), ("a", "10.00")]);
        assert_eq!((time.gaps[0].time.from, time.gaps[0].time.to), (at(60), at(90)));
        assert_eq!(time.starts[0].instance, "b");
        assert_eq!(time.unrecorded, []);
    }

    #[test]
    fn when_no_recorder_was_there_is_named() {
        let range = Range { from: at(0), to: at(100) };
        let all = [there("a", 10, 50, &[]), there("b", 20, 30, &[]), there("c", 60, 80, &[])];
        let time = coverage(range, &all);
        assert_eq!(time.share.as_deref(), Some("1.00"), "of those that were there");
        let times: Vec<_> = time.unrecorded.iter().map(|of| (of.from, of.to)).collect();
        assert_eq!(times, [(at(0), at(10)), (at(50), at(60)), (at(80), at(100))]);
        assert_eq!(coverage(range, &[]), TimeCoverage::default(), "an older plan does not tell");
    }
}
