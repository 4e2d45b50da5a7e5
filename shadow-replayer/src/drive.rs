//! One exchange, from its recording to the candidate's answer: opened at the stub, sent, closed, and redacted as the recording is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shadow_recorder::clock;
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{Exchange, Response, header};
use shadow_recorder::redact::Redactor;
use tokio::time::Instant;

use crate::answer::{Answer, Failure};
use crate::client::Candidate;
use crate::given_up::GivenUp;
use crate::pace::{self, Pacer};
use crate::run::RunId;
use crate::stub::{Seen, Stub};

/// A candidate, with the stub that is its upstreams and the clock that says when it is asked.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) candidate: Candidate,
    pub(crate) stub: Stub,
    pub(crate) linger: Duration,
    /// Tells the trace ids of one build in a run from those of another; empty for the candidate.
    pub(crate) role: &'static str,
    pub(crate) given_up: GivenUp,
    pub(crate) pacer: Arc<Pacer>,
    /// How often an exchange is sent again that the candidate refuses for now.
    pub(crate) tries_max: u32,
}

/// What happened to the pace when an exchange was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paced {
    pub(crate) late: bool,
    pub(crate) backoffs: u32,
}

impl Driver {
    /// Asks the candidate what production was asked, at an exchange that was due then; again where it refuses for now.
    pub(crate) async fn answer(
        &self,
        run: &RunId,
        exchange: &Arc<Exchange>,
        redactor: &Arc<Redactor>,
        mut due: Instant,
    ) -> (Answer, Paced) {
        let digest = sha256(format!("{run}{} {}", self.role, exchange.id));
        let trace_id = &digest[..32];
        let drawn = u8::from_str_radix(&digest[32..34], 16).unwrap_or(0);
        let mut paced = Paced { late: self.pacer.is_late(due), backoffs: 0 };
        loop {
            let (sent, seen) = self.ask(exchange, trace_id, redactor).await;
            let took = due.elapsed();
            if let Some(refusal) = refused(exchange, &sent, &seen)
                && paced.backoffs < self.tries_max
                && let Some(resume_at) =
                    self.pacer.hold(pace::pause(paced.backoffs + 1, refusal.asked, drawn))
            {
                paced.backoffs += 1;
                tokio::time::sleep_until(resume_at).await;
                due = resume_at;
                continue;
            }
            let own_upstreams = self.stub.is_off();
            let answer = answer(exchange, sent, seen, took, redactor);
            return (Answer { own_upstreams, ..answer }, paced);
        }
    }

    async fn ask(
        &self,
        exchange: &Arc<Exchange>,
        trace_id: &str,
        redactor: &Arc<Redactor>,
    ) -> (Result<Response, Failure>, Seen) {
        self.stub.open(&exchange.id.0, trace_id, exchange, redactor);
        let sent = self.candidate.send(exchange, trace_id).await;
        if let Some(why) = self.candidate.hopeless() {
            self.given_up.give_up(why);
        }
        // What never left causes no calls, and what was refused causes no late ones.
        let waits = match &sent {
            Ok(response) => !matches!(response.status, 429 | 503),
            Err(failure) => !matches!(failure, Failure::Harness(_)),
        };
        let linger = if waits { self.linger } else { Duration::ZERO };
        let seen = self.stub.close(&exchange.id.0, linger).await;
        let succeeded = sent.as_ref().is_ok_and(|response| response.status < 400);
        if succeeded && let Some(why) = self.stub.answered(exchange) {
            self.given_up.give_up(why);
        }
        (sent, seen)
    }
}

fn answer(
    exchange: &Exchange,
    sent: Result<Response, Failure>,
    seen: Seen,
    took: Duration,
    redactor: &Redactor,
) -> Answer {
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
        own_upstreams: false,
    }
}

/// The candidate does not want an exchange for now.
struct Refusal {
    /// How long it asks to wait.
    asked: Option<Duration>,
}

/// Returns whether the candidate refused an exchange for now: it says so where production did not, and it had not begun, for it called
/// no upstream.
fn refused(exchange: &Exchange, sent: &Result<Response, Failure>, seen: &Seen) -> Option<Refusal> {
    let response = sent.as_ref().ok().filter(|response| matches!(response.status, 429 | 503))?;
    let recorded = exchange.response.as_ref().map(|recorded| recorded.status);
    let begun = seen.hits > 0 || !seen.calls.is_empty() || !seen.misses.is_empty();
    if begun || recorded == Some(response.status) {
        return None;
    }
    let asked = header(&response.headers, "retry-after");
    Some(Refusal { asked: asked.and_then(|text| retry_after(text, clock::now())) })
}

/// Reads the field `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-06T08:49:30Z".parse().unwrap();
        let seconds = |text| retry_after(text, now).map(|asked| asked.as_secs());
        assert_eq!(seconds(" 120"), Some(120));
        assert_eq!(seconds("Fri, 06 Nov 2026 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Fri, 06 Nov 2026 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
    }
}
