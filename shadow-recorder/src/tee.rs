//! [`Tee`]: a body that passes on frame by frame while a bounded copy of it is kept, and that ends exactly once.
//!
//! Whatever happens to the copy, the original goes on: over a limit the copy is discarded and only its length is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body;
use crate::capture::Held;
use crate::exchange;
use crate::exchange::Omission;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was read to its end.
    Complete,
    /// Its reader dropped it before its end.
    Aborted,
    /// Its source broke off.
    Failed,
}

/// Bytes of copied bodies held in memory at once, over all exchanges.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max })
    }

    /// Returns the bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The bounded copy of a body.
#[derive(Debug)]
pub(crate) struct Copied {
    bytes: Vec<u8>,
    wire_bytes: u64,
    lost: Option<Lost>,
    ending: Ending,
    memory: Arc<Memory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    OverLimit,
    OutOfMemory,
}

impl Copied {
    fn new(memory: Arc<Memory>) -> Self {
        Self { bytes: Vec::new(), wire_bytes: 0, lost: None, ending: Ending::Aborted, memory }
    }

    /// Returns how the original ended.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// Returns whether the copy was given up because all copies together held too much memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.lost == Some(Lost::OutOfMemory)
    }

    /// Returns what is stored of the body.
    pub(crate) fn body(&self, coding: Option<&str>, bytes_max: usize) -> exchange::Body {
        match (self.lost, self.ending) {
            (Some(_), _) => body::omitted(Omission::OverLimit, coding, self.wire_bytes),
            (None, Ending::Complete) => body::decode(&self.bytes, coding, bytes_max),
            (None, _) => body::omitted(Omission::Truncated, coding, self.wire_bytes),
        }
    }

    fn push(&mut self, bytes: &[u8], bytes_max: usize) {
        self.wire_bytes += bytes.len() as u64;
        if self.lost.is_some() {
            return;
        }
        if self.bytes.len() + bytes.len() > bytes_max {
            self.give_up(Lost::OverLimit);
        } else if !self.memory.take(bytes.len()) {
            self.give_up(Lost::OutOfMemory);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn give_up(&mut self, lost: Lost) {
        self.lost = Some(lost);
        self.memory.give_back(self.bytes.len());
        self.bytes = Vec::new();
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes.len());
    }
}

/// Receives the copy, once.
pub(crate) type OnEnd = Box<dyn FnOnce(Copied) + Send>;

/// A body of which a copy is kept.
pub(crate) struct Tee<B: Body> {
    inner: B,
    failure: Option<B::Error>,
    copying: Option<Copying>,
    /// What ends with the body, where it is not copied.
    _held: Option<Held>,
}

struct Copying {
    copied: Copied,
    bytes_max: usize,
    on_end: OnEnd,
}

impl<B: Body> Tee<B> {
    /// Copies `inner` up to `bytes_max`; `on_end` is called exactly once, at the latest when the body is dropped.
    pub(crate) fn new(inner: B, bytes_max: usize, memory: &Arc<Memory>, on_end: OnEnd) -> Self {
        let copying = Copying { copied: Copied::new(Arc::clone(memory)), bytes_max, on_end };
        let mut tee = Self { inner, failure: None, copying: Some(copying), _held: None };
        tee.end_if_complete();
        tee
    }

    /// Passes `inner` on without a copy.
    pub(crate) fn uncopied(inner: B) -> Self {
        Self { inner, failure: None, copying: None, _held: None }
    }

    /// Passes `inner` on without a copy, and holds an exchange until its end.
    pub(crate) fn holding(inner: B, held: Held) -> Self {
        Self { inner, failure: None, copying: None, _held: Some(held) }
    }

    // A reader that knows the length does not ask for the end, so the end is noticed as soon as it is known.
    fn end_if_complete(&mut self) {
        if self.inner.is_end_stream() {
            self.end(Ending::Complete);
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(Copying { mut copied, on_end, .. }) = self.copying.take() {
            copied.ending = ending;
            on_end(copied);
        }
    }
}

impl<B: Body> Drop for Tee<B> {
    fn drop(&mut self) {
        self.end(Ending::Aborted);
    }
}

impl<B> Body for Tee<B>
where
    B: Body<Data = Bytes, Error: Unpin> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => {
                if let (Some(copying), Some(data)) = (&mut self.copying, frame.data_ref()) {
                    copying.copied.push(data, copying.bytes_max);
                }
                self.end_if_complete();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.end(Ending::Failed);
                // One poll later, so that hyper sends on what came before the failure: an error makes it drop its buffer.
                self.failure = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.end(Ending::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, Full, StreamBody};
    use std::sync::Mutex;

    type Ended = Arc<Mutex<Vec<(Ending, u64, Option<String>)>>>;

    fn tee<B: Body>(inner: B, bytes_max: usize, memory: &Arc<Memory>) -> (Tee<B>, Ended) {
        let ended = Ended::default();
        let log = Arc::clone(&ended);
        let on_end = Box::new(move |copied: Copied| {
            let entry = (copied.ending, copied.wire_bytes, copied.body(None, 100).text);
            log.lock().unwrap().push(entry);
        });
        (Tee::new(inner, bytes_max, memory, on_end), ended)
    }

    fn frames(
        parts: Vec<Result<&'static str, &'static str>>,
    ) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
        let frames = parts.into_iter().map(|part| part.map(|t| Frame::data(Bytes::from(t))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_whole_body_is_copied_and_ends_once() {
        let memory = Memory::new(100);
        let (tee, ended) = tee(frames(vec![Ok("ab"), Ok("c")]), 10, &memory);
        assert_eq!(tee.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(*ended.lock().unwrap(), [(Ending::Complete, 3, Some("abc".into()))]);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn an_empty_body_is_complete_at_once() {
        let (_tee, ended) = tee(Full::<Bytes>::default(), 10, &Memory::new(100));
        assert_eq!(*ended.lock().unwrap(), [(Ending::Complete, 0, Some(String::new()))]);
    }

    #[tokio::test]
    async fn over_a_limit_the_original_goes_on() {
        for (bytes_max, memory) in [(4, Memory::new(100)), (100, Memory::new(4))] {
            let (tee, ended) = tee(frames(vec![Ok("abc"), Ok("def"), Ok("g")]), bytes_max, &memory);
            assert_eq!(tee.collect().await.unwrap().to_bytes(), "abcdefg");
            assert_eq!(*ended.lock().unwrap(), [(Ending::Complete, 7, None)]);
            assert_eq!(memory.used(), 0);
        }
    }

    #[tokio::test]
    async fn a_broken_body_breaks_off_for_the_reader_too() {
        let (mut tee, ended) = tee(frames(vec![Ok("ab"), Err("reset")]), 10, &Memory::new(100));
        tee.frame().await.unwrap().unwrap();
        // Time to send on what came before the failure.
        assert!(tee.frame().now_or_never().is_none());
        assert_eq!(tee.frame().await.unwrap().unwrap_err(), "reset");
        assert_eq!(*ended.lock().unwrap(), [(Ending::Failed, 2, None)]);
    }

    #[tokio::test]
    async fn a_dropped_body_is_aborted() {
        let (mut tee, ended) = tee(frames(vec![Ok("ab"), Ok("c")]), 10, &Memory::new(100));
        tee.frame().await.unwrap().unwrap();
        drop(tee);
        assert_eq!(*ended.lock().unwrap(), [(Ending::Aborted, 2, None)]);
    }
}
