//! One exchange, from its recording to the candidate's answer: opened at the stub, sent, closed, and redacted as the recording is.

use std::sync::Arc;
use std::time::Duration;

use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::redact::Redactor;

use crate::answer::{Answer, Failure};
use crate::client::Candidate;
use crate::given_up::GivenUp;
use crate::run::RunId;
use crate::stub::Stub;

/// A candidate, with the stub that is its upstreams.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) candidate: Candidate,
    pub(crate) stub: Stub,
    pub(crate) linger: Duration,
    /// Tells the trace ids of one build in a run from those of another; empty for the candidate.
    pub(crate) role: &'static str,
    pub(crate) given_up: GivenUp,
}

impl Driver {
    /// Asks the candidate what production was asked.
    pub(crate) async fn answer(
        &self,
        run: &RunId,
        exchange: &Arc<Exchange>,
        redactor: &Arc<Redactor>,
    ) -> Answer {
        let trace_id = sha256(format!("{run}{} {}", self.role, exchange.id))[..32].to_owned();
        self.stub.open(&exchange.id.0, &trace_id, exchange, redactor);
        let (sent, took) = self.candidate.send(exchange, &trace_id).await;
        if let Some(why) = self.candidate.hopeless() {
            self.given_up.give_up(why);
        }
        let never_left = matches!(sent, Err(Failure::Harness(_)));
        let linger = if never_left { Duration::ZERO } else { self.linger };
        let seen = self.stub.close(&exchange.id.0, linger).await;
        let (response, failure) = match sent {
            Ok(mut response) => {
                redactor.response(None, &exchange.request, &mut response);
                (Some(response), None)
            }
            Err(failure) => (None, Some(failure)),
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Answer {
            id: exchange.id.clone(),
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            response,
            failure,
            calls: seen.calls,
            misses: seen.misses,
            hits: count(seen.hits),
            unused: count(seen.unused.len()),
            not_made: seen.unused.into_iter().map(count).collect(),
            assumed: count(seen.assumed),
            own_upstreams: self.stub.is_off(),
        }
    }
}
