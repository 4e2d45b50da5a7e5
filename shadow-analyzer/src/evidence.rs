//! What a verdict rests on, as it shows it: the exchanges that passed, the time that was recorded. Pure.

pub(crate) mod completeness;
pub(crate) mod time;
