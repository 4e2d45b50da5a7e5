//! What the stub answers: the recorded answer as the service saw it, or an error that says why there is none.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::Full;
use shadow_recorder::exchange::{End, Response, UpstreamCall};

use crate::request;

/// An answer of the stub.
pub(super) type Reply = http::Response<Full<Bytes>>;

/// Fields that described how the recorded bytes were carried.
const DESCRIBED: [&str; 4] =
    ["content-length", "content-encoding", "transfer-encoding", "connection"];

/// Returns the answer of a recorded call. A body that was not stored never comes here: it was made a miss, or is not ambient.
pub(super) fn recorded(call: &UpstreamCall) -> Reply {
    match &call.response {
        Some(Response { status, headers, body, .. }) if call.end == End::Complete => {
            let mut reply =
                http::Response::new(Full::new(request::content(body).unwrap_or_default()));
            *reply.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            for (name, value) in headers.iter().filter(|(name, _)| !DESCRIBED.contains(&&**name)) {
                let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(c).ok()).collect();
                if let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&bytes))
                {
                    reply.headers_mut().append(name, value);
                }
            }
            reply
        }
        // The recorder answered for an upstream that failed; the replay fails the same way.
        _ => error(StatusCode::BAD_GATEWAY, "production's call to this upstream failed"),
    }
}

/// Returns an answer of the stub's own.
pub(super) fn error(status: StatusCode, what: &str) -> Reply {
    let body = serde_json::json!({ "error": format!("shadow stub: {what}") });
    let mut reply = http::Response::new(Full::new(Bytes::from(body.to_string())));
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    reply
}
