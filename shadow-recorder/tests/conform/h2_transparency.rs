//! HTTP/2 with prior knowledge (RFC 9113), played straight against the origin and through the recorder: messages.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::group::{nothing_dropped, report};
use crate::h2_peer::{Client, Lines, Origin, answered, send};
use crate::harness::Sidecar;
use crate::wire::LATE;

/// The way to the origin, straight or through the recorder.
pub(crate) struct Way {
    pub(crate) to: SocketAddr,
    pub(crate) progress: Arc<Semaphore>,
}

impl Way {
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.to).await
    }

    /// Waits for the origin to have come to where it signals.
    pub(crate) async fn progress(&self) {
        timeout(LATE, self.progress.acquire()).await.unwrap().unwrap().forget();
    }
}

pub(crate) struct Group {
    folder: TempDir,
    pub(crate) sidecar: Sidecar,
    pub(crate) origin: Origin,
    failures: Vec<String>,
    pub(crate) exchanges: usize,
}

impl Group {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::start().await;
        let sidecar = Sidecar::start(folder.path(), origin.at, &[], "").await;
        Self { folder, sidecar, origin, failures: Vec::new(), exchanges: 0 }
    }

    /// Plays both ways; the recorder must make no difference.
    pub(crate) async fn same(
        &mut self,
        name: &str,
        section: &str,
        exchanges: usize,
        play: impl Fn(Way) -> BoxFuture<'static, Lines>,
    ) {
        let way = |to| Way { to, progress: Arc::clone(&self.origin.progress) };
        let (straight, detour) = (way(self.origin.at), way(self.sidecar.clients));
        let direct = (play(straight).await, self.origin.seen(exchanges).await);
        let through = (play(detour).await, self.origin.seen(exchanges).await);
        self.exchanges += exchanges;
        let late = |lines: &Lines| lines.iter().any(|line| line.starts_with("late"));
        if direct != through || late(&direct.0) || direct.1.iter().any(late) {
            let what =
                format!("* {name} (RFC {section})\n  direct {direct:#?}\n  through {through:#?}");
            self.failures.push(what);
        }
    }

    /// Stops: every exchange that reached the origin through the recorder was observed, and is recorded.
    pub(crate) async fn finish(mut self) {
        if self.failures.is_empty() {
            let observed = "shadow_recorder_exchanges_observed_total";
            self.sidecar.until(observed, self.exchanges as u64).await;
        }
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        if stored.tally.recorded != self.exchanges as u64 {
            self.failures.push(format!("of {} exchanges: {:?}", self.exchanges, stored.tally));
        }
        drop(self.folder);
        report(&self.failures, self.exchanges);
    }
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://books{path}");
    Request::builder().method(method).uri(uri).header("x-a", "1").body(()).unwrap()
}

/// Asks and reads the answer.
pub(crate) async fn ask(
    client: &Client,
    asked: Request<()>,
    parts: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Lines {
    let last = parts.is_empty() && trailers.is_none();
    let (answer, mut sending) = match client.begin(asked, last).await {
        Ok(begun) => begun,
        Err(error) => return vec![crate::h2_peer::why(&error)],
    };
    let body = async {
        let count = parts.len();
        for (at, part) in parts.into_iter().enumerate() {
            send(&mut sending, part, at + 1 == count && trailers.is_none()).await?;
        }
        trailers.map_or(Ok(()), |trailers| sending.send_trailers(trailers))
    };
    // The answer says how it ended.
    let (answer, _) = tokio::join!(answered(answer), timeout(LATE, body));
    answer
}

pub(crate) async fn get(way: Way, path: &'static str) -> Lines {
    let client = way.connect().await;
    ask(&client, request("GET", path), Vec::new(), None).await
}

fn sums() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.append("x-sum", HeaderValue::from_static("1"));
    trailers.append("x-sum", HeaderValue::from_static("2"));
    trailers.append("x-empty", HeaderValue::from_static(""));
    trailers
}

/// One exchange: method, path, fields, the parts of the body, trailers.
type Asked = (&'static str, &'static str, Vec<(&'static str, Vec<u8>)>, Vec<&'static [u8]>, bool);

/// Plays exchanges of a connection each.
async fn play_each(group: &mut Group, exchanges: Vec<(&str, &str, Asked)>) {
    for (name, section, asked) in exchanges {
        let (method, path, fields, parts, trailers) = asked;
        let play = |way: Way| {
            let mut asked = request(method, path);
            for (name, value) in &fields {
                asked.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
            }
            let parts = parts.iter().map(|part| Bytes::from_static(part)).collect();
            let trailers = trailers.then(sums);
            async move { ask(&way.connect().await, asked, parts, trailers).await }.boxed()
        };
        group.same(name, section, 1, play).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_as_they_are() {
    let mut group = Group::start().await;
    let none = Vec::new;
    let section = "9113, 8.1";
    let odd = vec![
        ("cookie", b"a=1".to_vec()),
        ("cookie", b"b=2".to_vec()),
        ("x-high", b"\x80\xff".to_vec()),
        ("x-long", vec![b'v'; 8000]),
        ("authorization", b"Bearer x".to_vec()),
    ];
    let hello: &[u8] = b"hello";
    play_each(
        &mut group,
        vec![
            ("GET", section, ("GET", "/echo/a%2Fb?q=%20|", none(), vec![], false)),
            ("HEAD", "9110, 9.3.2", ("HEAD", "/status/200", none(), vec![], false)),
            ("204", "9110, 15.3.5", ("GET", "/status/204", none(), vec![], false)),
            ("304", "9110, 15.4.5", ("GET", "/status/304", none(), vec![], false)),
            ("in parts", section, ("POST", "/echo", none(), vec![b"hel", b"lo"], false)),
            ("an empty body", section, ("POST", "/echo", none(), vec![b""], false)),
            (
                "a length",
                "9113, 8.1.1",
                ("POST", "/echo", vec![("content-length", b"5".to_vec())], vec![hello], false),
            ),
            ("odd fields", "9113, 8.2", ("GET", "/echo", odd, vec![], false)),
        ],
    )
    .await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_as_they_are() {
    let mut group = Group::start().await;
    let section = "9113, 8.1";
    let grpc =
        || vec![("te", b"trailers".to_vec()), ("content-type", b"application/grpc".to_vec())];
    let message: &[u8] = b"\0\0\0\0\x01a";
    play_each(
        &mut group,
        vec![
            ("both ways", section, ("POST", "/echo", Vec::new(), vec![b"hello"], true)),
            ("without a body", section, ("POST", "/echo", Vec::new(), vec![], true)),
            ("gRPC", section, ("POST", "/grpc/Method", grpc(), vec![message], false)),
            ("trailers only", section, ("POST", "/trailers-only", grpc(), vec![message], false)),
        ],
    )
    .await;
    group.finish().await;
}
