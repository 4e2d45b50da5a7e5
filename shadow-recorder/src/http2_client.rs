//! The service's side of HTTP/2: sends a request, passes interim answers on as they come, and returns the answer.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::hop_by_hop;
use crate::http2::{FAULTY_STREAMS_MAX, HEADER_LIST_BYTES_MAX, Pump};
use crate::http2_server::ClientStream;
use crate::link::INTERIM_BYTES_MAX;
use crate::received::Received;

/// What a service may send ahead in one stream.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// What a service may send ahead in all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 5 << 20;
/// What waits in one stream for a service that does not read.
const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Streams that are opened before the service has said how many it takes: as many as every one should (RFC 9113, section 6.5.2).
const FIRST_STREAMS_MAX: usize = 100;

/// Begins a connection to a service.
pub(crate) async fn begin<T>(io: T) -> Result<(SendRequest<Bytes>, Connection<T, Bytes>), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_max_send_streams(FIRST_STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_local_error_reset_streams(Some(FAULTY_STREAMS_MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .enable_push(false)
        .handshake(io)
        .await
}

/// Sends a request; its body goes on by itself, also when the answer has begun.
pub(crate) async fn send<B>(
    mut sender: SendRequest<Bytes>,
    request: Request<B>,
) -> Result<Response<Received>, h2::Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut head, body) = request.into_parts();
    let client = head.extensions.remove::<ClientStream>();
    let is_whole = body.is_end_stream();
    let (answer, sending) = sender.send_request(Request::from_parts(head, ()), is_whole)?;
    let service = ServiceStream { sending: Arc::new(Mutex::new(sending)), client: client.clone() };
    if !is_whole {
        let (mut pump, sending) = (Pump::new(body), Arc::clone(&service.sending));
        let mut sent = poll_fn(move |context| pump.poll(&mut lock(&sending), context));
        // A short one is mostly there, and needs no task.
        let is_sent = poll_fn(|context| Poll::Ready(Pin::new(&mut sent).poll(context).is_ready()));
        if !is_sent.await {
            tokio::spawn(sent);
        }
    }
    let answer = Awaited { answer, client, interim_bytes: 0, broken: None }.await?;
    Ok(answer.map(|body| Received::of_stream(body, Some(service))))
}

/// The service's end of an exchange. Where the client left before the answer's end, it is reset with the client's code.
#[derive(Debug)]
pub(crate) struct ServiceStream {
    sending: Arc<Mutex<SendStream<Bytes>>>,
    client: Option<ClientStream>,
}

impl Drop for ServiceStream {
    fn drop(&mut self) {
        if let Some(reason) = self.client.as_ref().and_then(ClientStream::left) {
            lock(&self.sending).send_reset(reason);
        }
    }
}

fn lock(sending: &Mutex<SendStream<Bytes>>) -> MutexGuard<'_, SendStream<Bytes>> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer to come, and interim ones before it.
struct Awaited {
    answer: ResponseFuture,
    client: Option<ClientStream>,
    /// Those passed on so far: a client that does not read cannot hold them up, as it can data.
    interim_bytes: usize,
    broken: Option<h2::Error>,
}

impl Future for Awaited {
    type Output = Result<Response<RecvStream>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let mut has_passed = false;
        let outcome = loop {
            match ready!(self.answer.poll_informational(context)) {
                // HTTP/2 knows no upgrade (RFC 9113, section 8.6).
                Some(Ok(interim)) if interim.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    break Err(Reason::PROTOCOL_ERROR.into());
                }
                Some(Ok(interim)) => {
                    has_passed = true;
                    self.pass(interim, context);
                }
                Some(Err(error)) => break Err(error),
                None => break ready!(Pin::new(&mut self.answer).poll(context)),
            }
        };
        match outcome {
            // One poll later, because a reset overtakes what waits to be sent.
            Err(error) if has_passed => {
                self.broken = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        }
    }
}

impl Awaited {
    fn pass(&mut self, mut interim: Response<()>, context: &mut Context<'_>) {
        // As HTTP/2 counts the size of a head (RFC 9113, section 6.5.2).
        let size = |name: &str, value: usize| 32 + name.len() + value;
        let fields = interim.headers().iter().map(|(name, value)| size(name.as_str(), value.len()));
        self.interim_bytes += size(":status", 3) + fields.sum::<usize>();
        if let Some(client) = &self.client
            && self.interim_bytes <= INTERIM_BYTES_MAX
        {
            hop_by_hop::strip_interim(interim.headers_mut());
            client.send_interim(interim, context);
        }
    }
}
