//! Compares production's answer to one exchange with the candidate's: from two answers to one row of the journal. Pure.

use std::borrow::Cow;

use shadow_recorder::exchange::{End, Exchange, Request, UpstreamCall};
use shadow_recorder::ledger::{Answered, Mapping, Reading, Transaction};

use crate::answer::{Answer, Failure};
use crate::filter::NOT_DRAWN;
use crate::journal::upstream::calls;
use crate::journal::{Blame, EntryRow, ExchangeRow, Kind, Outcome, Source};
use crate::pairing::{self, Unbalanced};
use crate::structure;

/// What one exchange came to, before it is written.
struct Result {
    outcome: Outcome,
    why: Option<Why>,
    blame: Option<Blame>,
    entries: Vec<EntryRow>,
    unbalanced: Unbalanced,
    transactions: Option<(String, String)>,
}

/// Why an exchange came out as it did: in the same words for the same cause, and the particulars.
#[derive(Clone)]
struct Why {
    reason: Cow<'static, str>,
    detail: Option<String>,
}

fn why(reason: impl Into<Cow<'static, str>>) -> Why {
    Why { reason: reason.into(), detail: None }
}

fn because(reason: impl Into<Cow<'static, str>>, detail: String) -> Why {
    Why { reason: reason.into(), detail: Some(detail) }
}

/// Returns the journal's row of an exchange that was replayed.
pub fn compare(
    recorded: &Exchange,
    answer: &Answer,
    mapping: &Mapping,
    rules: &structure::Rules,
) -> ExchangeRow {
    let primary = read_primary(recorded, mapping);
    let result = match &primary {
        Err(why) => unverified(&[], why.clone()),
        Ok(transactions) => judge(recorded, answer, mapping, transactions),
    };
    let money_known = primary.is_ok();
    let structure = match (&answer.response, result.outcome) {
        (Some(shadow), Outcome::Matched | Outcome::Different) => {
            let beside = structure::compare(recorded, shadow, false, rules);
            [beside, structure::compare_ledger(recorded, answer, rules)].concat()
        }
        (Some(shadow), Outcome::Errored) => structure::compare(recorded, shadow, true, rules),
        // What differs may be the replay's doing.
        _ => Vec::new(),
    };
    ExchangeRow { structure, ..row(recorded, Some(answer), mapping, money_known, result) }
}

/// Returns the journal's row of an exchange that a filter left out, with its money.
pub fn filtered(recorded: &Exchange, mapping: &Mapping, reason: String) -> ExchangeRow {
    let primary = read_primary(recorded, mapping);
    let booked = primary.as_ref().map_or(&[][..], Primary::transactions);
    let result =
        Result { outcome: Outcome::Filtered, blame: None, ..unverified(booked, why(reason)) };
    row(recorded, None, mapping, primary.is_ok(), result)
}

/// Returns the journal's row of an exchange for which those of the sub-sample stand: its money is estimated by theirs.
pub fn not_drawn(recorded: &Exchange, mapping: &Mapping) -> ExchangeRow {
    let result =
        Result { outcome: Outcome::Filtered, blame: None, ..unverified(&[], why(NOT_DRAWN)) };
    row(recorded, None, mapping, true, result)
}

/// Production's side: what it booked, or that it failed.
enum Primary {
    Booked(Vec<Transaction>),
    Failed,
}

impl Primary {
    fn transactions(&self) -> &[Transaction] {
        match self {
            Self::Booked(transactions) => transactions,
            Self::Failed => &[],
        }
    }
}

fn read_primary(recorded: &Exchange, mapping: &Mapping) -> std::result::Result<Primary, Why> {
    let Some(response) = &recorded.response else {
        return Err(why("production's answer was not recorded"));
    };
    match recorded.end {
        End::Complete => {}
        End::ClientAborted => {
            return Err(why("the client went away before the end of production's answer"));
        }
        End::UpstreamFailed => return Err(why("production broke off its answer")),
        End::Truncated => {
            return Err(why("the recorder stopped before the end of production's answer"));
        }
    }
    // It depends on what the client had before, which the replay does not.
    if matches!(response.status, 304 | 412) {
        return Err(why("production answered a conditional request"));
    }
    match read(mapping, &recorded.request, response.status, &response.body, &recorded.upstream) {
        Reading::Booked(transactions) => Ok(Primary::Booked(transactions)),
        Reading::Failed => Ok(Primary::Failed),
        Reading::Unmapped(what) => Err(because("production's answer is not mapped", what)),
        Reading::Unparseable(what) => Err(because("production's answer cannot be read", what)),
    }
}

fn read(
    mapping: &Mapping,
    request: &Request,
    status: u16,
    body: &shadow_recorder::exchange::Body,
    calls: &[UpstreamCall],
) -> Reading {
    let calls: Vec<(&str, &Request)> =
        calls.iter().map(|call| (&*call.name, &call.request)).collect();
    mapping.read(&Answered { request, status, body, calls: &calls })
}

/// Returns the money that the candidate's answer books, less the fields beside it, nothing where it failed; none where the answer is no
/// evidence or cannot be read.
pub(crate) fn booked(
    recorded: &Exchange,
    answer: &Answer,
    mapping: &Mapping,
) -> Option<Vec<Transaction>> {
    let response = answer.response.as_ref().filter(|_| answer.misses.is_empty())?;
    match read(mapping, &recorded.request, response.status, &response.body, &answer.calls) {
        Reading::Booked(mut transactions) => {
            let entries = transactions.iter_mut().flat_map(|transaction| &mut transaction.entries);
            entries.for_each(|entry| entry.fields.clear());
            Some(transactions)
        }
        Reading::Failed => Some(Vec::new()),
        Reading::Unmapped(_) | Reading::Unparseable(_) => None,
    }
}

/// Decides what an exchange came to, production's side being known. The order is the rule: whatever is not certain to be the
/// candidate's own doing makes the exchange unverified, never a difference.
fn judge(recorded: &Exchange, answer: &Answer, mapping: &Mapping, primary: &Primary) -> Result {
    let booked = primary.transactions();
    if let Some(Failure::Harness(what)) = &answer.failure {
        return unverified(
            booked,
            because("the request could not be sent as recorded", what.clone()),
        );
    }
    if let Some(miss) = answer.misses.first() {
        let reason = format!(
            "the candidate made a call to upstream {} that was not recorded",
            miss.upstream
        );
        let more = answer.misses.len() - 1;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        return unverified(booked, because(reason, format!("{}{more}", miss.particulars())));
    }
    if let Some(Failure::Candidate(what)) = &answer.failure {
        return failed(primary, because("the candidate did not answer", what.clone()));
    }
    let Some(response) = &answer.response else {
        return unverified(booked, why("no answer was kept"));
    };
    let status = response.status;
    if matches!(primary, Primary::Booked(_)) && matches!(status, 401 | 403) {
        let reason = format!("the candidate refused the credentials with status {status}");
        return unverified(booked, why(reason));
    }
    let reading = match primary {
        Primary::Booked(booked) if is_same(recorded, answer, mapping) => {
            Reading::Booked(booked.clone())
        }
        _ => read(mapping, &recorded.request, status, &response.body, &answer.calls),
    };
    let shadow = match reading {
        Reading::Booked(shadow) => shadow,
        Reading::Failed => {
            return failed(primary, why(format!("the candidate answered with status {status}")));
        }
        Reading::Unmapped(what) => {
            return errored(primary, because("the candidate's answer is not mapped", what));
        }
        Reading::Unparseable(what) => {
            return errored(primary, because("the candidate's answer cannot be read", what));
        }
    };
    if !recorded.upstream.is_empty() && answer.hits == 0 && !answer.own_upstreams {
        let reason = "not recomputed: the candidate made none of the recorded upstream calls";
        return unverified(booked, why(reason));
    }
    let comparison = pairing::compare(booked, &shadow);
    let equal = comparison.is_equal();
    Result {
        outcome: if equal { Outcome::Matched } else { Outcome::Different },
        why: None,
        blame: None,
        entries: comparison.rows,
        unbalanced: comparison.unbalanced,
        transactions: (!equal).then(|| (json(booked), json(&shadow))),
    }
}

/// Returns whether the candidate answered as production did, to the byte, and neither posted anything to a sink: then both book the
/// same, and one reading serves for both.
fn is_same(recorded: &Exchange, answer: &Answer, mapping: &Mapping) -> bool {
    let posted =
        |calls: &[UpstreamCall]| calls.iter().any(|call| mapping.sinks.contains(&call.name));
    let (Some(primary), Some(shadow)) = (&recorded.response, &answer.response) else {
        return false;
    };
    primary.status == shadow.status
        && primary.body.text.is_some()
        && primary.body.text == shadow.body.text
        && !posted(&recorded.upstream)
        && !posted(&answer.calls)
}

/// The candidate failed plainly. Where production succeeded that counts as having booked nothing; where it failed too, as the same.
fn failed(primary: &Primary, why: Why) -> Result {
    match primary {
        Primary::Booked(_) => errored(primary, why),
        Primary::Failed => Result {
            outcome: Outcome::Matched,
            why: None,
            blame: None,
            entries: Vec::new(),
            unbalanced: Unbalanced::default(),
            transactions: None,
        },
    }
}

/// The candidate's answer is missing or cannot be read: everything that production booked is missing.
fn errored(primary: &Primary, why: Why) -> Result {
    let booked = primary.transactions();
    Result {
        outcome: Outcome::Errored,
        why: Some(why),
        blame: Some(Blame::Candidate),
        entries: pairing::one_sided(booked, Source::Primary, Kind::Missing),
        unbalanced: Unbalanced::of(booked, &[]),
        transactions: Some((json(booked), "[]".into())),
    }
}

fn unverified(booked: &[Transaction], why: Why) -> Result {
    Result {
        outcome: Outcome::Unverified,
        why: Some(why),
        blame: Some(Blame::Harness),
        entries: pairing::one_sided(booked, Source::Primary, Kind::NotExamined),
        unbalanced: Unbalanced::of(booked, &[]),
        transactions: None,
    }
}

fn json(transactions: &[Transaction]) -> String {
    serde_json::to_string(transactions).expect("transactions have text keys only")
}

fn row(
    recorded: &Exchange,
    answer: Option<&Answer>,
    mapping: &Mapping,
    money_known: bool,
    result: Result,
) -> ExchangeRow {
    let request = &recorded.request;
    let rule =
        mapping.rules.iter().find(|rule| rule.route.matches(&request.method, request.path()));
    let route = rule.map_or_else(
        || Cow::from(format!("{} {}", request.method, request.path())),
        |r| r.route.to_string().into(),
    );
    let (reason, detail) = result.why.map(|why| (why.reason.into_owned(), why.detail)).unzip();
    let detail = detail.flatten();
    let response = answer.and_then(|answer| answer.response.as_ref());
    let long = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    ExchangeRow {
        exchange_id: recorded.id.0.clone(),
        occurred_at_us: recorded.received_at.as_microsecond(),
        route: route.into_owned(),
        outcome: result.outcome,
        reason,
        detail,
        blame: result.blame,
        primary_status: recorded.response.as_ref().map(|response| response.status),
        shadow_status: response.map(|response| response.status),
        primary_duration_us: recorded.response.is_some().then(|| long(recorded.duration_us)),
        shadow_duration_us: response.and(answer).map(|answer| long(answer.duration_us)),
        upstream_hits: answer.map_or(0, |answer| count(answer.hits as usize)),
        upstream_misses: answer.map_or(0, |answer| count(answer.misses.len())),
        upstream_unused: answer.map_or(0, |answer| count(answer.unused as usize)),
        upstream_assumed: answer.map_or(0, |answer| count(answer.assumed as usize)),
        newly_unbalanced: result.unbalanced.newly,
        primary_unbalanced: result.unbalanced.primary,
        shadow_unbalanced: result.unbalanced.shadow,
        money_known,
        pi: long(recorded.sample.pi),
        stratum: recorded.sample.stratum.clone(),
        entries: result.entries,
        transactions: result.transactions,
        control: None,
        second: None,
        structure: Vec::new(),
        calls: answer.map_or_else(Vec::new, |answer| calls(recorded, answer)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
