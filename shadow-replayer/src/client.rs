//! Sends one recorded request to the candidate, and to nothing else: no redirect is followed, no proxy is asked.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
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
use shadow_recorder::{body, redact};
use tower::Service;

use crate::answer::Failure;
use crate::config::candidate::CandidateRules;
use crate::request::Maker;
use crate::run::RunId;
use crate::target::Target;

/// A client of one candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    client: Client<HttpConnector<Pinned>, Full<Bytes>>,
    maker: Maker,
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
        let mut connector = HttpConnector::new_with_resolver(Pinned(target.addresses));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).set_host(false).build(connector);
        let maker = Maker { origin: target.origin, run, rules };
        Self { client, maker, timeout, body_bytes_max }
    }

    /// Sends the request of an exchange; returns the answer, or whose fault it is that there is none, and the time it took.
    pub async fn send(
        &self,
        exchange: &Exchange,
        trace_id: &str,
    ) -> (Result<Response, Failure>, Duration) {
        let request = match self.maker.request(exchange, trace_id) {
            Ok(request) => request,
            Err(why) => return (Err(Failure::Harness(why)), Duration::ZERO),
        };
        let start = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(format!("the candidate did not answer within {:?}", self.timeout))
        });
        (answer.map_err(Failure::Candidate), start.elapsed())
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
