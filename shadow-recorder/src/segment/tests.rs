use super::*;
use proptest::prelude::*;

fn segment(frames: &[Vec<u32>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        write_frame(&mut bytes, frame).unwrap();
    }
    bytes
}

fn read(bytes: &[u8]) -> (Vec<Vec<u32>>, Damage) {
    let mut reader = Reader::new(bytes);
    let frames = std::iter::from_fn(|| reader.next_frame()).collect();
    (frames, reader.damage())
}

#[test]
fn a_torn_tail_costs_its_own_frame_only() {
    let frames = vec![vec![1, 2], vec![3], vec![4, 5]];
    let whole = segment(&frames);
    let last = segment(&frames[..2]).len();
    for cut in last + 1..whole.len() {
        let (read, damage) = read(&whole[..cut]);
        assert_eq!(read, frames[..2], "cut at {cut}");
        assert_eq!(damage, Damage { frames: 1, lines: 0 }, "cut at {cut}");
    }
}

#[test]
fn what_was_written_before_there_were_rates_is_read() {
    let sampling: Sampling = serde_json::from_str(r#"{"rule":"everything"}"#).unwrap();
    let (rule, rate, strata) = ("everything".into(), "1".into(), Vec::new());
    let everything = Sampling { rule, rate, pi: PI_ONE, strata, census: false };
    assert_eq!(sampling, everything);
    let calls = r#"{"attributed":1,"ambiguous":2,"unattributed":3,"late":4,"dropped":5}"#;
    assert_eq!(serde_json::from_str::<Calls>(calls).unwrap().sampled_out, 0);
}

#[test]
fn what_was_written_before_there_were_rules_of_redaction_is_read_and_written_as_it_was() {
    let text = r#"{"headers_dropped":["cookie"]}"#;
    let redaction: Redaction = serde_json::from_str(text).unwrap();
    assert_eq!((redaction.rules.len(), redaction.principal), (0, false));
    assert_eq!(serde_json::to_string(&redaction).unwrap(), text);
    // A rule of a later version would be left out silently, and its values compared as they are.
    let later = r#"{"headers_dropped":[],"rules":[{"xml":"/a","with":"mask"}]}"#;
    assert!(serde_json::from_str::<Redaction>(later).is_err());
}

#[test]
fn a_line_of_another_format_is_counted() {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, &["text"]).unwrap();
    assert_eq!(read(&bytes), (vec![vec![]], Damage { frames: 0, lines: 1 }));
}

proptest! {
    #[test]
    fn round_trip(frames in prop::collection::vec(prop::collection::vec(any::<u32>(), 1..20), 0..8)) {
        prop_assert_eq!(read(&segment(&frames)), (frames, Damage::default()));
    }

    #[test]
    fn a_flipped_bit_never_invents_a_line(flip in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let frames = vec![vec![10, 20], vec![30], vec![40, 50, 60]];
        let mut bytes = segment(&frames);
        let at = flip.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let (read, damage) = read(&bytes);
        prop_assert!(damage.any() || read == frames);
        prop_assert!(read.iter().all(|frame| frames.contains(frame)));
    }
}
