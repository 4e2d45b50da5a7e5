//! Turns the journal of a run into totals, a confidence score, a verdict and a report.
//!
//! The data path, from top to bottom: the [`cli`] takes a run, or lets the replayer make one; [`certify`] opens its journal by
//! [`load`]; [`aggregate`] lets polars sum it into [`totals`]; every `cell` is judged under the [`policy`] that [`config`]
//! reads, less what was declared as [`expected`]; `evidence` says what was looked at; the `rules` say what speaks against the build;
//! [`score`] makes the judgement, `history` tells what in it is new, [`verdict`] is its one document, and [`report`], [`terminal`] and
//! `show` draw it. [`map`] is the look at the ledger mapping that comes before any of this,
//! and [`doctor`] the look at everything that a verdict needs.
//!
//! Invariants:
//! - nothing is green by default: a verdict is `certified` only when no rule speaks against it, and what cannot be judged (no
//!   threshold, no rate, no entry, a missing count) is a rule;
//! - money is exact from the journal to the comparison with a threshold: 128-bit sums that are checked, rationals after them, rounded only as text;
//! - currencies never offset each other, and no cell is averaged with another: the score is the worst gated cell's;
//! - [`money`], [`policy`], [`totals`], `cell`, `rules` and [`score`] are pure; the clock is read in [`certify`] alone;
//! - everything that is shown is drawn from the verdict, which is durable before anybody learns it.

pub mod cli;
pub mod certify;
pub mod config;
pub mod policy;
pub mod expected;
pub mod money;
mod columns;
pub mod rates_file;
pub mod chart;
mod number;
mod fetch;
pub mod load;
pub mod aggregate;
pub mod totals;
mod cell;
mod rules;
mod evidence;
pub mod score;
mod history;
pub mod verdict;
pub mod report;
pub mod terminal;
mod show;
pub mod map;
pub mod doctor;
