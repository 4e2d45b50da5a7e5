//! FORMAT: the candidate's kept answers, so that a changed mapping is compared again without a replay.
//!
//! ```text
//! answers/run_id=<RunID>/shard=<n>.ndjson.zst     framed like a capture segment; lines:
//! {"header":{…}}                                  format, version, run, candidate build
//! {"answer":{…}}                                  what the candidate did with one exchange, in recorded order
//! ```

use serde::{Deserialize, Serialize};
use shadow_recorder::exchange::{ExchangeId, Response, UpstreamCall};

use crate::matching::Miss;
use crate::run::RunId;

/// The name in the header.
pub const FORMAT: &str = "shadow-answers";
/// The version written.
pub const VERSION: u32 = 1;

/// Returns the key of a shard's answers.
pub fn key(run: &RunId, shard: u32) -> String {
    format!("answers/run_id={run}/shard={shard}.ndjson.zst")
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Header(Header),
    /// One answer.
    Answer(Box<Answer>),
}

/// Says whose answers follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The candidate's build.
    pub build: String,
}

/// What the candidate did with one exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The exchange.
    pub id: ExchangeId,
    /// Microseconds from sending the request to the end of the answer.
    pub duration_us: u64,
    /// The answer; absent where there was none.
    pub response: Option<Response>,
    /// Why there was none, or why the exchange was not sent.
    pub failure: Option<Failure>,
    /// The upstream calls that the candidate made and the stub answered, in order, without the answer, which is the recording's. Sink
    /// bodies among them are compared.
    pub calls: Vec<UpstreamCall>,
    /// Calls that no recording answered.
    pub misses: Vec<Miss>,
    /// Recorded calls that were answered.
    pub hits: u32,
    /// Recorded calls that the candidate did not make.
    pub unused: u32,
    /// Their positions in the exchange; none where it was not sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_made: Vec<u32>,
    /// Calls that a declared assumption answered.
    #[serde(default)]
    pub assumed: u32,
    /// Whether the candidate called upstreams of its own, of which nothing was seen.
    #[serde(default)]
    pub own_upstreams: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The candidate did not answer: its fault.
    Candidate(String),
    /// The exchange could not be sent as it was: the recording's or the replay's fault.
    Harness(String),
}

impl Answer {
    /// Returns the answer of an exchange that was not sent.
    pub fn not_sent(id: ExchangeId, recorded_calls: usize, why: String) -> Self {
        let unused = u32::try_from(recorded_calls).unwrap_or(u32::MAX);
        let failure = Some(Failure::Harness(why));
        Self {
            id,
            duration_us: 0,
            response: None,
            failure,
            calls: Vec::new(),
            misses: Vec::new(),
            hits: 0,
            unused,
            not_made: Vec::new(),
            assumed: 0,
            own_upstreams: false,
        }
    }
}
