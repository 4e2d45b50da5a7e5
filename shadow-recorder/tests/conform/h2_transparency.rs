//! HTTP/2 with prior knowledge (RFC 9113), played straight against the origin and through the recorder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::group::{nothing_dropped, report};
use crate::h2_peer::{Client, Lines, Origin, answered, large, send};
use crate::harness::Sidecar;
use crate::wire::LATE;

/// What a client does, and what it sees.
type Play = fn(Way) -> BoxFuture<'static, Lines>;

/// The way to the origin, straight or through the recorder.
struct Way {
    to: SocketAddr,
    progress: Arc<Semaphore>,
}

impl Way {
    async fn connect(&self) -> Client {
        Client::connect(self.to).await
    }

    /// Waits for the origin to have come to where it signals.
    async fn progress(&self) {
        timeout(LATE, self.progress.acquire()).await.unwrap().unwrap().forget();
    }
}

struct Group {
    folder: TempDir,
    sidecar: Sidecar,
    origin: Origin,
    failures: Vec<String>,
    exchanges: usize,
}

impl Group {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::start().await;
        let sidecar = Sidecar::start(folder.path(), origin.at, &[], "").await;
        Self { folder, sidecar, origin, failures: Vec::new(), exchanges: 0 }
    }

    /// Plays both ways; the recorder must make no difference.
    async fn same(&mut self, name: &str, section: &str, exchanges: usize, play: Play) {
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
    async fn finish(mut self) {
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

fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://books{path}");
    Request::builder().method(method).uri(uri).header("x-a", "1").body(()).unwrap()
}

/// Asks and reads the answer.
async fn ask(
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

async fn get(way: Way, path: &'static str) -> Lines {
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

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_as_they_are() {
    let mut group = Group::start().await;
    group.same("GET", "9113, 8.1", 1, |way| get(way, "/echo/a%2Fb?q=%20|").boxed()).await;
    group
        .same("HEAD", "9110, 9.3.2", 1, |way| {
            async move {
                ask(&way.connect().await, request("HEAD", "/status/200"), Vec::new(), None).await
            }
            .boxed()
        })
        .await;
    group.same("204", "9110, 15.3.5", 1, |way| get(way, "/status/204").boxed()).await;
    group.same("304", "9110, 15.4.5", 1, |way| get(way, "/status/304").boxed()).await;
    group
        .same("POST in parts", "9113, 8.1", 1, |way| {
            async move {
                let parts = vec![Bytes::from_static(b"hel"), Bytes::from_static(b"lo")];
                ask(&way.connect().await, request("POST", "/echo"), parts, None).await
            }
            .boxed()
        })
        .await;
    group
        .same("an empty body", "9113, 8.1", 1, |way| {
            async move {
                ask(&way.connect().await, request("POST", "/echo"), vec![Bytes::new()], None).await
            }
            .boxed()
        })
        .await;
    group
        .same("a length", "9113, 8.1.1", 1, |way| {
            async move {
                let mut asked = request("POST", "/echo");
                asked.headers_mut().insert("content-length", HeaderValue::from_static("5"));
                ask(&way.connect().await, asked, vec![Bytes::from_static(b"hello")], None).await
            }
            .boxed()
        })
        .await;
    group
        .same("trailers both ways", "9113, 8.1", 1, |way| {
            async move {
                let parts = vec![Bytes::from_static(b"hello")];
                ask(&way.connect().await, request("POST", "/echo"), parts, Some(sums())).await
            }
            .boxed()
        })
        .await;
    group
        .same("trailers without a body", "9113, 8.1", 1, |way| {
            async move {
                ask(&way.connect().await, request("POST", "/echo"), Vec::new(), Some(sums())).await
            }
            .boxed()
        })
        .await;
    group
        .same("gRPC", "9113, 8.1", 1, |way| {
            async move {
                let mut asked = request("POST", "/grpc/Method");
                asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
                asked
                    .headers_mut()
                    .insert("content-type", HeaderValue::from_static("application/grpc"));
                ask(&way.connect().await, asked, vec![Bytes::from_static(b"\0\0\0\0\x01a")], None)
                    .await
            }
            .boxed()
        })
        .await;
    group.same("trailers only", "9113, 8.1", 1, |way| get(way, "/trailers-only").boxed()).await;
    group.same("103", "9113, 8.1", 1, |way| get(way, "/hints").boxed()).await;
    group
        .same("100", "9110, 10.1.1", 1, |way| {
            async move {
                let mut asked = request("POST", "/continue");
                asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
                ask(&way.connect().await, asked, vec![Bytes::from_static(b"hello")], None).await
            }
            .boxed()
        })
        .await;
    group
        .same("cookies in pieces", "9113, 8.2.3", 1, |way| {
            async move {
                let mut asked = request("GET", "/echo");
                for crumb in ["a=1", "b=2", "c=3"] {
                    asked.headers_mut().append("cookie", HeaderValue::from_static(crumb));
                }
                asked.headers_mut().insert("x-high", HeaderValue::from_bytes(b"\x80\xff").unwrap());
                asked
                    .headers_mut()
                    .insert("x-long", HeaderValue::from_str(&"v".repeat(8000)).unwrap());
                asked.headers_mut().insert("authorization", HeaderValue::from_static("Bearer x"));
                ask(&way.connect().await, asked, Vec::new(), None).await
            }
            .boxed()
        })
        .await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_flow_side_by_side() {
    let mut group = Group::start().await;
    let section = "9113, 5";
    group.same("a large answer", section, 1, |way| get(way, "/large").boxed()).await;
    group
        .same("a large request and its echo", section, 1, |way| {
            async move {
                ask(&way.connect().await, request("POST", "/echo"), vec![large()], None).await
            }
            .boxed()
        })
        .await;
    group
        .same("50 at once", section, 50, |way| {
            async move {
                let client = way.connect().await;
                let all = (0..50).map(|number| {
                    let body = vec![Bytes::from(vec![b'x'; 1000 * number])];
                    ask(&client, request("POST", "/echo"), body, None)
                });
                join_all(all).await.concat()
            }
            .boxed()
        })
        .await;
    group
        .same("one after another", section, 5, |way| {
            async move {
                let client = way.connect().await;
                let mut lines = Vec::new();
                for _ in 0..5 {
                    lines.extend(ask(&client, request("GET", "/echo"), Vec::new(), None).await);
                }
                lines
            }
            .boxed()
        })
        .await;
    group
        .same("ping-pong within one exchange", "9113, 8.1", 1, |way| {
            async move {
                let client = way.connect().await;
                let (answer, mut sending) =
                    client.begin(request("POST", "/stream"), false).await.unwrap();
                let mut body = timeout(LATE, answer).await.unwrap().unwrap().into_body();
                let mut lines = Vec::new();
                for word in ["one", "two", "three"] {
                    send(&mut sending, word.into(), false).await.unwrap();
                    let data = timeout(LATE, body.data()).await.unwrap().unwrap().unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    lines.push(crate::script::shown(&data));
                }
                send(&mut sending, Bytes::new(), true).await.unwrap();
                let end = timeout(LATE, body.data()).await.unwrap();
                lines.push(format!(
                    "end {}",
                    end.is_none_or(|data| data.is_ok_and(|data| data.is_empty()))
                ));
                lines
            }
            .boxed()
        })
        .await;
    group
        .same("an answer unread holds up no other", section, 2, |way| {
            async move {
                let client = way.connect().await;
                let (unread, _sending) =
                    client.begin(request("GET", "/large"), true).await.unwrap();
                let unread = timeout(LATE, unread).await.unwrap().unwrap();
                let mut lines = ask(&client, request("GET", "/echo"), Vec::new(), None).await;
                let mut body = unread.into_body();
                let read = timeout(LATE, crate::h2_peer::read(&mut body, &mut lines)).await;
                lines.push(format!("{}", read.is_ok_and(|read| read.is_ok())));
                lines
            }
            .boxed()
        })
        .await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_pass_with_their_code() {
    let mut group = Group::start().await;
    let section = "9113, 5.4.2 and 7";
    group.same("CANCEL", section, 1, |way| get(way, "/reset/8").boxed()).await;
    group.same("REFUSED_STREAM", section, 1, |way| get(way, "/reset/7").boxed()).await;
    group.same("INTERNAL_ERROR", section, 1, |way| get(way, "/reset/2").boxed()).await;
    group.same("ENHANCE_YOUR_CALM", section, 1, |way| get(way, "/reset/11").boxed()).await;
    group.same("within the answer", section, 1, |way| get(way, "/half/8").boxed()).await;
    group.same("within the answer", section, 1, |way| get(way, "/half/2").boxed()).await;
    group
        .same("a reset leaves the connection", section, 2, |way| {
            async move {
                let client = way.connect().await;
                let mut lines = ask(&client, request("GET", "/reset/8"), Vec::new(), None).await;
                lines.extend(ask(&client, request("GET", "/echo"), Vec::new(), None).await);
                lines
            }
            .boxed()
        })
        .await;
    group
        .same("by the client, before the answer", section, 2, |way| {
            by_client(way, "/wait", Reason::CANCEL).boxed()
        })
        .await;
    group
        .same("by the client, another code", section, 2, |way| {
            by_client(way, "/wait/any", Reason::INTERNAL_ERROR).boxed()
        })
        .await;
    group
        .same("by the client, within its body", section, 1, |way| {
            async move {
                let client = way.connect().await;
                let (answer, mut sending) =
                    client.begin(request("POST", "/progress"), false).await.unwrap();
                send(&mut sending, Bytes::from_static(b"half"), false).await.unwrap();
                // The origin has what was sent, or the reset overtakes it.
                way.progress().await;
                sending.send_reset(Reason::CANCEL);
                answered(answer).await
            }
            .boxed()
        })
        .await;
    group
        .same("the client's connection ends", "9113, 5.4.1", 1, |way| {
            async move {
                let client = way.connect().await;
                let (answer, _) = client.begin(request("GET", "/wait/any"), true).await.unwrap();
                way.progress().await;
                drop((answer, client));
                Vec::new()
            }
            .boxed()
        })
        .await;
    group.finish().await;
}

async fn by_client(way: Way, path: &str, reason: Reason) -> Lines {
    let client = way.connect().await;
    let (answer, mut sending) = client.begin(request("POST", path), false).await.unwrap();
    way.progress().await;
    sending.send_reset(reason);
    let mut lines = answered(answer).await;
    lines.extend(ask(&client, request("GET", "/trailers-only"), Vec::new(), None).await);
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_goes_away_is_gone_for_the_client() {
    let mut group = Group::start().await;
    let section = "9113, 6.8";
    group
        .same("GOAWAY after the answer", section, 1, |way| {
            async move {
                let client = way.connect().await;
                let mut lines = ask(&client, request("GET", "/goaway"), Vec::new(), None).await;
                let ended = timeout(LATE, client.ended.notified()).await;
                lines.push(if ended.is_ok() { "the connection ends" } else { "late" }.to_owned());
                lines
            }
            .boxed()
        })
        .await;
    group
        .same("the connection ends without an answer", "9113, 5.4.1", 1, |way| {
            async move {
                let lines = get(way, "/close").await;
                // Which error an end without an answer is, is not said anywhere.
                vec![format!("an error: {}", lines.len() == 1 && !lines[0].starts_with("answer"))]
            }
            .boxed()
        })
        .await;
    group
        .same("an early refusal", "9113, 8.1", 1, |way| {
            async move {
                let parts = vec![Bytes::from_static(b"hello")];
                ask(&way.connect().await, request("POST", "/early"), parts, None).await
            }
            .boxed()
        })
        .await;
    group.finish().await;
}

/// A request that waits for a timer is answered all the same, some seconds later.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_waits_for_no_timer() {
    let mut group = Group::start().await;
    let twenty = async {
        for _ in 0..20 {
            let way =
                Way { to: group.sidecar.clients, progress: Arc::clone(&group.origin.progress) };
            assert_eq!(get(way, "/trailers-only").await.last().unwrap(), "whole");
        }
    };
    // Twenty answers take 50 ms; a loaded machine has two hundred times that.
    let in_time = timeout(Duration::from_secs(10), twenty).await.is_ok();
    assert!(in_time, "twenty connections with a request each took more than 10 s");
    group.origin.seen(20).await;
    group.exchanges = 20;
    group.finish().await;
}
