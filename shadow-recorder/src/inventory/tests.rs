use super::*;
use crate::segment::Calls;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn manifest(instance: &str, boot: &str, sequence: u64) -> Manifest {
    let second = i64::try_from(sequence).unwrap() * 60;
    let dropped = BTreeMap::from([("disk".to_owned(), 1)]);
    let tally = Tally { observed: 10, recorded: 7, sampled_out: 2, dropped };
    Manifest {
        format: crate::manifest::FORMAT.into(),
        version: 1,
        service: "ledger".into(),
        build: format!("p{sequence}"),
        instance: instance.into(),
        boot: boot.into(),
        sequence,
        segment: String::new(),
        bytes: 100,
        sha256: String::new(),
        opened_at: at(second),
        sealed_at: at(second + 60),
        sealed_through: at(second + 59),
        first_received_at: Some(at(second + 1)),
        last_received_at: Some(at(second + 50)),
        last: false,
        torn: false,
        exchanges: 7,
        ambient: 3,
        strata: BTreeMap::from([("all".into(), tally.clone()), ("large".into(), tally)]),
        calls: Calls::default(),
        census: None,
    }
}

#[test]
fn each_start_is_added_up_with_its_holes_and_its_watermark() {
    let mut died = manifest("pod-1", "a", 4);
    (died.last, died.torn) = (true, true);
    let mut stopped = manifest("pod-2", "b", 7);
    stopped.last = true;
    let mut empty = manifest("pod-1", "c", 9);
    (empty.first_received_at, empty.last_received_at) = (None, None);
    let all = [stopped, died, manifest("pod-1", "a", 1), manifest("pod-1", "a", 2), empty];
    let boots = boots(&all);
    let seen: Vec<_> = boots
        .iter()
        .map(|boot| (&*boot.boot, boot.state, boot.segments, boot.missing, boot.exchanges.recorded))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", State::Died, 3, 1, 42),
            ("b", State::Stopped, 1, 0, 14),
            ("c", State::Recording, 1, 0, 14)
        ]
    );
    let first = &boots[0];
    assert_eq!((first.first_received_at, first.last_received_at), (Some(at(61)), Some(at(290))));
    assert_eq!((first.opened_at, first.sealed_through), (at(60), at(299)));
    assert_eq!((&*first.build, first.ambient, first.bytes), ("p4", 9, 300));
    assert_eq!(first.exchanges.dropped["disk"], 6);
    assert_eq!(boots[2].first_received_at, None);
}

#[test]
fn the_table_says_what_was_lost_and_why() {
    let text = drawn(&boots(&[manifest("pod-1", "a", 1), manifest("pod-1", "a", 3)]));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1],
        [
            "pod-1",
            "p3",
            "recording",
            "2026-09-21T14:14:21Z",
            "2026-09-21T14:17:10Z",
            "2026-09-21T14:17:19Z",
            "2",
            "1",
            "28",
            "8",
            "4",
            "200"
        ]
    );
    assert_eq!(lines[2], ["dropped:", "4", "disk"]);
}
