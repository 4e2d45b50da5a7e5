//! [`Sent`]: a request's body on its way to the service, whose end is noted, so that the client's end of the connection can follow it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

use crate::link::Link;

/// A request's body.
#[derive(Debug)]
pub(crate) struct Sent<B> {
    inner: B,
    link: Arc<Link>,
}

impl<B: Body> Sent<B> {
    pub(crate) fn new(inner: B, link: Arc<Link>) -> Self {
        let sent = Self { inner, link };
        sent.note_end(false);
        sent
    }

    fn note_end(&self, is_over: bool) {
        if is_over || self.inner.is_end_stream() {
            self.link.request_ended.store(true, Relaxed);
        }
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        self.note_end(frame.is_none());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
