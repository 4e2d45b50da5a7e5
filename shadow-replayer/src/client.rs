//! Sends one recorded request to the candidate, and to nothing else: no redirect is followed, no proxy is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use shadow_recorder::exchange::{Exchange, Omission, Response};
use shadow_recorder::{body, clock, redact};

use crate::answer::Failure;
use crate::carrying::Carrying;
use crate::config::candidate::CandidateRules;
use crate::config::http::Http;
use crate::connection::Connections;
use crate::credential::Credentials;
use crate::request::{Maker, Moment};
use crate::run::RunId;
use crate::target::Target;

/// A client of one candidate.
#[derive(Debug)]
pub struct Candidate {
    connections: Connections,
    http: Http,
    maker: Maker,
    target: Target,
    carrying: Carrying,
    credentials: Option<Arc<Credentials>>,
    /// Requests that production accepted, and that were refused here or had no credential.
    refused: Arc<AtomicU64>,
    timeout: Duration,
    body_bytes_max: usize,
}

impl Candidate {
    /// Makes a client; nothing is connected yet.
    pub fn new(
        target: Target,
        rules: CandidateRules,
        http: Http,
        run: RunId,
        timeout: Duration,
        body_bytes_max: usize,
    ) -> Self {
        let connections = Connections::new(target.addresses.clone());
        let issue = rules.authentication.issue.clone();
        let credentials = issue.map(|issue| Arc::new(Credentials::new(issue)));
        let carrying = Carrying::new(rules.carry.clone());
        let maker = Maker { origin: target.origin.clone(), run, rules };
        let refused = Arc::default();
        Self {
            connections,
            http,
            maker,
            target,
            carrying,
            credentials,
            refused,
            timeout,
            body_bytes_max,
        }
    }

    /// Sends the request of an exchange; returns the answer, or whose fault it is that there is none.
    pub async fn send(&self, exchange: &Exchange, trace_id: &str) -> Result<Response, Failure> {
        let mut request = self.request(exchange, trace_id).await.map_err(Failure::Harness)?;
        *request.version_mut() = self.http.version(&exchange.request.version);
        let answer = tokio::time::timeout(self.timeout, self.answer(exchange, request)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(format!("the candidate did not answer within {:?}", self.timeout))
        });
        if let Ok(answer) = &answer {
            self.carrying.learn(exchange, answer);
        }
        let status = |answer: &Response| answer.status;
        let accepted = exchange.response.as_ref().is_some_and(|answer| status(answer) < 400);
        if accepted && matches!(answer.as_ref().map(status), Ok(401 | 403)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        answer.map_err(Failure::Candidate)
    }

    /// Returns where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns why it is no use to go on: too many credentials were refused.
    pub fn hopeless(&self) -> Option<String> {
        let refused = self.refused.load(Ordering::Relaxed);
        (refused >= self.maker.rules.authentication.refusals_max).then(|| {
            format!(
                "the candidate refused the credentials of {refused} exchanges that production accepted, or there were none: see [replay.authentication]; its refusals_max says at how many a run stops"
            )
        })
    }

    async fn request(
        &self,
        exchange: &Exchange,
        trace_id: &str,
    ) -> Result<http::Request<Full<Bytes>>, String> {
        let now = clock::now();
        let credential = match &self.credentials {
            Some(credentials) => credentials.of(exchange.request.principal.as_deref(), now).await?,
            None => None,
        };
        let moment = Moment { trace_id: trace_id.to_owned(), now, credential };
        self.maker.request(&self.carrying.applied(exchange), &moment)
    }

    async fn answer(
        &self,
        exchange: &Exchange,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Response, String> {
        let (answer, lease) = self.connections.send(request).await?;
        let (head, incoming) = answer.into_parts();
        self.carrying.learn_cookies(exchange, &head.headers);
        let coding = coding(&head.headers);
        let (body, trailers) = match Limited::new(incoming, self.body_bytes_max).collect().await {
            Ok(whole) => {
                lease.keep();
                let trailers = whole.trailers().map(redact::recorded).unwrap_or_default();
                let coding = coding.as_deref();
                (body::decode(&whole.to_bytes(), coding, self.body_bytes_max), trailers)
            }
            Err(error) if error.is::<LengthLimitError>() => {
                let bytes = self.body_bytes_max as u64;
                (body::omitted(Omission::OverLimit, coding.as_deref(), bytes), Vec::new())
            }
            Err(error) => {
                return Err(format!("the candidate broke off its answer: {}", chain(&*error)));
            }
        };
        Ok(Response {
            status: head.status.as_u16(),
            headers: redact::recorded(&head.headers),
            body,
            trailers,
        })
    }
}

/// Returns the content codings of a message, joined as one field.
pub(crate) fn coding(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all("content-encoding")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Writes an error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
