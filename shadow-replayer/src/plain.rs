//! One HTTP request to a helper of the replay, such as a token endpoint: where the replay may go, and nowhere else.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use shadow_recorder::config::upstream::Origin;
use tokio::net::TcpStream;

use crate::allow::Allow;
use crate::target::Target;

/// Bytes read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends a request whose target is a path; returns the answer's status and body. No redirect is followed.
pub(crate) async fn ask(
    origin: &Origin,
    allow: &Allow,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let target = Target::resolve(origin).await.map_err(|error| text(&error))?;
    let (host, _) = origin.host_port();
    if let Some(address) = allow.forbidden(&host, &target.addresses) {
        return Err(format!("a replay may not go to {address}: add it to [replay] allow"));
    }
    let stream = TcpStream::connect(&*target.addresses).await.map_err(|error| text(&error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| text(&error))?;
    let mut asking = std::pin::pin!(async {
        let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| text(&*error))?.to_bytes()))
    });
    tokio::select! {
        answer = &mut asking => answer,
        // The connection may end before what it brought is read.
        _ = connection => asking.await,
    }
}
