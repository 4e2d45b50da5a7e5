//! The client's side of HTTP/2: accepts streams, and answers each by a task of its own.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::client_io::ClientIo;
use crate::connection::Inner;
use crate::front::Front;
use crate::http2::{FAULTY_STREAMS_MAX, HEADER_LIST_BYTES_MAX, Pump, reason_of};
use crate::pinned::NoAnswer;
use crate::received::Received;

/// Streams of one connection at once.
const STREAMS_MAX: u32 = 256;
/// What a client may send ahead, in one stream and in all of a connection.
const WINDOW_BYTES: u32 = 1 << 20;
/// What waits in one stream for a client that does not read.
const SEND_BUFFER_BYTES_MAX: usize = 400 << 10;

/// A client's connection.
pub(crate) struct Server<S> {
    state: State,
    service: Front<S>,
    streams: TaskTracker,
    is_ending: bool,
}

enum State {
    Greeting(Handshake<ClientIo, Bytes>),
    Open(Connection<ClientIo, Bytes>),
}

impl<S: Inner> Server<S> {
    pub(crate) fn new(io: ClientIo, service: Front<S>) -> Self {
        let greeting = Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_local_error_reset_streams(Some(FAULTY_STREAMS_MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .handshake(io);
        Self {
            state: State::Greeting(greeting),
            service,
            streams: TaskTracker::new(),
            is_ending: false,
        }
    }

    /// Takes no more streams than have begun (GOAWAY).
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
        if let State::Open(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
    }

    /// Is ready when the connection is over.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Greeting(greeting) => {
                    let Ok(mut connection) = ready!(Pin::new(greeting).poll(context)) else {
                        return Poll::Ready(());
                    };
                    if self.is_ending {
                        connection.graceful_shutdown();
                    }
                    self.state = State::Open(connection);
                }
                State::Open(connection) => match ready!(connection.poll_accept(context)) {
                    Some(Ok((request, answer))) => self.begin(request, answer),
                    Some(Err(_)) | None => return Poll::Ready(()),
                },
            }
        }
    }

    /// Closes the connection, and returns its streams, which end by that.
    pub(crate) fn close(self) -> TaskTracker {
        self.streams.close();
        self.streams
    }

    fn begin(&mut self, request: Request<RecvStream>, answer: SendResponse<Bytes>) {
        let client = ClientStream::new(answer);
        let mut request = request.map(|body| Received::of_stream(body, None));
        request.extensions_mut().insert(client.clone());
        self.streams.spawn(client.answer(self.service.call(request)));
    }
}

/// The client's end of an exchange, where interim answers go, and which knows why the client left.
#[derive(Clone, Debug)]
pub(crate) struct ClientStream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    answer: Mutex<SendResponse<Bytes>>,
    left: OnceLock<Reason>,
}

impl ClientStream {
    fn new(answer: SendResponse<Bytes>) -> Self {
        Self(Arc::new(Shared { answer: Mutex::new(answer), left: OnceLock::new() }))
    }

    /// Returns the code by which the client left before the end of the answer.
    pub(crate) fn left(&self) -> Option<Reason> {
        self.0.left.get().copied()
    }

    /// Sends an interim answer (RFC 9110, section 15.2), before the answer.
    pub(crate) fn send_interim(&self, interim: Response<()>, context: &mut Context<'_>) {
        let mut answer = self.lock();
        // Nothing may be sent on a stream that was reset.
        if answer.poll_reset(context).is_pending() {
            // It fails for fields that belong to a connection, and those are removed.
            let _ = answer.send_informational(interim);
        }
    }

    /// Answers, or ends the stream as the service's ended.
    async fn answer<B>(self, answer: impl Future<Output = Result<Response<B>, NoAnswer>>)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Dropped at the end, when it is known why: its drop ends the service's stream.
        let mut answer = pin!(answer);
        let answered = std::future::poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => self.poll_left(context).map(|()| None),
        });
        let response = match answered.await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return self.lock().send_reset(reason_of(&error)),
            None => return,
        };
        let (mut head, body) = response.into_parts();
        head.headers.remove(CONNECTION);
        let is_whole = body.is_end_stream();
        // The proxy's own answers have a length.
        if let Some(length) = body.size_hint().exact().filter(|_| !is_whole) {
            head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        let mut pump = Pump::new(body);
        let response = Response::from_parts(head, ());
        let Some(mut sending) = self.send_head(response, is_whole) else { return };
        if !is_whole {
            let sent = std::future::poll_fn(|context| pump.poll(&mut sending, context));
            if let Some(reason) = sent.await {
                self.leave(reason);
            }
        }
    }

    fn send_head(&self, response: Response<()>, is_whole: bool) -> Option<SendStream<Bytes>> {
        let mut answer = self.lock();
        let sending = answer.send_response(response, is_whole);
        if sending.is_err() {
            self.leave(Reason::INTERNAL_ERROR);
            answer.send_reset(Reason::INTERNAL_ERROR);
        }
        sending.ok()
    }

    fn poll_left(&self, context: &mut Context<'_>) -> Poll<()> {
        // The end of the connection has no code.
        self.lock().poll_reset(context).map(|reset| self.leave(reset.unwrap_or(Reason::CANCEL)))
    }

    fn leave(&self, reason: Reason) {
        let _ = self.0.left.set(reason);
    }

    fn lock(&self) -> MutexGuard<'_, SendResponse<Bytes>> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
