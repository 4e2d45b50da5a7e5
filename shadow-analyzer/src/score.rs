//! The judgement: totals, policy and evidence in, verdict out. Pure.
//!
//! The score is the lowest cell confidence of the gated dimensions; the verdict is the first of refused, inconclusive and
//! certified that a rule of `rules` demands. Certified is what is left when no rule speaks against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shadow_replayer::plan::{Accounted, Counted};
use shadow_replayer::run::Tally;

use crate::cell::{self, JudgedCell};
use crate::chart::Chart;
use crate::evidence::{census, completeness, coverage, ledger};
use crate::money::people;
use crate::number::{self, count};
use crate::policy::Policy;
use crate::rules::{self, Finding};
use crate::totals::{CellTotals, Overflow, Totals};
use crate::verdict::{
    Basis, CellName, Completeness, Coverage, Decision, Dimension, DimensionName, LedgerValidation,
    LostMoney, OUTSIDE_CHART_MAX, Outcomes, OutsideChart, OutsidePlace, Reason, Stratum,
};

/// What is known of a run beside its journal.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Evidence {
    /// The run, for the commands that a verdict suggests.
    pub run_id: String,
    /// Why the run is not finished; absent where it is.
    pub failure: Option<String>,
    /// The length of the range.
    pub range: Duration,
    /// What the shards counted; absent where one of them did not.
    pub tally: Option<Tally>,
    /// Whether the judged journal was compared under another mapping than the configured one.
    pub mapping_changed: bool,
    /// Exchanges lost in production while recording, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Exchanges that the sampling left out.
    pub sampled_out: u64,
    /// Why the range is not wholly covered.
    pub gaps: Vec<String>,
    /// What the recorders counted, per stratum; empty where the plan did not keep it.
    pub strata: BTreeMap<String, Accounted>,
    /// The money of everything that passed, as far as it was counted.
    pub counted: Counted,
    /// Whether a control was asked for.
    pub control: bool,
    /// Whether the candidate called upstreams of its own.
    pub own_upstreams: bool,
    /// Whether both sides were supplied instead of replayed.
    pub supplied: bool,
}

/// What a verdict says beside the facts that it repeats.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The word.
    pub verdict: Decision,
    /// The score; 0 where nothing was judged.
    pub confidence: u8,
    /// Whether anything was judged.
    pub decided: bool,
    /// One sentence: why this word.
    pub why: String,
    /// One sentence: what to do next.
    pub next: String,
    /// Every rule that speaks against certifying, by precedence.
    pub reasons: Vec<Reason>,
    /// On what the verdict rests.
    pub basis: Basis,
    /// Whether everything is accounted for.
    pub completeness: Completeness,
    /// The books of both sides, against the thresholds.
    pub ledger: LedgerValidation,
    /// How much of what production does was compared.
    pub coverage: Coverage,
    /// What is known of the money of lost exchanges.
    pub lost: Option<LostMoney>,
    /// The cells.
    pub dimensions: Vec<Dimension>,
    /// The gated cells in which the control is beyond the threshold.
    pub control_cells: Vec<CellName>,
    /// What was booked outside of the chart; absent where none is configured.
    pub outside_chart: Option<OutsideChart>,
}

/// What the rules look at.
pub(crate) struct Case<'a> {
    pub(crate) totals: &'a Totals,
    pub(crate) policy: &'a Policy,
    pub(crate) evidence: &'a Evidence,
    pub(crate) strata: Vec<Stratum>,
    /// Worst first within a dimension.
    pub(crate) cells: Vec<JudgedCell>,
    /// Absent where no chart is configured.
    pub(crate) outside_chart: Option<OutsideChart>,
}

impl Case<'_> {
    /// The gated cells.
    pub(crate) fn gated(&self) -> impl Iterator<Item = &JudgedCell> {
        self.cells.iter().filter(|cell| cell.gated)
    }

    /// The exchanges of which both sides were compared; a failed answer counts as compared with nothing.
    pub(crate) fn compared(&self) -> u64 {
        let outcomes = &self.totals.exchanges.outcomes;
        outcomes.matched + outcomes.different + outcomes.errored
    }

    /// Whether the recordings are a sample.
    pub(crate) fn is_sampled(&self) -> bool {
        is_sampled(self.totals, self.evidence)
    }

    /// Whether everything that passed in the range was recorded and compared.
    pub(crate) fn is_whole(&self) -> bool {
        let lost = self.evidence.tally.as_ref().is_none_or(|tally| !tally.losses.is_empty());
        let dropped: u64 = self.evidence.dropped.values().sum();
        let Outcomes { filtered, unverified, .. } = self.totals.exchanges.outcomes;
        !lost && self.evidence.gaps.is_empty() && dropped + filtered + unverified == 0
    }

    /// Whether every recorded exchange has one outcome, in the run's counts and in the journal alike, in every stratum.
    pub(crate) fn is_complete(&self) -> bool {
        let journal = &self.totals.exchanges.outcomes;
        let same = |tally: &Tally| {
            let counted = Outcomes {
                recorded: tally.recorded,
                matched: tally.matched,
                different: tally.different,
                filtered: tally.filtered,
                errored: tally.errored,
                unverified: tally.unverified,
            };
            tally.is_complete() && counted == *journal
        };
        self.evidence.tally.as_ref().is_some_and(same)
            && completeness::incomplete(&self.strata).is_empty()
    }

    /// What is known of the money of lost exchanges.
    pub(crate) fn lost(&self) -> Option<LostMoney> {
        census::lost(self.totals, self.policy, self.evidence)
    }

    /// Money in the reporting currency, for people.
    pub(crate) fn money(&self, decimal: &str) -> String {
        people(decimal, &self.policy.rates.reporting_currency)
    }

    /// The currencies of the run that have no rate.
    pub(crate) fn currencies_without_rate(&self) -> BTreeSet<&str> {
        let used = self.totals.cells.values().flat_map(|cell| cell.currencies.keys());
        used.map(String::as_str)
            .filter(|currency| self.policy.rates.of(currency).is_none())
            .collect()
    }
}

fn is_sampled(totals: &Totals, evidence: &Evidence) -> bool {
    totals.exchanges.sampled > 0 || evidence.sampled_out > 0
}

/// Judges a run.
pub fn judge(totals: &Totals, policy: &Policy, evidence: &Evidence) -> Result<Judgement, Overflow> {
    let with_lost = census::with_lost(totals, policy, evidence)?;
    let totals = &*with_lost;
    let mut cells = Vec::with_capacity(totals.cells.len());
    let sampled = is_sampled(totals, evidence);
    for (name, cell) in &totals.cells {
        cells.push(cell::judge(name, cell, policy, sampled)?);
    }
    // An unjudged cell comes before one at 100: it is what a reader has to deal with.
    cells.sort_by(|a, b| {
        let rank =
            |cell: &JudgedCell| (cell.name.dimension, cell.shown.confidence.map_or(99, u32::from));
        rank(a)
            .cmp(&rank(b))
            .then_with(|| b.difference.cmp(&a.difference))
            .then_with(|| a.name.cmp(&b.name))
    });
    let strata = completeness::strata(&totals.exchanges, evidence);
    let outside_chart = policy.chart.as_ref().map(|chart| outside(chart, totals));
    let case = Case { totals, policy, evidence, strata, cells, outside_chart };
    let findings = rules::findings(&case);
    let confidence =
        case.gated().filter_map(|cell| cell.shown.confidence).min().filter(|_| case.compared() > 0);
    let verdict =
        findings.iter().map(|finding| finding.rule.effect()).min().unwrap_or(Decision::Certified);
    let first = findings.iter().find(|finding| finding.rule.effect() == verdict);
    let (why, next) = match first {
        Some(finding) => (sentence(&finding.found), sentence(&finding.advice)),
        None => (certified_because(&case), certified_next()),
    };
    Ok(Judgement {
        verdict,
        confidence: confidence.unwrap_or(0),
        decided: confidence.is_some(),
        why,
        next,
        reasons: findings.iter().map(Finding::reason).collect(),
        basis: basis(&case),
        completeness: completeness::of(&case),
        lost: census::lost(totals, policy, evidence),
        ledger: ledger::validation(&totals.ledger, &case.cells, &policy.rates)?,
        coverage: coverage::of(&totals.scenarios, &policy.rates),
        dimensions: dimensions(&case),
        control_cells: case
            .gated()
            .filter(|cell| cell.control_beyond.is_some())
            .map(|cell| cell.name.clone())
            .collect(),
        outside_chart: case.outside_chart,
    })
}

/// Returns where lines were booked that the chart does not know, those of the candidate alone first.
fn outside(chart: &Chart, totals: &Totals) -> OutsideChart {
    let unknown = |(name, cell): (&CellName, &CellTotals)| {
        let (DimensionName::LineOfBusinessGlAccount, [line_of_business, gl_account]) =
            (name.dimension, &name.value[..])
        else {
            return None;
        };
        (!chart.knows(line_of_business, gl_account)).then(|| OutsidePlace {
            line_of_business: line_of_business.clone(),
            gl_account: gl_account.clone(),
            entries_primary: cell.entries_primary,
            entries_shadow: cell.entries_shadow,
        })
    };
    let mut places: Vec<OutsidePlace> = totals.cells.iter().filter_map(unknown).collect();
    // Stable: among equals by name.
    places.sort_by_key(|place| !place.is_new());
    let left_out = places.len().saturating_sub(OUTSIDE_CHART_MAX) as u64;
    places.truncate(OUTSIDE_CHART_MAX);
    OutsideChart { places, left_out }
}

fn dimensions(case: &Case<'_>) -> Vec<Dimension> {
    let mut names: BTreeSet<DimensionName> = DimensionName::STANDARD.into();
    names.extend(case.cells.iter().map(|cell| cell.name.dimension));
    let of = |name: DimensionName| Dimension {
        name,
        gated: case.policy.gates(name),
        cells: case
            .cells
            .iter()
            .filter(|cell| cell.name.dimension == name)
            .map(|cell| cell.shown.clone())
            .collect(),
    };
    names.into_iter().map(of).collect()
}

fn basis(case: &Case<'_>) -> Basis {
    let text = match (case.compared(), case.is_sampled(), case.is_whole()) {
        (0, ..) => "nothing was compared",
        (_, _, true) if case.evidence.supplied => "supplied by the user",
        (_, _, false) if case.evidence.supplied => "supplied by the user, compared in part",
        (_, true, _) => "sample, no assurance",
        (_, false, true) => "all traffic of the range",
        (_, false, false) => "part of the traffic of the range",
    };
    Basis { sampled: case.is_sampled(), text: text.into() }
}

fn certified_because(case: &Case<'_>) -> String {
    let compared = case.compared();
    let largest = case.gated().filter_map(|cell| Some((cell, cell.shown.net.as_ref()?))).max_by(
        |(a, _), (b, _)| {
            // Among equals the dimension that a reader looks at first.
            a.difference.cmp(&b.difference).then_with(|| b.name.cmp(&a.name))
        },
    );
    match largest {
        Some((cell, net)) if cell.shown.exchanges_differing > 0 => format!(
            "No cell is beyond its threshold; the largest difference is {} of {} allowed, in {} {}{}.",
            case.money(net.difference()),
            case.money(net.threshold.as_deref().unwrap_or("0.00")),
            cell.name.dimension.title(),
            cell.name.value.join(" / "),
            net.day.map_or(String::new(), |day| format!(" on {day}")),
        ),
        _ if case.totals.exchanges.outcomes.different == 0 => format!(
            "The candidate booked all {} compared exchanges as production did.",
            count(compared)
        ),
        // As when one line of 10 becomes two of 5.
        _ => format!(
            "The candidate booked the same money everywhere; in {} of {} its lines are others.",
            count(case.totals.exchanges.outcomes.different),
            number::exchanges(compared)
        ),
    }
}

fn certified_next() -> String {
    "Promote the build; the report keeps what was compared.".into()
}

/// Makes a sentence of a clause.
pub(crate) fn sentence(clause: &str) -> String {
    if clause.is_empty() {
        return String::new();
    }
    let mut letters = clause.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if clause.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests;
