//! [`Sent`]: a request's body on its way to the service. It waits where the client waits for leave to send it (RFC 9110, section 10.1.1).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http_body::{Body, Frame, SizeHint};

use crate::link::Link;

/// Opens when the service said `100 Continue`. The answer itself opens nothing: the client may never send the body then.
#[derive(Debug, Default)]
pub(crate) struct Leave {
    is_given: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Leave {
    pub(crate) fn give(&self) {
        self.is_given.store(true, Relaxed);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) struct Sent<B> {
    inner: B,
    link: Arc<Link>,
    leave: Option<Arc<Leave>>,
}

impl<B: Body> Sent<B> {
    /// Sends `inner`, after `leave` where there is one.
    pub(crate) fn new(inner: B, link: Arc<Link>, leave: Option<Arc<Leave>>) -> Self {
        let sent = Self { inner, link, leave };
        sent.note_end();
        sent
    }

    fn note_end(&self) {
        if self.inner.is_end_stream() {
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
        if let Some(leave) = &self.leave {
            // A client that sends without leave has waited long enough.
            let may = leave.is_given.load(Relaxed) || self.link.data_waits.load(Relaxed);
            if !may {
                *leave.waker.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(context.waker().clone());
                return Poll::Pending;
            }
            self.leave = None;
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() {
            self.link.request_ended.store(true, Relaxed);
        } else {
            self.note_end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
