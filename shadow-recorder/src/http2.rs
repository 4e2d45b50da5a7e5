//! What both sides of an HTTP/2 exchange have in common: sending a body as the windows allow, and why a stream ended.
//!
//! By h2 itself rather than by hyper, which passes no interim answers on, and makes CANCEL of every code.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

/// The fields of one head: 64 KiB, as HTTP/1 heads have in practice.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Streams that may be reset for what the peer did wrong in them, before its connection ends.
pub(crate) const FAULTY_STREAMS_MAX: usize = 1024;

/// A body on its way into a stream, one frame of it in hand at most.
#[derive(Debug)]
pub(crate) struct Pump<B> {
    body: B,
    /// What waits for the window, and whether it is the last.
    held: Option<(Bytes, bool)>,
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(body: B) -> Self {
        Self { body, held: None }
    }

    /// Is ready when nothing is left to send; with the reason where the peer takes no more.
    pub(crate) fn poll(
        &mut self,
        to: &mut SendStream<Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Reason>> {
        loop {
            if let Poll::Ready(reset) = to.poll_reset(context) {
                // The end of the connection has no code.
                return Poll::Ready(Some(reset.unwrap_or(Reason::CANCEL)));
            }
            if let Some((data, is_last)) = self.held.take() {
                if !data.is_empty() && to.capacity() == 0 && to.poll_capacity(context).is_pending()
                {
                    self.held = Some((data, is_last));
                    return Poll::Pending;
                }
                if to.send_data(data, is_last).is_err() {
                    return Poll::Ready(Some(Reason::CANCEL));
                }
                if is_last {
                    return Poll::Ready(None);
                }
                continue;
            }
            // Asked for before there is room: room that is reserved for nothing keeps other streams waiting.
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        // h2 asks for the rest when it has the data.
                        to.reserve_capacity(data.len().min(1));
                        self.held = Some((data, self.body.is_end_stream()));
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        to.reserve_capacity(0);
                        if to.send_trailers(trailers).is_err() {
                            to.send_reset(Reason::INTERNAL_ERROR);
                        }
                        return Poll::Ready(None);
                    }
                },
                Some(Err(error)) => {
                    let error: Box<dyn Error + Send + Sync> = error.into();
                    to.send_reset(reason_of(&*error));
                    return Poll::Ready(None);
                }
                None => self.held = Some((Bytes::new(), true)),
            }
        }
    }
}

/// Returns the code by which a stream ends for this error: the one by which the other side's ended.
pub(crate) fn reason_of(error: &(dyn Error + 'static)) -> Reason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason;
        }
        cause = error.source();
    }
    Reason::INTERNAL_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned::NoAnswer;

    #[test]
    fn a_code_is_found_however_deep() {
        let reset = h2::Error::from(Reason::REFUSED_STREAM);
        assert_eq!(reason_of(&NoAnswer::Http2(reset)), Reason::REFUSED_STREAM);
        assert_eq!(reason_of(&std::io::Error::other("gone")), Reason::INTERNAL_ERROR);
    }
}
