//! What was booked outside of the chart of accounts.

use crate::number::count;
use crate::report::text::Text;
use crate::verdict::{OutsidePlace, Verdict};

/// Places that are shown.
const PLACES_MAX: usize = 40;

/// The section. It is drawn where a chart is configured.
pub(super) struct Outside {
    pub(super) places: Vec<Place>,
    pub(super) more: u64,
}

/// An account of a line of business.
pub(super) struct Place {
    pub(super) line_of_business: Text,
    pub(super) gl_account: Text,
    pub(super) primary: String,
    pub(super) shadow: String,
    pub(super) is_new: bool,
}

impl Outside {
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        let outside = verdict.outside_chart.as_ref()?;
        let place = |of: &OutsidePlace| Place {
            line_of_business: Text::name(&of.line_of_business),
            gl_account: Text::name(&of.gl_account),
            primary: count(of.entries_primary),
            shadow: count(of.entries_shadow),
            is_new: of.is_new(),
        };
        let places: Vec<_> = outside.places.iter().take(PLACES_MAX).map(place).collect();
        let more = (outside.places.len() - places.len()) as u64 + outside.left_out;
        Some(Self { places, more })
    }
}
