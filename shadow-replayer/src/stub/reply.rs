//! What the stub answers: the recorded answer as the service saw it, failures included, or an error that says why there is none.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use shadow_recorder::exchange::{End, Response, UpstreamCall};

use crate::request;

/// An answer of the stub.
pub(super) type Reply = http::Response<Content>;

/// The connection ends, as it did in production.
#[derive(Debug, thiserror::Error)]
#[error("broken off as it was recorded")]
pub(super) struct Broken;

/// The content of an answer.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
    rest: Rest,
}

/// What follows the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Nothing,
    /// The connection breaks, once what was said before is sent …
    Break,
    /// … which it is by now.
    BreakNow,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match self.rest {
            Rest::Nothing => Poll::Ready(None),
            Rest::Break => {
                self.rest = Rest::BreakNow;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Rest::BreakNow => Poll::Ready(Some(Err(Broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.trailers.is_none() && self.rest == Rest::Nothing
    }

    fn size_hint(&self) -> SizeHint {
        if self.trailers.is_none() && self.rest == Rest::Nothing {
            SizeHint::with_exact(self.bytes.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}

/// Fields that described how the recorded bytes were carried.
const DESCRIBED: [&str; 4] =
    ["content-length", "content-encoding", "transfer-encoding", "connection"];

/// Returns the answer of a recorded call. A body that was not stored never comes here: it was made a miss, or is not ambient.
pub(super) fn recorded(call: &UpstreamCall) -> Reply {
    match &call.response {
        Some(response) => {
            let rest = if call.end == End::Complete { Rest::Nothing } else { Rest::Break };
            given(response, rest)
        }
        // The recorder answered in the place of the upstream.
        None => of_gateway(StatusCode::BAD_GATEWAY),
    }
}

/// Returns an answer as it was declared.
pub(super) fn assumed(response: &Response) -> Reply {
    given(response, Rest::Nothing)
}

fn given(response: &Response, rest: Rest) -> Reply {
    let Response { status, headers, body, trailers } = response;
    let bytes = request::content(body).unwrap_or_default();
    let trailers = (!trailers.is_empty()).then(|| fields(trailers));
    let mut reply = http::Response::new(Content { bytes, trailers, rest });
    *reply.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
    *reply.headers_mut() = fields(headers);
    for name in DESCRIBED {
        reply.headers_mut().remove(name);
    }
    reply
}

fn fields(recorded: &[(String, String)]) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(recorded.len());
    for (name, value) in recorded {
        let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(c).ok()).collect();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&bytes))
        {
            fields.append(name, value);
        }
    }
    fields
}

/// Returns the answer that the recorder gave in the place of an upstream that gave none.
fn of_gateway(status: StatusCode) -> Reply {
    plain(status, "text/plain; charset=utf-8", format!("{status}: answered by shadow-recorder\n"))
}

/// Returns the answer that opens a tunnel.
pub(super) fn opened() -> Reply {
    http::Response::new(Content::default())
}

/// Returns an answer of the stub's own.
pub(super) fn error(status: StatusCode, what: &str) -> Reply {
    let body = serde_json::json!({ "error": format!("shadow stub: {what}") });
    plain(status, "application/json", body.to_string())
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut reply = http::Response::new(Content { bytes: body.into(), ..Content::default() });
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}
