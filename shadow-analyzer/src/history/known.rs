//! Which differences of a run are new. Pure.

use std::collections::BTreeMap;

use crate::verdict::{FirstSeen, SIGNATURES_MAX, Signature, Signatures, Verdict};

/// Marks every class of difference as new or known against the last certified run's, says where each was first seen, and brings the
/// new ones to the front. `searched`: those of other earlier verdicts.
pub(super) fn mark(verdict: &mut Verdict, last: Option<&Signatures>, searched: &[&Signatures]) {
    let here = FirstSeen {
        run_id: verdict.run_id.clone(),
        build: verdict.candidate.build.clone(),
        decided_at: verdict.decided_at,
    };
    let certified: BTreeMap<&str, &Signature> = by_name(last);
    let firsts = firsts(last.into_iter().chain(searched.iter().copied()));
    let signatures = &mut verdict.signatures;
    for signature in &mut signatures.shown {
        let name = &*signature.sha256;
        let first = firsts.get(name).filter(|first| first.decided_at < here.decided_at);
        signature.new = match last {
            Some(_) if certified.contains_key(name) => Some(false),
            // What its list leaves out may be this one.
            Some(last) if last.left_out == 0 => Some(true),
            _ => None,
        };
        signature.first = Some((*first.unwrap_or(&&here)).clone());
    }
    let rank = |signature: &Signature| match signature.new {
        Some(true) => 0,
        None => 1,
        Some(false) => 2,
    };
    // Stable: within them the order of the aggregation.
    signatures.shown.sort_by_key(rank);
    signatures.left_out += signatures.shown.len().saturating_sub(SIGNATURES_MAX) as u64;
    signatures.shown.truncate(SIGNATURES_MAX);
}

fn by_name(signatures: Option<&Signatures>) -> BTreeMap<&str, &Signature> {
    let shown = signatures.into_iter().flat_map(|signatures| &signatures.shown);
    shown.map(|signature| (&*signature.sha256, signature)).collect()
}

/// Returns the earliest run that each class is known from.
fn firsts<'s>(lists: impl Iterator<Item = &'s Signatures>) -> BTreeMap<&'s str, &'s FirstSeen> {
    let mut firsts: BTreeMap<&str, &FirstSeen> = BTreeMap::new();
    for signature in lists.flat_map(|signatures| &signatures.shown) {
        let Some(first) = &signature.first else { continue };
        let known = firsts.entry(&signature.sha256).or_insert(first);
        if first.decided_at < known.decided_at {
            *known = first;
        }
    }
    firsts
}
