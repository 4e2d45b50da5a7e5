//! Bodies far larger than memory, generated and checked on the fly: the far end of the recorder and the near one, on threads of
//! this program. A body is a pattern whose length is prime, so that a lost or repeated block shows.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

const PATTERN_BYTES: usize = 131_071;
const FRAME_BYTES: usize = 64 << 10;

/// Which way the large body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Upload,
    Download,
}

/// Serves uploads and downloads on `listener`, for as long as the program lives.
pub(crate) fn serve_in_background(listener: std::net::TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(connection);
            }
            #[expect(unreachable_code, reason = "names the type of the errors above")]
            std::io::Result::Ok(())
        })
    });
    Ok(())
}

/// `GET /BYTES` and `GET /BYTES/chunked` are answered by a body; of any other request the body is read and its length told.
async fn answer(request: Request<Incoming>) -> Result<Response<Pattern>, Infallible> {
    let mut parts = request.uri().path().split('/').skip(1).map(str::to_owned);
    if request.method() == Method::GET {
        let bytes = parts.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        return Ok(Response::new(Pattern::new(bytes, parts.next().is_some())));
    }
    let checked = check(request.into_body()).await.map(|bytes| bytes.to_string());
    let (status, text) = match checked {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    let mut response = Response::new(Pattern::text(text));
    *response.status_mut() = status;
    Ok(response)
}

/// Sends `bytes` through the proxy at `address`, chunked or with their length, checks that all arrive, and returns how long it took.
pub(crate) fn pass(
    address: SocketAddr,
    direction: Direction,
    chunked: bool,
    bytes: u64,
) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let framing = if chunked { "/chunked" } else { "" };
        let (method, body) = match direction {
            Direction::Upload => (Method::PUT, Pattern::new(bytes, chunked)),
            Direction::Download => (Method::GET, Pattern::new(0, false)),
        };
        let begun = Instant::now();
        let request = Request::builder()
            .method(method)
            .uri(format!("/{bytes}{framing}"))
            .header("host", address.to_string())
            .body(body)?;
        let response = sender.send_request(request).await.context("no answer")?;
        ensure!(response.status() == StatusCode::OK, "status {}", response.status());
        let arrived = match direction {
            Direction::Download => check(response.into_body()).await?,
            Direction::Upload => {
                let text = response.into_body().collect().await?.to_bytes();
                std::str::from_utf8(&text)?.parse()?
            }
        };
        ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
        let took = begun.elapsed();
        drop(sender);
        connection.await??;
        Ok(took)
    })
}

async fn check(mut body: Incoming) -> Result<u64> {
    let pattern = pattern();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the body broke off")?;
        let mut data: &[u8] = frame.data_ref().map_or(&[], |data| &data[..]);
        while !data.is_empty() {
            let at = usize::try_from(seen % PATTERN_BYTES as u64)?;
            let length = data.len().min(PATTERN_BYTES - at);
            ensure!(data[..length] == pattern[at..at + length], "wrong bytes after {seen}");
            data = &data[length..];
            seen += length as u64;
        }
    }
    Ok(seen)
}

/// Returns two repetitions of the pattern, so that every frame is a slice of it.
fn pattern() -> Bytes {
    // The upper byte of a multiplicative hash: no shorter period within the pattern.
    let byte = |at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0];
    let once: Vec<u8> = (0..).map(byte).take(PATTERN_BYTES).collect();
    once.iter().chain(&once).copied().take(PATTERN_BYTES + FRAME_BYTES).collect()
}

/// A body of so many bytes of the pattern, or a short text.
struct Pattern {
    source: Bytes,
    at: usize,
    left: u64,
    chunked: bool,
}

impl Pattern {
    fn new(bytes: u64, chunked: bool) -> Self {
        Self { source: pattern(), at: 0, left: bytes, chunked }
    }

    fn text(text: String) -> Self {
        Self { left: text.len() as u64, source: text.into(), at: 0, chunked: false }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = FRAME_BYTES.min(self.source.len());
        let length = usize::try_from(self.left).map_or(most, |left| left.min(most));
        let data = self.source.slice(self.at..self.at + length);
        self.at = (self.at + length) % PATTERN_BYTES;
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked { SizeHint::default() } else { SizeHint::with_exact(self.left) }
    }
}
