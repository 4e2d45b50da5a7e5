//! Interim answers over HTTP/2 (RFC 9110, sections 10.1.1 and 15.2; RFC 9113, section 8.1), played straight and through the recorder.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::frames::{
    END_HEADERS, END_STREAM, Frames, GET, HEADERS, Outcome, frame, literals, request as get_request,
};
use crate::group::nothing_dropped;
use crate::h2_peer::{Lines, answered, fields, send};
use crate::h2_transparency::{Group, Way, ask, get, request};
use crate::harness::Sidecar;
use crate::wire::{LATE, Wire};

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_pass_in_order() {
    let mut group = Group::start().await;
    let section = "9110, 15.2";
    group.same("103, 102, 103, 199", section, 1, |way| get(way, "/hints").boxed()).await;
    group
        .same("on many streams", section, 20, |way| {
            async move {
                let client = way.connect().await;
                let all = (0..20).map(|_| ask(&client, request("GET", "/hints"), Vec::new(), None));
                futures_util::future::join_all(all).await.concat()
            }
            .boxed()
        })
        .await;
    group
        .same("with a body on its way", section, 1, |way| {
            async move {
                let parts = vec![Bytes::from_static(b"hel"), Bytes::from_static(b"lo")];
                ask(&way.connect().await, request("POST", "/hints"), parts, None).await
            }
            .boxed()
        })
        .await;
    group
        .same("a reset after it", "9113, 5.4.2", 1, |way| waiting(way, "/hinted/11").boxed())
        .await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_alone_says_whether_to_continue() {
    let mut group = Group::start().await;
    let section = "9110, 10.1.1";
    group.same("100", section, 1, |way| waiting(way, "/continue").boxed()).await;
    group.same("103 and 100", section, 1, |way| waiting(way, "/continue/103").boxed()).await;
    group.same("417", section, 1, |way| waiting(way, "/refuse").boxed()).await;
    group
        .same("the client does not wait", section, 1, |way| {
            async move {
                let mut asked = request("POST", "/echo");
                asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
                let parts = vec![Bytes::from_static(b"hello")];
                ask(&way.connect().await, asked, parts, None).await
            }
            .boxed()
        })
        .await;
    group.finish().await;
}

/// Asks for leave, and sends a body only after an interim answer.
async fn waiting(way: Way, path: &str) -> Lines {
    let client = way.connect().await;
    let mut asked = request("POST", path);
    asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let (mut answer, mut sending) = client.begin(asked, false).await.unwrap();
    let mut lines = Vec::new();
    let first = timeout(LATE, poll_fn(|context| answer.poll_informational(context))).await;
    match first {
        Ok(Some(Ok(interim))) => {
            lines.push(format!("first {}", interim.status()));
            fields(interim.headers(), &mut lines);
            send(&mut sending, Bytes::from_static(b"hello"), true).await.unwrap();
        }
        Ok(Some(Err(_)) | None) => lines.push("no leave".to_owned()),
        Err(_) => lines.push("late: neither leave nor answer".to_owned()),
    }
    lines.extend(answered(answer).await);
    if lines[0] == "no leave" {
        // Whole as it is, and the rest of the request is not wanted.
        let reset = timeout(LATE, poll_fn(|context| sending.poll_reset(context))).await;
        lines.push(format!("then reset: {:?}", reset.map(Result::unwrap)));
    }
    lines
}

/// Plays frames as an origin's answer to one request, and returns what the client reads up to the end of its stream.
async fn heads(answer: &[u8]) -> (Vec<Vec<u8>>, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Sidecar::start(folder.path(), listener.local_addr().unwrap(), &[], "").await;
    let origin = async {
        let mut frames = Frames::greet(Wire::of(listener.accept().await.unwrap().0)).await.unwrap();
        while frames.read().await.unwrap().kind != HEADERS {}
        frames.send(answer).await;
        while frames.read().await.is_ok() {}
    };
    let client = async {
        let mut frames = Frames::connect(sidecar.clients, &[]).await;
        frames.send(&get_request(1, &GET, END_STREAM)).await;
        let mut heads = Vec::new();
        loop {
            let read = match frames.read().await {
                Ok(read) if read.stream == 1 => read,
                Ok(_) => continue,
                Err(_) => return (heads, Outcome::Closed),
            };
            if read.kind == HEADERS {
                heads.push(read.payload);
            } else {
                return (heads, Outcome::Reset(read.code()));
            }
            if read.flags & END_STREAM > 0 {
                return (heads, Outcome::Answer(200));
            }
        }
    };
    let (seen, ()) = tokio::join!(client, origin);
    let stored = sidecar.stop().await;
    nothing_dropped(&stored);
    assert_eq!(stored.tally.recorded, 1);
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interim_answer_is_one_and_no_more() {
    let head = |status: &[u8], flags| {
        frame(HEADERS, flags | END_HEADERS, 1, &literals(&[(b":status", status)]))
    };
    let (seen, end) = heads(&[head(b"103", 0), head(b"200", END_STREAM)].concat()).await;
    assert_eq!((seen.len(), end), (2, Outcome::Answer(200)), "{seen:?}");
    assert_eq!(seen[1], [0x88], "200, the index of the static table");
    // RFC 9113, section 8.6: nobody leaves HTTP/2 by it.
    let (seen, end) = heads(&[head(b"101", 0), head(b"200", END_STREAM)].concat()).await;
    assert_eq!((seen.len(), end), (0, Outcome::Reset(1)), "{seen:?}");
    // RFC 9113, section 8.1: an end behind it is malformed.
    let (_, end) = heads(&head(b"103", END_STREAM)).await;
    assert_eq!(end, Outcome::Reset(1));
}
