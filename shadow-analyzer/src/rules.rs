//! The rules that speak against certifying, each a small pure function: what was found, and what to do about it.

use crate::cell::JudgedCell;
use crate::evidence::completeness;
use crate::number::{self, count, counted};
use crate::rules::beyond::{
    gross_beyond_threshold, net_beyond_threshold, projection_beyond_threshold,
};
use crate::rules::chart::outside_chart;
use crate::rules::moved::date_or_entity_changed;
use crate::rules::noise::{control_differs, doubts, own_upstreams};
use crate::rules::sample::sampled;
use crate::score::{Case, sentence};
use crate::verdict::{CellName, DimensionName, OutcomeReason, Reason, Rule};
use shadow_replayer::filter::NOT_DRAWN;

mod beyond;
mod chart;
mod moved;
mod expected;
mod noise;
mod sample;

/// Reasons of one rule that name a cell; more are counted in one further reason.
pub(crate) const CELL_REASONS_MAX: usize = 20;

/// A rule that speaks against certifying, as two clauses.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) found: String,
    pub(crate) advice: String,
    pub(crate) cell: Option<CellName>,
}

impl Finding {
    /// Returns the finding as a verdict shows it.
    pub(crate) fn reason(&self) -> Reason {
        Reason {
            rule: self.rule,
            effect: self.rule.effect(),
            text: format!("{} {}", sentence(&self.found), sentence(&self.advice))
                .trim_end()
                .to_owned(),
            cell: self.cell.clone(),
        }
    }
}

/// Every rule, in the order of precedence.
const RULES: [fn(&Case<'_>) -> Vec<Finding>; 24] = [
    net_beyond_threshold,
    gross_beyond_threshold,
    newly_unbalanced,
    outside_chart,
    candidate_errors,
    run_failed,
    mapping_changed,
    nothing_booked,
    too_few_exchanges,
    range_too_short,
    no_threshold,
    no_rate,
    incomplete,
    gaps,
    dropped,
    not_examined,
    money_unknown,
    date_or_entity_changed,
    expected::absent,
    sampled,
    projection_beyond_threshold,
    control_differs,
    own_upstreams,
    doubts,
];

/// Returns what all rules find, by precedence.
pub(crate) fn findings(case: &Case<'_>) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(case)).collect()
}

fn one(rule: Rule, found: impl Into<String>, advice: impl Into<String>) -> Vec<Finding> {
    vec![Finding { rule, found: found.into(), advice: advice.into(), cell: None }]
}

fn again(case: &Case<'_>) -> String {
    format!("run `shadow-analyzer certify --run {}` again", case.evidence.run_id)
}

fn named(cell: &JudgedCell) -> String {
    format!("{} {}", cell.name.dimension.title(), cell.name.value.join(" / "))
}

/// One finding per cell, the first [`CELL_REASONS_MAX`] of them.
fn per_cell<'c>(
    rule: Rule,
    cells: impl Iterator<Item = &'c JudgedCell>,
    describe: impl Fn(&JudgedCell) -> (String, String),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut more = 0_usize;
    for cell in cells {
        if findings.len() == CELL_REASONS_MAX {
            more += 1;
            continue;
        }
        let (found, advice) = describe(cell);
        // What to do is the same for every cell, and said once.
        let advice = if findings.is_empty() { advice } else { String::new() };
        findings.push(Finding { rule, found, advice, cell: Some(cell.name.clone()) });
    }
    if more > 0 {
        findings.extend(one(
            rule,
            format!("the same is true of {more} further cells"),
            "see the tables of the report",
        ));
    }
    findings
}

fn newly_unbalanced(case: &Case<'_>) -> Vec<Finding> {
    let exchanges = &case.totals.exchanges;
    if exchanges.newly_unbalanced == 0 {
        return Vec::new();
    }
    let example = exchanges.newly_unbalanced_example.as_deref().unwrap_or("unknown");
    one(
        Rule::NewlyUnbalanced,
        format!(
            "{} balanced in production and not in the candidate, for example in exchange {example}",
            counted(exchanges.newly_unbalanced, "transaction", "transactions")
        ),
        "fix the build: debits must equal credits in every transaction and currency",
    )
}

fn candidate_errors(case: &Case<'_>) -> Vec<Finding> {
    let (errored, limit) =
        (case.totals.exchanges.outcomes.errored, case.policy.candidate_errors_max);
    if errored <= limit {
        return Vec::new();
    }
    let most = case.totals.exchanges.reasons.iter().find(|reason| reason.outcome == "errored");
    let most = most.map_or(String::new(), |most| {
        format!(", most often: {} (exchange {})", most.reason, most.example)
    });
    one(
        Rule::CandidateErrors,
        format!(
            "the candidate failed in {} where production succeeded; accepted are {limit}{most}",
            number::exchanges(errored)
        ),
        "find these exchanges in the candidate's log and replay again",
    )
}

fn run_failed(case: &Case<'_>) -> Vec<Finding> {
    case.evidence.failure.as_ref().map_or(Vec::new(), |failure| {
        one(
            Rule::RunFailed,
            format!("the run gives no evidence: {failure}"),
            "remove the cause and replay the range again",
        )
    })
}

fn mapping_changed(case: &Case<'_>) -> Vec<Finding> {
    if !case.evidence.mapping_changed {
        return Vec::new();
    }
    one(
        Rule::MappingChanged,
        "the run's journal was compared under another [[ledger]] mapping than the configured one",
        if case.evidence.supplied {
            compare_again(case)
        } else {
            format!("{}, then {}", compare_again(case), again(case))
        },
    )
}

fn compare_again(case: &Case<'_>) -> String {
    if case.evidence.supplied {
        return "give the files to `shadow-analyzer certify --primary … --shadow …` again".into();
    }
    format!("run `shadow-replayer compare --run {}`", case.evidence.run_id)
}

fn nothing_booked(case: &Case<'_>) -> Vec<Finding> {
    let nothing_gated = !case.policy.gates_any();
    let judged = case.gated().any(|cell| cell.compared);
    // A failed run, and one that compared nothing, have their own reason.
    if case.evidence.failure.is_some() || case.compared() == 0 || nothing_gated || judged {
        return Vec::new();
    }
    one(
        Rule::NothingBooked,
        "no exchange that was compared booked an entry on either side, so nothing was judged",
        format!(
            "check the [[ledger]] mapping with `shadow-analyzer map` and {}, or choose a range in which money was booked",
            compare_again(case)
        ),
    )
}

fn too_few_exchanges(case: &Case<'_>) -> Vec<Finding> {
    let (compared, least) = (case.compared(), case.policy.min_exchanges);
    if compared >= least || case.evidence.failure.is_some() {
        return Vec::new();
    }
    let recorded = case.totals.exchanges.outcomes.recorded;
    let found = format!(
        "{} of {} recorded could be compared, and a judgement needs {}",
        if compared == 0 { "none".into() } else { count(compared) },
        number::exchanges(recorded),
        count(least)
    );
    if recorded >= least {
        let found = format!("{found}{}", not_compared_because(case));
        return one(Rule::TooFewExchanges, found, what_to_do(case));
    }
    let advice =
        "replay a longer range, or set [certify] min_exchanges to what is enough for this service";
    one(Rule::TooFewExchanges, found, advice)
}

/// Says why most of the exchanges that were not compared were not.
fn not_compared_because(case: &Case<'_>) -> String {
    // For those that were not drawn others stand.
    let left_out =
        |reason: &&OutcomeReason| reason.outcome != "errored" && reason.reason != NOT_DRAWN;
    let most = case.totals.exchanges.reasons.iter().find(left_out);
    most.map_or(String::new(), |most| {
        let reason = most.reason.trim_end_matches('.');
        format!(", most often because {reason} (exchange {})", most.example)
    })
}

/// Says what can be done about exchanges that were not compared.
fn what_to_do(case: &Case<'_>) -> String {
    if case.totals.exchanges.upstream.misses > 0 {
        return "record a range in which production's build makes these calls, declare what differs from call to call as `volatile` \
                in [[upstream]], or take the calls out of the build; then replay"
            .into();
    }
    "look at the reasons in the report, remove the most frequent and replay the range again".into()
}

fn range_too_short(case: &Case<'_>) -> Vec<Finding> {
    let (range, least) = (case.evidence.range, case.policy.min_range);
    if range >= least {
        return Vec::new();
    }
    one(
        Rule::RangeTooShort,
        format!("the range is {range:?} long, and a judgement needs {least:?}"),
        "replay a longer range, or lower [certify] min_range",
    )
}

fn no_threshold(case: &Case<'_>) -> Vec<Finding> {
    if !case.policy.gates_any() {
        return one(
            Rule::NoThreshold,
            "no dimension is gated, so that nothing is judged",
            format!("remove `gate = false` from one of [certify.thresholds] and {}", again(case)),
        );
    }
    let of = |name: DimensionName| {
        let section = format!("[certify.thresholds.{}]", name.word());
        let advice = format!(
            "set `net` in {section}, or `gate = false` there to only show the dimension, and {}",
            again(case)
        );
        let mut bare =
            case.gated().filter(|cell| cell.name.dimension == name && cell.allowed.is_none());
        let thresholds = case.policy.thresholds(name);
        if thresholds.gate && thresholds.are_missing() {
            return one(
                Rule::NoThreshold,
                format!("there is no threshold for any {}", name.title()),
                advice,
            );
        }
        let Some(first) = bare.next() else { return Vec::new() };
        let others = match bare.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let found = format!("there is no threshold for {}{others}", named(first));
        vec![Finding { rule: Rule::NoThreshold, found, advice, cell: Some(first.name.clone()) }]
    };
    // A dimension that not every journal has is judged where it has a threshold, and lacks none elsewhere.
    DimensionName::STANDARD.into_iter().flat_map(of).collect()
}

fn no_rate(case: &Case<'_>) -> Vec<Finding> {
    let missing: Vec<&str> = case.currencies_without_rate().into_iter().collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let reporting = &case.policy.rates.reporting_currency;
    one(
        Rule::NoRate,
        format!("there is no rate to {reporting} for {}{}", missing.join(", "), of_day(case)),
        format!(
            "set it in [certify.rates], for example {} = \"1.25\", {}and {}",
            missing[0],
            if case.policy.rates_file.is_some() { "or in the file of rates, " } else { "" },
            again(case)
        ),
    )
}

/// Says which rates of a file were looked for.
fn of_day(case: &Case<'_>) -> String {
    match (&case.policy.rates_file, case.policy.rates.day) {
        (Some(file), Some(day)) => {
            let days = file.age_max.as_secs() / 86_400;
            format!(", neither of {day} nor of the {} before it", counted(days, "day", "days"))
        }
        _ => String::new(),
    }
}

fn incomplete(case: &Case<'_>) -> Vec<Finding> {
    if case.evidence.failure.is_some() || case.is_complete() {
        return Vec::new();
    }
    let found = match completeness::incomplete(&case.strata)[..] {
        [] => "the counts of the run and its journal disagree".to_owned(),
        [stratum] => format!("those of stratum {stratum} do not add up to what was recorded of it"),
        [stratum, ..] => format!(
            "those of stratum {stratum} and others do not add up to what was recorded of them"
        ),
    };
    one(
        Rule::Incomplete,
        format!("not every recorded exchange is accounted for: {found}"),
        "replay the range again, and report it if this happens twice",
    )
}

fn gaps(case: &Case<'_>) -> Vec<Finding> {
    let losses = case.evidence.tally.iter().flat_map(|tally| &tally.losses);
    let all: Vec<&String> = case.evidence.gaps.iter().chain(losses).collect();
    let Some(first) = all.first() else { return Vec::new() };
    let more = if all.len() > 1 { format!(" (and {} more)", all.len() - 1) } else { String::new() };
    one(
        Rule::Gaps,
        format!("the range is not wholly covered by recordings: {first}{more}"),
        "wait until every instance has sealed its segments, or choose a range that is covered, and replay it",
    )
}

fn dropped(case: &Case<'_>) -> Vec<Finding> {
    let total: u64 = case.evidence.dropped.values().sum();
    // Where their money is known the thresholds judge it.
    if total == 0 || case.lost().is_some_and(|lost| lost.known) {
        return Vec::new();
    }
    let reasons: Vec<String> =
        case.evidence.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    one(
        Rule::Dropped,
        format!(
            "{} of the range passed production unrecorded ({})",
            number::exchanges(total),
            reasons.join(", ")
        ),
        "choose a range without losses; raise the limit in [recorder] that the reason names",
    )
}

fn not_examined(case: &Case<'_>) -> Vec<Finding> {
    let because = not_compared_because(case);
    per_cell(Rule::NotExamined, case.gated().filter(|cell| cell.not_examined_beyond), |cell| {
        let money = cell.shown.not_examined.as_deref();
        let money = money.map_or("an unknown amount".into(), |money| case.money(money));
        let most = if case.lost().is_some_and(|lost| lost.at_most) { "up to " } else { "" };
        let found = format!(
            "{}: {most}{money} of production's money was not compared, which is more than the cell's threshold",
            named(cell)
        );
        let advice = format!(
            "remove the cause and replay the range again: exchanges were left out{because}"
        );
        (found, advice)
    })
}

fn money_unknown(case: &Case<'_>) -> Vec<Finding> {
    let exchanges = &case.totals.exchanges;
    if exchanges.money_unknown <= case.policy.money_unknown_max {
        return Vec::new();
    }
    let why = exchanges.money_unknown_reason.as_deref().unwrap_or("no reason given");
    one(
        Rule::MoneyUnknown,
        format!(
            "production's money of {} could not be read, most often: {why}",
            number::exchanges(exchanges.money_unknown)
        ),
        format!(
            "extend the [[ledger]] mapping, or declare routes that book nothing with `no_entries = true` (`shadow-analyzer map` lists them), then {}; what clients broke off can be accepted by [certify] money_unknown_max",
            compare_again(case)
        ),
    )
}
