//! [`Owed`]: an answer's body that must be as long as its head says.
//!
//! HTTP/1 is held to it by hyper. Over HTTP/2 a reset that says `NO_ERROR` ends a body like its end, and a client would take for whole
//! what broke off (RFC 9113, section 8.1.1).

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body that breaks off where it ends too early.
#[derive(Debug)]
pub(crate) struct Owed<B = Incoming> {
    inner: B,
    /// The bytes still to come, where they are known and hyper does not count them.
    bytes: Option<u64>,
}

/// It ended before its length.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer ended {0} bytes before its length")]
struct TooShort(u64);

impl<B: Body> Owed<B> {
    /// Holds an answer to its `Content-Length`.
    pub(crate) fn of(response: Response<B>) -> Response<Self> {
        let is_counted = response.version() < Version::HTTP_2 || response.body().is_end_stream();
        let length = response.headers().get(CONTENT_LENGTH).filter(|_| !is_counted);
        let bytes = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|inner| Self { inner, bytes })
    }
}

impl<B> Body for Owed<B>
where
    B: Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context)).transpose()?;
        if let Some(bytes) = &mut self.bytes {
            match frame.as_ref().map(Frame::data_ref) {
                Some(Some(data)) => *bytes = bytes.saturating_sub(data.len() as u64),
                None if *bytes > 0 => return Poll::Ready(Some(Err(TooShort(*bytes).into()))),
                Some(None) | None => {}
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none_or(|bytes| bytes == 0) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    async fn read(version: Version, length: &str) -> Result<Bytes, String> {
        let body = Full::from("hello");
        let response =
            Response::builder().version(version).header(CONTENT_LENGTH, length).body(body).unwrap();
        let collected = Owed::of(response).into_body().collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_ends_too_early_breaks_off() {
        assert_eq!(read(Version::HTTP_2, "5").await.unwrap(), "hello");
        let short = read(Version::HTTP_2, "7").await.unwrap_err();
        assert_eq!(short, "the answer ended 2 bytes before its length");
        // There hyper counts.
        assert_eq!(read(Version::HTTP_11, "7").await.unwrap(), "hello");
    }
}
