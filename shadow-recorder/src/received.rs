//! [`Received`]: a message's body as it comes from a connection, by whichever HTTP.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http2_client::ServiceStream;

/// A body that a connection reads.
#[derive(Debug)]
pub(crate) enum Received {
    Http1(Incoming),
    Http2(Stream),
}

/// The body of an HTTP/2 stream. h2 holds it to its `Content-Length` and breaks it off where no `END_STREAM` came.
#[derive(Debug)]
pub(crate) struct Stream {
    body: RecvStream,
    is_data_over: bool,
    /// Of an answer: what ends the stream to the service.
    _service: Option<ServiceStream>,
}

impl Received {
    /// Returns the body of a stream; `service` where it is an answer's.
    pub(crate) fn of_stream(body: RecvStream, service: Option<ServiceStream>) -> Self {
        Self::Http2(Stream { body, is_data_over: false, _service: service })
    }
}

impl Stream {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_data_over {
            if let Some(data) = ready!(self.body.poll_data(context)) {
                let data = data?;
                // Asked for only when the other side has taken what came before. Fails only on a stream that is over.
                let _ = self.body.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.is_data_over = true;
        }
        let trailers = ready!(self.body.poll_trailers(context))?;
        Poll::Ready(trailers.map(Frame::trailers).map(Ok))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Http2(stream) => stream.poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            // Nobody asks: HTTP/2 frames it, whatever its length.
            Self::Http2(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_http_1_is_hardly_larger_for_the_sake_of_http_2() {
        // It is moved with its message.
        assert!(size_of::<Received>() <= size_of::<Incoming>() + size_of::<usize>());
    }
}
