//! What a verdict tells of the verdicts before it. It is shown and never judged.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Decision;

/// Earlier verdicts on the same build that a verdict lists.
pub const EARLIER_VERDICTS_MAX: usize = 50;
/// Lines of the policy that a verdict lists.
pub const POLICY_CHANGES_MAX: usize = 200;

/// The verdicts before this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The newest certified verdict on another run of the service; absent where there is none.
    pub last_certified: Option<Earlier>,
    /// The lines of the policy that are others than under `last_certified`, by place; at most [`POLICY_CHANGES_MAX`].
    pub policy_changes: Vec<PolicyChange>,
    /// Lines that are not in `policy_changes`.
    pub policy_changes_left_out: u64,
    /// Earlier verdicts on the same build, on this run and on others, newest first; at most [`EARLIER_VERDICTS_MAX`]. A build that was
    /// replayed until it was certified has them here.
    pub same_build: Vec<Earlier>,
    /// Verdicts that are not in `same_build`.
    pub same_build_left_out: u64,
}

/// An earlier verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The run.
    pub run_id: String,
    /// The journal revision that was judged.
    pub revision: u32,
    /// The build.
    pub build: String,
    /// When it was given.
    pub decided_at: Timestamp,
    /// Its word.
    pub verdict: Decision,
    /// The SHA-256 of the policy.
    pub policy_sha256: String,
}

/// A line of the policy that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// Which line, such as `gl_account default net`.
    pub line: String,
    /// What it was; absent where it was not there.
    pub before: Option<String>,
    /// What it is; absent where it is gone.
    pub after: Option<String>,
}
