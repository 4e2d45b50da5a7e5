//! Which exchanges are recorded, pure: decided at the head, from the trace id alone, before anything is copied.
//!
//! The unit is the trace. Its number u is a keyed hash of its id, scaled to an integer over 2⁵³; an exchange is kept when u < π:
//!
//! ```text
//! key = the first 16 bytes of SHA-256(sampling_key)
//! u   = SipHash-2-4(key, the 16 bytes of the trace id, first digits first) >> 11
//! π   = ⌊sampling_rate × 2⁵³⌋
//! ```
//!
//! With one key, sidecars with different rates keep nested sets, and all exchanges of a trace are kept or none. A client chooses
//! its trace id and not the key, so it cannot choose to be sampled.

use std::fmt;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::exchange::{PI_ONE, Sample, Unit};
use crate::segment;

/// The stratum of every exchange while all have one rate.
pub(crate) const STRATUM: &str = "all";
/// Decimals of a rate: finer than one in a hundred trillion is no rate.
const DECIMALS_MAX: usize = 15;

/// The rate, 0 < π ≤ 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pi: u64,
    /// As configured.
    text: String,
}

/// What makes u unpredictable. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

/// The sampling rule: a rate, and the key where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    pub(crate) rate: Rate,
    key: Option<Key>,
}

/// The draw by which an exchange is kept: u < π, both over 2⁵³.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pi: u64,
    u: u64,
}

impl Rate {
    /// Reads a decimal between 0 and 1; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a rate: write a decimal above 0 and up to 1, such as \"0.25\"")
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !matches!(whole, "0" | "1") || !digits(decimals) || decimals.len() > DECIMALS_MAX {
            return Err(wrong());
        }
        let scale = 10_u128.pow(u32::try_from(decimals.len()).map_err(|_| wrong())?);
        let parse = |part: &str| part.parse::<u128>().map_err(|_| wrong());
        let units = parse(whole)? * scale + parse(decimals)?;
        let pi = u64::try_from(units * u128::from(PI_ONE) / scale).map_err(|_| wrong())?;
        if pi == 0 || pi > PI_ONE || units > scale {
            return Err(wrong());
        }
        Ok(Self { pi, text: text.into() })
    }

    /// Returns whether everything is recorded.
    pub fn is_one(&self) -> bool {
        self.pi == PI_ONE
    }
}

impl Key {
    /// Derives the key from a configured text.
    pub fn derive(text: &str) -> Self {
        let digest = Sha256::digest(text);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Sampling {
    /// Joins a rate with its key; without a key only everything can be recorded.
    pub fn new(rate: Rate, key: Option<Key>) -> Option<Self> {
        (key.is_some() || rate.is_one()).then_some(Self { rate, key })
    }

    /// Records everything.
    pub fn everything() -> Self {
        Self { rate: Rate { pi: PI_ONE, text: "1".into() }, key: None }
    }

    /// Draws for the exchanges of a trace. `None` leaves them out; without a key u is 0.
    #[inline]
    pub(crate) fn draw(&self, trace_id: u128) -> Option<Drawn> {
        let u = self.key.as_ref().map_or(0, |key| number(key, trace_id));
        (u < self.rate.pi).then_some(Drawn { pi: self.rate.pi, u })
    }

    /// Returns the rule for a segment's header.
    pub(crate) fn rule(&self) -> segment::Sampling {
        let rule = if self.rate.is_one() { "everything" } else { "trace" };
        segment::Sampling { rule: rule.into(), rate: self.rate.text.clone(), pi: self.rate.pi }
    }
}

impl Drawn {
    /// Returns what an exchange says of its draw.
    pub(crate) fn sample(self) -> Sample {
        Sample { unit: Unit::Trace, pi: self.pi, draw: self.u, stratum: STRATUM.into(), size: None }
    }
}

/// Returns u, an integer over 2⁵³.
#[inline]
fn number(key: &Key, trace_id: u128) -> u64 {
    SipHasher24::new_with_key(&key.0).hash(&trace_id.to_be_bytes()) >> 11
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampling(rate: &str, key: &str) -> Sampling {
        Sampling::new(Rate::parse(rate).unwrap(), Some(Key::derive(key))).unwrap()
    }

    fn kept(sampling: &Sampling, traces: u128) -> u32 {
        let kept = (1..=traces).filter(|trace| sampling.draw(*trace).is_some());
        u32::try_from(kept.count()).unwrap()
    }

    /// Computed by another implementation of SHA-256 and SipHash-2-4.
    #[test]
    fn the_draw_of_a_trace_never_changes() {
        for (key, trace, expect) in [
            (
                "a key for all sidecars",
                0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                6_690_080_533_367_843,
            ),
            ("a key for all sidecars", 1, 3_032_281_169_133_508),
            ("another key", 1, 4_976_621_471_190_566),
        ] {
            let drawn = sampling("1", key).draw(trace).unwrap();
            assert_eq!((drawn.u, drawn.pi), (expect, PI_ONE), "{key} {trace:x}");
        }
    }

    #[test]
    fn a_rate_is_exact_and_rounded_down() {
        for (text, pi) in [
            ("1", PI_ONE),
            ("1.0", PI_ONE),
            ("0.5", PI_ONE / 2),
            ("0.25", PI_ONE / 4),
            // 2⁵³ / 10 = 900719925474099.2
            ("0.1", 900_719_925_474_099),
            ("0.001", 9_007_199_254_740),
            ("0.999999999999999", 9_007_199_254_740_982),
            ("0.000000000000001", 9),
        ] {
            assert_eq!(Rate::parse(text).unwrap().pi, pi, "{text}");
        }
        for text in [
            "",
            "0",
            "0.0",
            "2",
            "1.1",
            "1.000000000000001",
            "-0.5",
            "+0.5",
            ".5",
            "5%",
            "0.5 ",
            "1e-1",
            "0,5",
            "00.5",
            "0.",
            "0.0000000000000001",
        ] {
            assert!(Rate::parse(text).unwrap_err().contains("is not a rate"), "{text}");
        }
    }

    #[test]
    fn the_kept_share_is_the_rate() {
        // Consecutive ids, as a client could choose. Bounds of five standard deviations.
        for (rate, expect, deviation) in
            [("0.5", 50_000, 158), ("0.1", 10_000, 95), ("0.01", 1_000, 31)]
        {
            let kept = kept(&sampling(rate, "k"), 100_000);
            assert!(kept.abs_diff(expect) < 5 * deviation, "{rate}: {kept}");
        }
        assert_eq!(kept(&Sampling::everything(), 1_000), 1_000);
    }

    #[test]
    fn another_key_draws_another_sample() {
        let (one, other) = (sampling("0.5", "one"), sampling("0.5", "other"));
        let agree = (0..10_000).filter(|t| one.draw(*t).is_some() == other.draw(*t).is_some());
        // As often as two coins do; five standard deviations.
        let agree = agree.count();
        assert!(agree.abs_diff(5_000) < 250, "{agree}");
    }

    #[test]
    fn without_a_key_there_is_only_everything() {
        assert_eq!(Sampling::new(Rate::parse("0.5").unwrap(), None), None);
        let everything = Sampling::new(Rate::parse("1").unwrap(), None).unwrap();
        assert_eq!(everything.draw(7).unwrap().sample(), Sample::everything());
    }

    #[test]
    fn the_key_is_not_printed() {
        let text = format!("{:?}", sampling("0.5", "secret"));
        assert!(text.contains("Key(…)") && text.contains("0.5"), "{text}");
    }

    proptest! {
        #[test]
        fn lower_rates_keep_subsets(trace: u128, a in 1_u32..=1000, b in 1_u32..=1000) {
            let of = |thousandths: u32| {
                let text = if thousandths == 1000 { "1".into() } else { format!("0.{thousandths:03}") };
                sampling(&text, "k").draw(trace)
            };
            let (low, high) = (of(a.min(b)), of(a.max(b)));
            prop_assert!(low.is_none() || high.is_some());
            if let (Some(low), Some(high)) = (low, high) {
                prop_assert_eq!(low.u, high.u);
                prop_assert!(low.u < low.pi && low.pi <= high.pi);
            }
        }
    }
}
