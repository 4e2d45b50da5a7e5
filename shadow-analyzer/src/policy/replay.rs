//! What of a replay's configuration a verdict depends on.

use shadow_recorder::digest::sha256;
use shadow_replayer::assume::Assumption;
use shadow_replayer::config::Config;
use shadow_replayer::config::state::State;
use shadow_replayer::structure::Ignored;

use crate::verdict::{AssumptionPolicy, IgnoredPath};

/// How the judged journal was made, beside what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// SHA-256 of the ledger mapping under which it was read.
    pub mapping_sha256: String,
    /// `stateless` or `snapshot`.
    pub state: String,
    /// What the structural comparison leaves out.
    pub ignored: Vec<IgnoredPath>,
    /// Upstream calls that production did not make and that were answered all the same.
    pub assumptions: Vec<AssumptionPolicy>,
}

impl Replayed {
    /// Takes it from the configuration.
    pub fn of(config: &Config, mapping_sha256: &str) -> Self {
        let state = match config.replay.state {
            State::Stateless { .. } => "stateless",
            State::Snapshot(_) => "snapshot",
        };
        Self {
            mapping_sha256: mapping_sha256.into(),
            state: state.into(),
            ignored: config.structure.ignored.iter().map(ignored).collect(),
            assumptions: config.stub.assume.iter().map(assumption).collect(),
        }
    }
}

fn ignored(of: &Ignored) -> IgnoredPath {
    IgnoredPath {
        route: of.selection.route.as_ref().map(ToString::to_string),
        path: of.selection.path.clone(),
        reason: of.reason.clone(),
    }
}

fn assumption(of: &Assumption) -> AssumptionPolicy {
    let when = of.conditions.iter().map(|(path, value)| format!("{path} = {value}"));
    let answer = serde_json::to_vec(&of.response).expect("an answer is JSON");
    AssumptionPolicy {
        upstream: of.upstream.clone(),
        route: of.route.to_string(),
        when: when.collect(),
        answer_sha256: sha256(answer),
        reason: of.reason.clone(),
        owner: of.owner.clone(),
        expires: of.expires.to_string(),
    }
}
