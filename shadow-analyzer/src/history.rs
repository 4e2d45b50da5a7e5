//! What was before a verdict: read from the run store and added to it. Shown, and never judged: the rules do not know of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shadow_replayer::run::RunId;
use shadow_replayer::store::{Given, RunStore, RunStoreError};

use crate::verdict::{
    Decision, EARLIER_VERDICTS_MAX, Earlier, History, POLICY_CHANGES_MAX, Policy, Signatures,
    Verdict,
};

mod known;
mod lines;

/// Verdicts of the service, whatever their words, in which a difference is looked for that the last certified run did not show.
const SEARCHED: u32 = 10;

/// What of an earlier verdict's document a later one is compared with.
#[derive(Debug, Deserialize)]
struct Kept {
    reporting_currency: String,
    rates: BTreeMap<String, String>,
    policy: Policy,
    #[serde(default)]
    signatures: Signatures,
}

/// What a verdict depends on beside data, whole.
#[derive(Serialize)]
struct Terms<'a> {
    reporting_currency: &'a str,
    rates: &'a BTreeMap<String, String>,
    policy: &'a Policy,
}

/// Completes a verdict by what was before it.
pub(crate) async fn complete(
    runs: &RunStore,
    id: &RunId,
    verdict: &mut Verdict,
) -> Result<(), RunStoreError> {
    let limit = u32::try_from(EARLIER_VERDICTS_MAX).unwrap_or(u32::MAX);
    let build = &verdict.candidate.build;
    let (same_build, count) = runs.verdicts_on(&verdict.service, build, limit).await?;
    let last = runs.documents(&verdict.service, id, true, 1).await?.into_iter().next();
    let last = match last {
        Some((given, text)) => Some((earlier(given)?, kept(&text)?)),
        None => None,
    };
    let newest = runs.documents(&verdict.service, id, false, SEARCHED).await?;
    let newest = newest.iter().map(|(_, text)| kept(text)).collect::<Result<Vec<_>, _>>()?;
    let same_build: Vec<Earlier> = same_build.into_iter().map(earlier).collect::<Result<_, _>>()?;
    let same_build_left_out = count.saturating_sub(same_build.len() as u64);
    verdict.history =
        History { same_build, same_build_left_out, ..policy_history(last.as_ref(), verdict) };
    let searched: Vec<&Signatures> = newest.iter().map(|kept| &kept.signatures).collect();
    known::mark(verdict, last.as_ref().map(|(_, kept)| &kept.signatures), &searched);
    Ok(())
}

fn kept(text: &str) -> Result<Kept, RunStoreError> {
    serde_json::from_str(text).map_err(|error| RunStoreError::Document("verdict", error))
}

fn earlier(given: Given) -> Result<Earlier, RunStoreError> {
    let words = [Decision::Certified, Decision::Refused, Decision::Inconclusive];
    let verdict = words.into_iter().find(|word| word.word() == given.verdict);
    Ok(Earlier {
        run_id: given.run_id.to_string(),
        revision: given.revision,
        build: given.build,
        decided_at: given.decided_at,
        verdict: verdict.ok_or(RunStoreError::Value("verdict"))?,
        policy_sha256: given.policy_sha256,
    })
}

fn policy_history(last: Option<&(Earlier, Kept)>, verdict: &Verdict) -> History {
    let Some((last, kept)) = last else { return History::default() };
    let before = Terms {
        reporting_currency: &kept.reporting_currency,
        rates: &kept.rates,
        policy: &kept.policy,
    };
    let after = Terms {
        reporting_currency: &verdict.reporting_currency,
        rates: &verdict.rates,
        policy: &verdict.policy,
    };
    let mut policy_changes = lines::changes(&before, &after);
    let policy_changes_left_out = policy_changes.len().saturating_sub(POLICY_CHANGES_MAX) as u64;
    policy_changes.truncate(POLICY_CHANGES_MAX);
    History {
        last_certified: Some(last.clone()),
        policy_changes,
        policy_changes_left_out,
        ..History::default()
    }
}

#[cfg(test)]
mod tests;
