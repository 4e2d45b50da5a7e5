//! HTTP/2 with prior knowledge (RFC 9113), played straight against the origin and through the recorder: streams and their ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::h2_peer::{large, send};
use crate::h2_transparency::{Group, Way, ask, get, request};
use crate::wire::LATE;

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
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_wait_for_nothing_but_themselves() {
    let mut group = Group::start().await;
    let section = "9113, 5.2";
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
async fn a_reset_ends_its_stream_alone() {
    let mut group = Group::start().await;
    let section = "9113, 5.4.2 and 7";
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
