//! A difference against its threshold, as a bar and in words.

use num_bigint::BigUint;

use crate::number::count;
use crate::report::text::split;

/// Where the threshold stands on a bar: the middle, on every bar, so that bars are compared at a glance.
const THRESHOLD_AT: u32 = 50;
/// The right end of a bar; a longer one is cut and says so.
const END: u32 = 100;

/// A difference against its threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// How far the plain part reaches, in hundredths of the bar's width.
    pub(super) within: u32,
    /// How much is drawn beyond the threshold.
    pub(super) beyond: u32,
    /// Whether the bar is longer than its place.
    pub(super) cut: bool,
    /// `2.0 ×`, or what is said instead.
    pub(super) words: String,
    /// The text alternative.
    pub(super) alternative: String,
    /// The end of the sentence that tells the score.
    pub(super) sentence: String,
    /// Whether the difference is beyond the threshold.
    pub(super) breached: bool,
}

impl Bar {
    /// Returns the bar of a difference; `None` where one of the two is not decimal text.
    pub(super) fn of(difference: &str, threshold: &str) -> Option<Self> {
        let (difference, threshold) = (units(difference)?, units(threshold)?);
        let nothing = BigUint::ZERO;
        let breached = difference > threshold;
        if difference == nothing {
            return Some(Self::drawn(0, false, "0.0 ×".to_owned(), "no difference".to_owned()));
        }
        if threshold == nothing {
            let sentence = "differs although its threshold is 0.00".to_owned();
            return Some(Self {
                sentence,
                ..Self::drawn(
                    u32::MAX,
                    breached,
                    "none allowed".to_owned(),
                    "a difference where none is allowed".to_owned(),
                )
            });
        }
        let percent = (&difference * END * 2_u32 + &threshold) / (&threshold * 2_u32);
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        let words = words(&difference, &threshold, breached);
        let alternative = format!("{words} the threshold").replace('×', "times");
        Some(Self::drawn(percent / 2, breached, words, alternative))
    }

    fn drawn(reach: u32, breached: bool, words: String, alternative: String) -> Self {
        // A difference that exists is never drawn as nothing, nor a breach as none.
        let reach = match (reach, breached) {
            (reach, true) => reach.max(THRESHOLD_AT + 2),
            (0, false) if alternative != "no difference" => 1,
            (reach, false) => reach.min(THRESHOLD_AT),
        };
        Self {
            within: reach.min(THRESHOLD_AT),
            beyond: reach.min(END).saturating_sub(THRESHOLD_AT),
            cut: reach > END,
            sentence: format!("strayed to {} its threshold", words.replace('×', "times")),
            words,
            alternative,
            breached,
        }
    }
}

/// Returns the ratio to one decimal, half up, except that rounding never makes a breach look like none or the reverse.
fn words(difference: &BigUint, threshold: &BigUint, breached: bool) -> String {
    let tenths = (difference * 20_u32 + threshold) / (threshold * 2_u32);
    match u64::try_from(tenths).unwrap_or(u64::MAX) {
        0 => "under 0.1 ×".to_owned(),
        10 if breached => "just over 1.0 ×".to_owned(),
        10 if difference < threshold => "just under 1.0 ×".to_owned(),
        tenths @ ..10_000 => format!("{}.{} ×", count(tenths / 10), tenths % 10),
        _ => "over 1,000 ×".to_owned(),
    }
}

/// Returns absolute decimal text as a whole number at a scale that holds every decimal of a verdict.
fn units(exact: &str) -> Option<BigUint> {
    let (_, whole, decimals) = split(exact)?;
    format!("{whole}{decimals:0<60}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Bar;

    fn check(difference: &str, threshold: &str, words: &str, drawn: (u32, u32, bool)) {
        let bar = Bar::of(difference, threshold).expect("both are decimal text");
        assert_eq!((bar.words.as_str(), (bar.within, bar.beyond, bar.cut)), (words, drawn));
    }

    #[test]
    fn a_bar_tells_how_far_a_difference_strayed() {
        check("2000.00", "1000.00", "2.0 ×", (50, 50, false));
        check("-500.00", "1000.00", "0.5 ×", (25, 0, false));
        check("1000.00", "1000.00", "1.0 ×", (50, 0, false));
        check("1000.01", "1000.00", "just over 1.0 ×", (50, 2, false));
        check("999.99", "1000.00", "just under 1.0 ×", (50, 0, false));
        check("0.000000001", "1000.00", "under 0.1 ×", (1, 0, false));
        check("0.00", "0.00", "0.0 ×", (0, 0, false));
        check("0.01", "0.00", "none allowed", (50, 50, true));
        check("999999999999999999999999999999.99", "0.01", "over 1,000 ×", (50, 50, true));
        assert_eq!(Bar::of("many", "1.00"), None);
    }
}
