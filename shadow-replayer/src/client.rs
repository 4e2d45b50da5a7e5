//! Sends one recorded request to the candidate, and to nothing else: no redirect is followed, no proxy is asked.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderMap;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use shadow_recorder::exchange::{Exchange, Omission, Response};
use shadow_recorder::{body, clock, redact};
use tower::Service;

use crate::answer::Failure;
use crate::config::candidate::CandidateRules;
use crate::credential::Credentials;
use crate::request::{Maker, Moment};
use crate::run::RunId;
use crate::target::Target;

/// A client of one candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    client: Client<HttpConnector<Pinned>, Full<Bytes>>,
    maker: Maker,
    target: Target,
    credentials: Option<Arc<Credentials>>,
    /// Requests that production accepted, and that were refused here or had no credential.
    refused: Arc<AtomicU64>,
    timeout: Duration,
    body_bytes_max: usize,
}

/// Resolves every name to what was checked.
#[derive(Clone, Debug)]
struct Pinned(Vec<SocketAddr>);

impl Service<Name> for Pinned {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

impl Candidate {
    /// Makes a client; nothing is connected yet.
    pub fn new(
        target: Target,
        rules: CandidateRules,
        run: RunId,
        timeout: Duration,
        body_bytes_max: usize,
    ) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Pinned(target.addresses.clone()));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).set_host(false).build(connector);
        let issue = rules.authentication.issue.clone();
        let credentials = issue.map(|issue| Arc::new(Credentials::new(issue)));
        let maker = Maker { origin: target.origin.clone(), run, rules };
        let refused = Arc::default();
        Self { client, maker, target, credentials, refused, timeout, body_bytes_max }
    }

    /// Sends the request of an exchange; returns the answer, or whose fault it is that there is none, and the time it took.
    pub async fn send(
        &self,
        exchange: &Exchange,
        trace_id: &str,
    ) -> (Result<Response, Failure>, Duration) {
        let request = match self.request(exchange, trace_id).await {
            Ok(request) => request,
            Err(why) => return (Err(Failure::Harness(why)), Duration::ZERO),
        };
        let start = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(format!("the candidate did not answer within {:?}", self.timeout))
        });
        let status = |answer: &Response| answer.status;
        let accepted = exchange.response.as_ref().is_some_and(|answer| status(answer) < 400);
        if accepted && matches!(answer.as_ref().map(status), Ok(401 | 403)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        (answer.map_err(Failure::Candidate), start.elapsed())
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
        self.maker.request(exchange, &moment)
    }

    async fn answer(&self, request: http::Request<Full<Bytes>>) -> Result<Response, String> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| format!("the candidate did not answer: {}", chain(&error)))?;
        let (head, incoming) = answer.into_parts();
        let coding = coding(&head.headers);
        let (body, trailers) = match Limited::new(incoming, self.body_bytes_max).collect().await {
            Ok(whole) => {
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
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
