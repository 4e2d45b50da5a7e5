//! What a verdict rests on, as it shows it: the exchanges that passed, the time that was recorded, the scenarios that were compared,
//! and the books of both sides. Pure.

pub(crate) mod census;
pub(crate) mod completeness;
pub(crate) mod coverage;
pub(crate) mod ledger;
pub(crate) mod sample;
pub(crate) mod time;
