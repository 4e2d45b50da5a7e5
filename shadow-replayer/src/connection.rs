//! The connections of a worker to its candidate: dialled to the addresses that were checked and to nothing else, kept alive, and used
//! again, the last one first, so that no more are open than were ever needed at once.
//!
//! A candidate may close a connection while it idles. A request is sent again over another connection only where hyper gives it back
//! as never sent; one of which a byte may have left is never repeated, because the candidate may have acted on it: that it did not
//! answer is then the candidate's failure. So that this stays rare, no connection is used again that idled for long.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a connection may have idled that is used again. Node.js closes one after 5 seconds, others wait longer.
const IDLE_MAX: Duration = Duration::from_secs(4);

type Sent = Request<Full<Bytes>>;

/// The connections to one candidate.
#[derive(Debug)]
pub(crate) struct Connections {
    addresses: Vec<SocketAddr>,
    idle: Mutex<Vec<Idle>>,
    /// The one connection of HTTP/2, which carries all requests.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

#[derive(Debug)]
struct Idle {
    connection: http1::SendRequest<Full<Bytes>>,
    since: Instant,
}

/// An answer's connection. It is kept when the answer was read to its end, else it is closed.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    connections: &'a Connections,
    connection: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Lease<'_> {
    /// Puts the connection back, after the answer's end.
    pub(crate) fn keep(self) {
        if let Some(connection) = self.connection {
            let since = Instant::now();
            self.connections.locked().push(Idle { connection, since });
        }
    }
}

impl Connections {
    /// Makes no connection yet.
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        let (idle, shared) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { addresses, idle, shared }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request by its version; returns the head of the answer.
    pub(crate) async fn send(
        &self,
        request: Sent,
    ) -> Result<(Response<Incoming>, Lease<'_>), String> {
        if request.version() == Version::HTTP_2 {
            let response = self.send_shared(request).await?;
            return Ok((response, Lease { connections: self, connection: None }));
        }
        let mut request = origin_form(request)?;
        while let Some(mut connection) = self.take_idle().await {
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let connection = Some(connection);
                    return Ok((response, Lease { connections: self, connection }));
                }
                Err(error) => request = never_sent(error)?,
            }
        }
        let mut connection = self.connect().await?;
        let sent = connection.send_request(request).await;
        let response = sent.map_err(|error| not_answered(&error))?;
        Ok((response, Lease { connections: self, connection: Some(connection) }))
    }

    /// Takes the connection that idled for the shortest time, if it is still open.
    async fn take_idle(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        loop {
            let Idle { mut connection, since } = self.locked().pop()?;
            if idled_too_long(since, Instant::now()) {
                // Those below idled for longer.
                self.locked().clear();
                return None;
            }
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, String> {
        let stream = self.dial().await?;
        let (connection, driven) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| not_answered(&error))?;
        // Whatever breaks it is told to the request that it carries.
        tokio::spawn(driven);
        Ok(connection)
    }

    async fn send_shared(&self, request: Sent) -> Result<Response<Incoming>, String> {
        let mut request = with_authority(request)?;
        // The first connection may have ended since it was last used; a second that ends at once is the candidate's failure.
        for _ in 0..2 {
            let mut connection = self.connect_shared().await?;
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => request = never_sent(error)?,
            }
            self.shared.lock().await.take();
        }
        Err("the candidate did not answer: it ends every HTTP/2 connection".into())
    }

    async fn connect_shared(&self) -> Result<http2::SendRequest<Full<Bytes>>, String> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &*shared
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let io = TokioIo::new(self.dial().await?);
        let (connection, driven) = http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(|error| not_answered(&error))?;
        tokio::spawn(driven);
        Ok(shared.insert(connection).clone())
    }

    async fn dial(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(&*self.addresses)
            .await
            .map_err(|error| format!("the candidate cannot be reached: {error}"))?;
        // Without it a small request waits for the acknowledgement of the one before.
        stream
            .set_nodelay(true)
            .map_err(|error| format!("the candidate cannot be reached: {error}"))?;
        Ok(stream)
    }
}

fn idled_too_long(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) > IDLE_MAX
}

/// Returns the request of a failure where no byte of it was sent, else the failure.
fn never_sent(mut error: TrySendError<Sent>) -> Result<Sent, String> {
    error.take_message().ok_or_else(|| not_answered(error.error()))
}

fn not_answered(error: &hyper::Error) -> String {
    format!("the candidate did not answer: {}", crate::client::chain(error))
}

/// HTTP/1.1 names the host in a field of its own and only the path in the first line.
fn origin_form(mut request: Sent) -> Result<Sent, String> {
    let path = request.uri().path_and_query().cloned();
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
    {
        let host = HeaderValue::from_str(authority.as_str());
        request.headers_mut().insert(HOST, host.map_err(|_| "the host cannot be sent")?);
    }
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(request)
}

/// HTTP/2 names the host in the target.
fn with_authority(mut request: Sent) -> Result<Sent, String> {
    let Some(host) = request.headers_mut().remove(HOST) else { return Ok(request) };
    let cannot = || "the recorded field host cannot be sent over HTTP/2".to_owned();
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(host.as_bytes().try_into().map_err(|_| cannot())?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| cannot())?;
    Ok(request)
}

#[cfg(test)]
mod tests;
