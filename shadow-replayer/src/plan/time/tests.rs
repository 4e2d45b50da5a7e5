use super::super::tests::{RANGE, at, manifest};
use super::*;

fn presences(manifests: &[Manifest]) -> Vec<Presence> {
    let boots = Boots::of(manifests);
    boots.all().filter_map(|of| presence(of, RANGE(), boots.ended_by(of))).collect()
}

/// Returns from when to when, and how much of it is covered, in seconds from the range's begin.
fn seconds(presence: &Presence) -> (i64, i64, i64) {
    let since = |instant: Timestamp| instant.duration_since(at(0)).as_secs();
    (since(presence.from), since(presence.to), presence.covered().as_secs())
}

fn gaps(presence: &Presence) -> Vec<(i64, i64)> {
    let since = |instant: Timestamp| instant.duration_since(at(0)).as_secs();
    presence.gaps.iter().map(|gap| (since(gap.from), since(gap.to))).collect()
}

#[test]
fn a_recorder_is_there_from_its_first_segment_until_it_stopped() {
    let all = presences(&[Manifest { last: true, ..manifest("a", 1, 20, 50) }]);
    assert_eq!(all.iter().map(seconds).collect::<Vec<_>>(), [(20, 50, 30)]);
    let all = presences(&[manifest("a", 4, -10, 50), manifest("a", 5, 50, 150)]);
    assert_eq!(all.iter().map(seconds).collect::<Vec<_>>(), [(0, 100, 100)]);
    assert_eq!(presences(&[Manifest { last: true, ..manifest("a", 1, -50, -10) }]), []);
}

#[test]
fn what_is_not_sealed_or_was_lost_in_a_crash_has_both_its_ends() {
    let unsealed = presences(&[manifest("a", 1, -10, 70)]);
    assert_eq!((seconds(&unsealed[0]), gaps(&unsealed[0])), ((0, 100, 70), vec![(70, 100)]));
    let torn = Manifest { last: true, torn: true, ..manifest("a", 1, -10, 40) };
    let next = manifest("b", 1, 55, 100);
    let all = presences(&[torn, next]);
    assert_eq!((seconds(&all[0]), gaps(&all[0])), ((0, 55, 40), vec![(40, 55)]));
    assert_eq!(seconds(&all[1]), (55, 100, 45));
}

#[test]
fn a_missing_segment_lies_between_those_that_are_there() {
    let all = presences(&[manifest("a", 1, -10, 30), manifest("a", 4, 60, 100)]);
    assert_eq!((seconds(&all[0]), gaps(&all[0])), ((0, 100, 70), vec![(30, 60)]));
    assert_eq!(all[0].gaps[0].cause, Cause::Missing { first: 2, last: 3 });
    // Of the segments before the first one nobody knows when they began.
    let all = presences(&[manifest("a", 3, 25, 100)]);
    assert_eq!((seconds(&all[0]), gaps(&all[0])), ((0, 100, 75), vec![(0, 25)]));
}

#[test]
fn a_segment_that_is_missing_before_or_after_the_range_is_no_gap() {
    let before = [manifest("a", 1, -90, -60), manifest("a", 3, -30, 100)];
    let after = [manifest("b", 1, -10, 120), manifest("b", 3, 150, 200)];
    for manifests in [before, after] {
        assert_eq!(gaps(&presences(&manifests)[0]), []);
    }
}

#[test]
fn a_start_that_died_unsaid_is_over_when_the_next_one_opens() {
    let died = manifest("a", 1, -90, -60);
    assert_eq!(gaps(&presences(std::slice::from_ref(&died))[0]), [(0, 100)]);
    let all = presences(&[died.clone(), manifest("b", 1, 10, 100)]);
    assert_eq!(gaps(&all[0]), [(0, 10)]);
    let all = presences(&[died, manifest("b", 1, -20, 100)]);
    assert_eq!((all.len(), &*all[0].boot), (1, "b"));
}

#[test]
fn a_gap_names_instance_start_and_both_its_ends() {
    let text = presences(&[manifest("a", 1, -10, 70)])[0].gaps[0].to_string();
    let sealed = at(70);
    assert_eq!(
        text,
        format!(
            "instance pod (boot a) has sealed only what it received before {sealed}, and 30s of the range are left: wait until it has sealed, or end the range there"
        )
    );
}
