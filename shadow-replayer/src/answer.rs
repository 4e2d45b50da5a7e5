//! FORMAT: the candidate's kept answers, so that a changed mapping is compared again without a replay.
//!
//! ```text
//! answers/run_id=<RunID>/shard=<n>.ndjson.zst     framed like a capture segment; lines:
//! {"header":{…}}                                  format, version, run, candidate build
//! {"answer":{…}}                                  what the candidate did with one exchange, in recorded order
//! {"second":{…}}, {"control":{…}}                 behind it: what it did when asked again, and what the control did
//! ```

use std::collections::HashMap;

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
    /// The candidate's second answer to the exchange of the last line, where it was asked twice.
    Second(Box<Answer>),
    /// The control's answer to it.
    Control(Box<Answer>),
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
    /// Microseconds from the instant at which the request was due to the end of the answer.
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

/// All answers to one exchange.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The candidate's, which is judged.
    pub candidate: Answer,
    /// Its second one, where it was asked twice.
    pub second: Option<Answer>,
    /// The control's, where there is one.
    pub control: Option<Answer>,
}

impl Answered {
    /// Returns the candidate's answer alone.
    pub fn alone(candidate: Answer) -> Self {
        Self { candidate, second: None, control: None }
    }

    /// Returns the lines that keep them.
    pub fn into_lines(self) -> impl Iterator<Item = Line> {
        let boxed = |answer: Option<Answer>| answer.map(Box::new);
        let (second, control) = (boxed(self.second), boxed(self.control));
        std::iter::once(Line::Answer(Box::new(self.candidate)))
            .chain(second.map(Line::Second))
            .chain(control.map(Line::Control))
    }

    /// Adds a kept line to those read so far.
    pub fn keep(kept: &mut HashMap<String, Self>, line: Line) {
        match line {
            Line::Header(_) => {}
            Line::Answer(answer) => {
                kept.insert(answer.id.0.clone(), Self::alone(*answer));
            }
            Line::Second(answer) => {
                if let Some(of) = kept.get_mut(&answer.id.0) {
                    of.second = Some(*answer);
                }
            }
            Line::Control(answer) => {
                if let Some(of) = kept.get_mut(&answer.id.0) {
                    of.control = Some(*answer);
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_exchange_reads_back_together() {
        let answer = |id: &str, why: &str| Answer::not_sent(ExchangeId(id.into()), 0, why.into());
        let all = Answered {
            candidate: answer("a", "first"),
            second: Some(answer("a", "second")),
            control: Some(answer("a", "control")),
        };
        let mut kept = HashMap::new();
        let lines = all.clone().into_lines().chain(Answered::alone(answer("b", "b")).into_lines());
        lines.for_each(|line| Answered::keep(&mut kept, line));
        let a = &kept["a"];
        assert_eq!(
            (&a.candidate, &a.second, &a.control),
            (&all.candidate, &all.second, &all.control)
        );
        assert!(kept["b"].second.is_none() && kept["b"].control.is_none());
    }
}
