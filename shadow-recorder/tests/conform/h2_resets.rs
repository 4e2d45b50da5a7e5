//! Resets over HTTP/2 (RFC 9113, sections 5.4.2, 7 and 8.1), played straight and through the recorder: each passes with its code.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::Reason;
use tokio::time::timeout;

use crate::h2_peer::{Lines, answered, fields, send};
use crate::h2_transparency::{Group, Way, ask, get, request};
use crate::wire::LATE;

const SECTION: &str = "9113, 5.4.2 and 7";
/// What a peer may say, the end without an error among it.
const CODES: [Reason; 5] = [
    Reason::NO_ERROR,
    Reason::INTERNAL_ERROR,
    Reason::REFUSED_STREAM,
    Reason::CANCEL,
    Reason::ENHANCE_YOUR_CALM,
];

/// The origin's path that ends with a code.
fn path(what: &str, code: Reason) -> &'static str {
    format!("/{what}/{}", u32::from(code)).leak()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origins_code_reaches_the_client() {
    let mut group = Group::start().await;
    for code in CODES {
        let name = |when: &str| format!("{code:?} {when}");
        let reset = |way| get(way, path("reset", code)).boxed();
        group.same(&name("instead of an answer"), SECTION, 1, reset).await;
        let half = |way| get(way, path("half", code)).boxed();
        group.same(&name("within the answer"), SECTION, 1, half).await;
        let upload = |way: Way| {
            async move {
                let client = way.connect().await;
                let asked = request("POST", path("reset", code));
                let (answer, mut sending) = client.begin(asked, false).await.unwrap();
                let mut lines = answered(answer).await;
                let reset = timeout(LATE, poll_fn(|context| sending.poll_reset(context))).await;
                lines.push(format!("the request: {:?}", reset.map(Result::unwrap)));
                lines
            }
            .boxed()
        };
        group.same(&name("within the request"), SECTION, 1, upload).await;
    }
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_code_reaches_the_origin() {
    let mut group = Group::start().await;
    for code in CODES {
        let name = |when: &str| format!("{code:?} {when}");
        for last in [false, true] {
            let waiting = |way| before_the_answer(way, last, code).boxed();
            group.same(&name("before the answer"), SECTION, 2, waiting).await;
            let reading = |way| within_the_answer(way, last, code).boxed();
            group.same(&name("within the answer"), SECTION, 1, reading).await;
        }
        let sending = |way| within_the_request(way, "/progress", code).boxed();
        group.same(&name("within the request"), SECTION, 1, sending).await;
        let answered = |way| after_the_answer(way, code).boxed();
        group.same(&name("within the request, after the answer"), SECTION, 1, answered).await;
    }
    group.finish().await;
}

async fn before_the_answer(way: Way, last: bool, code: Reason) -> Lines {
    let client = way.connect().await;
    let (answer, mut sending) = client.begin(request("POST", "/wait"), last).await.unwrap();
    way.progress().await;
    sending.send_reset(code);
    let mut lines = answered(answer).await;
    // The connection lives on.
    lines.extend(ask(&client, request("GET", "/trailers-only"), Vec::new(), None).await);
    lines
}

async fn within_the_answer(way: Way, last: bool, code: Reason) -> Lines {
    let client = way.connect().await;
    let (answer, mut sending) = client.begin(request("POST", "/open"), last).await.unwrap();
    let (head, mut body) = timeout(LATE, answer).await.unwrap().unwrap().into_parts();
    let mut lines = vec![format!("answer {}", head.status)];
    fields(&head.headers, &mut lines);
    let data = timeout(LATE, body.data()).await.unwrap().unwrap().unwrap();
    lines.push(crate::script::shown(&data));
    sending.send_reset(code);
    lines
}

async fn within_the_request(way: Way, path: &str, code: Reason) -> Lines {
    let client = way.connect().await;
    let (answer, mut sending) = client.begin(request("POST", path), false).await.unwrap();
    send(&mut sending, Bytes::from_static(b"half"), false).await.unwrap();
    // The origin has what was sent, or the reset overtakes it.
    way.progress().await;
    sending.send_reset(code);
    answered(answer).await
}

async fn after_the_answer(way: Way, code: Reason) -> Lines {
    let client = way.connect().await;
    let (answer, mut sending) = client.begin(request("POST", "/early"), false).await.unwrap();
    let lines = answered(answer).await;
    sending.send_reset(code);
    lines
}
