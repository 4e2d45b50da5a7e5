//! Clients that never pause: each sends its next request as soon as it has its answer, and notes everything that a client must not see.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{DEADLINE, until};

/// What the clients have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answered: AtomicU64,
    /// Answers that said `connection: close`, to requests that did not.
    pub(crate) closed: AtomicU64,
    pub(crate) refused: AtomicU64,
    failures: Mutex<Vec<String>>,
    answered_at: Mutex<Vec<Instant>>,
    stop: AtomicBool,
}

/// The clients.
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts clients of which every second one takes a new connection for each request.
    pub(crate) fn start(to: SocketAddr, clients: u64) -> Self {
        let seen = Arc::<Seen>::default();
        let mut set = JoinSet::new();
        for id in 0..clients {
            set.spawn(Client { to, seen: Arc::clone(&seen), id, keeps: id % 2 == 0 }.run());
        }
        Self { seen, clients: set }
    }

    /// Waits until this many requests more were answered.
    pub(crate) async fn goes_on(&self, requests: u64) {
        let before = self.seen.answered.load(Ordering::Relaxed);
        let more = || self.seen.answered.load(Ordering::Relaxed) >= before + requests;
        until("answers go on", async || more()).await;
    }

    /// Ends each client after its request.
    pub(crate) async fn end(self) -> Arc<Seen> {
        self.seen.stop.store(true, Ordering::Relaxed);
        self.refused().await
    }

    /// Waits until every client was refused.
    pub(crate) async fn refused(mut self) -> Arc<Seen> {
        while let Some(ended) = timeout(DEADLINE, self.clients.join_next()).await.unwrap() {
            ended.unwrap();
        }
        self.seen
    }
}

impl Seen {
    /// Fails if a request did.
    pub(crate) fn assert_nothing_failed(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} failed, such as {}", failures.len(), failures[0]);
    }

    /// Returns the longest time without an answer, and begins anew.
    pub(crate) fn gap(&self) -> Duration {
        let mut times = std::mem::take(&mut *self.answered_at.lock().unwrap());
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }

    /// Once one client was refused, the others do not try to connect either.
    fn is_over(&self, is_connected: bool) -> bool {
        let is_refused = self.refused.load(Ordering::Relaxed) > 0;
        self.stop.load(Ordering::Relaxed) || is_refused && !is_connected
    }
}

struct Client {
    to: SocketAddr,
    seen: Arc<Seen>,
    id: u64,
    keeps: bool,
}

impl Client {
    /// Sends requests until the end of the load, or until a connection is refused.
    async fn run(self) {
        let mut connection: Option<BufReader<TcpStream>> = None;
        for number in 0.. {
            if self.seen.is_over(connection.is_some()) {
                return;
            }
            let mut stream = if let Some(stream) = connection.take() {
                stream
            } else {
                let Ok(stream) = TcpStream::connect(self.to).await else {
                    self.seen.refused.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                BufReader::new(stream)
            };
            let body = format!("{} {number}", self.id);
            match timeout(DEADLINE, self.ask(&mut stream, &body)).await {
                Ok(Ok(closed)) => {
                    self.seen.answered.fetch_add(1, Ordering::Relaxed);
                    self.seen.answered_at.lock().unwrap().push(Instant::now());
                    if self.keeps && closed {
                        self.seen.closed.fetch_add(1, Ordering::Relaxed);
                    }
                    connection = (self.keeps && !closed).then_some(stream);
                }
                failed => {
                    let failed = format!("{number} of client {}: {failed:?}", self.id);
                    self.seen.failures.lock().unwrap().push(failed);
                }
            }
        }
    }

    /// Returns whether the answer is the last of its connection.
    async fn ask(&self, stream: &mut BufReader<TcpStream>, body: &str) -> std::io::Result<bool> {
        let close = if self.keeps { "" } else { "Connection: close\r\n" };
        let length = body.len();
        let request =
            format!("POST / HTTP/1.1\r\nHost: x\r\n{close}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let (mut length, mut closed, mut lines) = (0, false, 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if lines == 0 && line != "http/1.1 200 ok" {
                return Err(std::io::Error::other(line));
            }
            lines += 1;
            closed |= line == "connection: close";
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        if answer == body.as_bytes() {
            Ok(closed)
        } else {
            Err(std::io::Error::other("another's answer"))
        }
    }
}
