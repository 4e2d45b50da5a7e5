//! [`Tee`]: a body that passes on frame by frame while a bounded copy of it and of its trailers is kept, and that ends exactly once.
//!
//! Whatever happens to the copy, the original goes on: over a limit the copy is discarded and only its length is counted.
//!
//! Bytes are copied and not kept as handles. A frame is a view into the buffer that its connection reads into (hyper: 8 KiB to
//! 400 KiB; a body of 200 bytes would hold all of it), and its size cannot be asked for, so no account of handles is right. Nor do they save
//! time: a connection whose buffer is held allocates another, which measured as much as the copy does, from 200 bytes to 400 KB.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::body;
use crate::capture::Held;
use crate::exchange::{self, Omission};
use crate::head::Head;

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

/// Bytes of copies held in memory at once, over all exchanges.
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

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one copy holds of the memory; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// Takes more; `false`, and nothing is taken, where there is no more.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let before = self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.memory.bytes_max;
        if fits {
            self.bytes += bytes;
        } else {
            self.memory.give_back(bytes);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

/// The bounded copy of a body and its trailers.
#[derive(Debug)]
pub(crate) struct Copied {
    bytes: Vec<u8>,
    trailers: Head,
    wire_bytes: u64,
    lost: Option<Lost>,
    ending: Ending,
    share: Share,
}

// The later outweighs the earlier: it costs the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    OverLimit,
    OutOfMemory,
}

impl Copied {
    fn new(memory: &Arc<Memory>) -> Self {
        Self {
            bytes: Vec::new(),
            trailers: Head::default(),
            wire_bytes: 0,
            lost: None,
            ending: Ending::Aborted,
            share: Share::new(memory),
        }
    }

    /// Returns how the original ended.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// Returns whether the copy was given up because all copies together held too much memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.lost == Some(Lost::OutOfMemory)
    }

    /// Returns what is stored of the body: what `read` makes of it where it is whole.
    pub(crate) fn body(
        &self,
        coding: Option<&str>,
        read: impl FnOnce(&[u8]) -> exchange::Body,
    ) -> exchange::Body {
        match (self.lost, self.ending) {
            (Some(_), _) => body::omitted(Omission::OverLimit, coding, self.wire_bytes),
            (None, Ending::Complete) => read(&self.bytes),
            (None, _) => body::omitted(Omission::Truncated, coding, self.wire_bytes),
        }
    }

    /// Returns the trailers. Those of a body over the limit are kept: they say how it ended.
    pub(crate) fn trailers(&self) -> Vec<(String, String)> {
        self.trailers.texts::<0>().1
    }

    fn push(&mut self, bytes: &[u8], bytes_max: usize) {
        self.wire_bytes += bytes.len() as u64;
        let (length, capacity) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if self.lost.is_some() {
            return;
        }
        if length > bytes_max {
            self.give_up(Lost::OverLimit);
            return;
        }
        if length > capacity {
            // The first frame is mostly the only one, and gets its size. More are doubled, so that few are copied again.
            let grown =
                if capacity == 0 { length } else { length.max(2 * capacity).min(bytes_max) };
            if !self.share.take(grown - capacity) {
                self.give_up(Lost::OutOfMemory);
                return;
            }
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn push_trailers(&mut self, trailers: &HeaderMap, bytes_max: usize) {
        let trailers = Head::copy([], trailers);
        let bytes = trailers.memory_bytes();
        if bytes > bytes_max {
            self.give_up(Lost::OverLimit);
        } else if !self.share.take(bytes) {
            self.give_up(Lost::OutOfMemory);
        } else {
            self.trailers = trailers;
        }
    }

    fn give_up(&mut self, lost: Lost) {
        self.lost = self.lost.max(Some(lost));
        self.share = Share::new(&self.share.memory);
        self.bytes = Vec::new();
    }
}

/// Receives the copy, once.
pub(crate) type OnEnd = Box<dyn FnOnce(Copied) + Send>;

/// A body of which a copy is kept.
pub(crate) struct Tee<B: Body> {
    inner: B,
    failure: Option<B::Error>,
    // Boxed, because bodies are moved with their messages, and most are not copied.
    copying: Option<Box<Copying>>,
    /// What ends with the body, where it is not copied.
    _held: Option<Held>,
}

struct Copying {
    copied: Copied,
    bytes_max: usize,
    on_end: OnEnd,
}

impl<B: Body> Tee<B> {
    /// Copies `inner` and its trailers, each up to `bytes_max`; `on_end` is called exactly once, at the latest when the body is dropped.
    pub(crate) fn new(inner: B, bytes_max: usize, memory: &Arc<Memory>, on_end: OnEnd) -> Self {
        let copying = Copying { copied: Copied::new(memory), bytes_max, on_end };
        let mut tee = Self { inner, failure: None, copying: Some(Box::new(copying)), _held: None };
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

    fn copy(&mut self, frame: &Frame<B::Data>)
    where
        B: Body<Data = Bytes>,
    {
        let Some(copying) = &mut self.copying else { return };
        let Copying { copied, bytes_max, .. } = &mut **copying;
        if let Some(data) = frame.data_ref() {
            copied.push(data, *bytes_max);
        } else if let Some(trailers) = frame.trailers_ref() {
            copied.push_trailers(trailers, *bytes_max);
            // Nothing follows trailers, and hyper does not ask for it.
            self.end(Ending::Complete);
        }
    }

    // A reader that knows the length does not ask for the end, so the end is noticed as soon as it is known.
    fn end_if_complete(&mut self) {
        if self.inner.is_end_stream() {
            self.end(Ending::Complete);
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(copying) = self.copying.take() {
            let Copying { mut copied, on_end, .. } = *copying;
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
                self.copy(&frame);
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
            let body = copied.body(None, |wire| body::decode(wire, None, 100));
            let entry = (copied.ending, copied.wire_bytes, body.text);
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
    async fn memory_is_counted_as_it_is_held() {
        let memory = Memory::new(1000);
        let (mut tee, _) = tee(frames(vec![Ok("abc"), Ok("def"), Ok("g")]), 8, &memory);
        // One frame holds its size; more are doubled, up to the limit of a body.
        for held in [3, 6, 8] {
            tee.frame().await.unwrap().unwrap();
            let copied = &tee.copying.as_ref().unwrap().copied;
            assert_eq!((memory.used(), copied.bytes.capacity()), (held, held));
        }
        drop(tee);
        assert_eq!(memory.used(), 0);
    }

    fn fields() -> HeaderMap {
        let fields = [("grpc-status", "0"), ("x-access-token", "s3cret")];
        fields
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect()
    }

    /// A body of one frame with trailers, read as hyper reads it: not beyond them.
    async fn with_trailers(length: usize, bytes_max: usize, memory: &Arc<Memory>) -> Copied {
        let data = Frame::data(Bytes::from(vec![b'a'; length]));
        let frames = [data, Frame::trailers(fields())].map(Ok::<_, &'static str>);
        let inner = StreamBody::new(futures_util::stream::iter(frames));
        let (sender, ended) = std::sync::mpsc::channel();
        let on_end = Box::new(move |copied: Copied| sender.send(copied).unwrap());
        let mut tee = Tee::new(inner, bytes_max, memory, on_end);
        tee.frame().await.unwrap().unwrap();
        let passed = tee.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(passed, fields());
        drop(tee);
        let copied = ended.try_recv().unwrap();
        assert!(ended.try_recv().is_err());
        copied
    }

    #[tokio::test]
    async fn trailers_are_copied_without_credentials_and_end_the_body() {
        let bytes = Head::copy([], &fields()).memory_bytes();
        let kept = vec![("grpc-status".to_owned(), "0".to_owned())];
        let (over, out) = (Some(Lost::OverLimit), Some(Lost::OutOfMemory));
        for (length, bytes_max, memory_bytes_max, lost, trailers) in [
            (3, 100, 1000, None, &kept),
            // The trailers of a body over the limit still say how it ended.
            (300, 100, 1000, over, &kept),
            (3, bytes - 1, 1000, over, &vec![]),
            (3, 100, 3 + bytes, None, &kept),
            (3, 100, 3 + bytes - 1, out, &vec![]),
            (300, 100, bytes - 1, out, &vec![]),
        ] {
            let memory = Memory::new(memory_bytes_max);
            let copied = with_trailers(length, bytes_max, &memory).await;
            assert_eq!((copied.ending, copied.lost), (Ending::Complete, lost));
            assert_eq!(&copied.trailers(), trailers);
            drop(copied);
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
