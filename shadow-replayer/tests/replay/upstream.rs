//! Calls that a candidate makes to its upstreams.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::candidate::Asked;

/// A call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// In the form in which it is sent.
    pub(crate) target: String,
    pub(crate) host: &'static str,
    pub(crate) body: String,
    pub(crate) http2: bool,
}

impl Call {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        let (target, body) = (target.into(), String::new());
        Self { method: "GET", target, host: "fx.internal", body, http2: false }
    }

    pub(crate) fn post(target: impl Into<String>, body: impl Into<String>) -> Self {
        Self { method: "POST", body: body.into(), ..Self::get(target) }
    }

    /// Makes the call for a request, whose trace context it carries; returns the status and the body, or how it failed.
    pub(crate) async fn send(
        self,
        to: SocketAddr,
        asked: &Asked,
    ) -> Result<(u16, String), hyper::Error> {
        let mut request = http::Request::builder().method(self.method).uri(&self.target);
        if self.http2 {
            request = request.version(http::Version::HTTP_2);
        } else {
            request = request.header("host", self.host);
        }
        for name in ["traceparent", "tracestate"] {
            request = request.header(name, asked.header(name).unwrap());
        }
        let request = request.body(Full::new(Bytes::from(self.body))).unwrap();
        let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let answer = if self.http2 {
            let (mut sender, connection) =
                conn::http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }
}
