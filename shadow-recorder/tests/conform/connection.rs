//! How messages follow each other on a connection, and how it ends (RFC 9112, section 9).

use crate::group::Group;
use crate::script::Step::{
    Await, Body, Close, End, HalfClose, Head, IfCalled, Message, Reset, Signal,
};
use crate::script::{Step, send};

const GET: &str = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let mut group = Group::start().await;
    let request = |number: usize| match number % 3 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: books\r\n\r\n"),
        1 => format!("POST /{number} HTTP/1.1\r\nHost: books\r\nContent-Length: 1\r\n\r\n{number}"),
        _ => format!(
            "POST /{number} HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\n{number}\r\n0\r\n\r\n"
        ),
    };
    let answer = |number: usize| {
        send(format!("HTTP/1.1 200 OK\r\nX-N: {number}\r\nContent-Length: 1\r\n\r\n{number}"))
    };
    let all: String = (0..10).map(request).collect();
    let client: Vec<_> = [send(all)].into_iter().chain((0..10).map(|_| Message)).collect();
    let origin = (0..10).flat_map(|number| [Message, answer(number)]).collect();
    group.same("ten in one write", "9112, 9.3.2", client.clone(), origin).await;
    // The answer to the first comes in two parts, so that the others wait for it.
    let mut origin = vec![
        Message,
        send("HTTP/1.1 200 OK\r\nX-N: 0\r\nContent-Length: 1\r\n\r\n"),
        Signal,
        Await,
        send("0"),
    ];
    origin.extend((1..10).flat_map(|number| [Message, answer(number)]));
    let mut slow = vec![client[0].clone(), Head, Await, Signal, Body];
    slow.extend((1..10).map(|_| Message));
    group.same("behind a slow answer", "9112, 9.3.2", slow, origin).await;
    let last = "GET /last HTTP/1.1\r\nHost: books\r\nConnection: close\r\n\r\n";
    let client = vec![send(format!("{GET}{last}{GET}")), Message, Message, End];
    let origin = vec![Message, send(OK), Message, send(OK), Close];
    group.same("nothing after the last", "9112, 9.6", client, origin).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_as_without_the_recorder() {
    let mut group = Group::start().await;
    let section = "9112, 9";
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let two = |answer: &str| vec![Message, send(answer), Message, send(answer)];
    let client = vec![send(GET), Message, send(GET), Message];
    group.same("kept alive", section, client, two(OK)).await;
    let ask = "GET / HTTP/1.1\r\nHost: books\r\nConnection: close\r\n\r\n";
    let client = vec![send(ask), Message, End];
    group.same("closed as asked", section, client, vec![Message, send(closing), Close]).await;
    let client = vec![send(GET), HalfClose, Message, End];
    let origin = vec![Message, End, send(OK), Close];
    group.same("the origin sees the half-close", section, client, origin).await;
    let client = vec![send(GET), HalfClose, Message, End];
    group.same("half-closed", section, client, vec![Message, send(OK), Close]).await;
    for (name, end) in [("closes", Close), ("resets", Reset)] {
        let client = vec![send(GET), Message];
        group.same(name, "9112, 9.5: no answer", client, vec![Message, end.clone()]).await;
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        ] {
            // What came before the end must have been read when a reset comes, or the reset takes it along.
            let client = vec![send(GET), Head, Signal, Body];
            let origin = vec![Message, send(answer), Await, end.clone()];
            group.same(answer, "9112, 8: an answer breaks off", client, origin).await;
        }
    }
    let client = vec![send(GET), Head, Signal, Body];
    let origin = vec![Message, send("HTTP/1.1 200 OK\r\n\r\nhalf"), Await, Reset];
    group.same("reset where the end would be whole", "9112, 8", client, origin).await;
    for end in [Close, Reset] {
        let client = vec![send(GET), Message, send(GET), Message];
        let origin = vec![Message, send(OK), Message, end];
        group.same("the second request is not answered", "9112, 9.3.1", client, origin).await;
    }
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_breaks_off_is_broken_off_for_the_origin() {
    let mut group = Group::start().await;
    let section = "9112, 8";
    for begun in [
        "POST / HTTP/1.1\r\nHost: books\r\nContent-Length: 9\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        for end in [Close, Reset] {
            let client = vec![send(begun), Await, end];
            let origin = vec![Head, Signal, Body];
            group.same("the client leaves within its body", section, client, origin).await;
        }
        let client = vec![send(begun), Await, HalfClose, End];
        let origin = vec![Head, Signal, Body, Close];
        let name = "the client half-closes within its body";
        let ends: &[&[&str]] = &[&["end"], &["refused", "end"]];
        let length = "  content-length: \"9\"";
        let head = ["request POST /", length, "  host: \"books\"", "  body \"half\"", "  cut"];
        let chunked = [head[0], head[2], head[3], head[4]];
        group.expect(name, section, client, origin, (ends, &[&head, &chunked])).await;
    }
    // The client does not wait for its answer; the origin notices it at its own next reading.
    for end in [Close, Reset] {
        let client = vec![send(GET), Await, end];
        let origin = vec![Message, Signal, End];
        group.same("the client leaves before the answer", section, client, origin).await;
    }
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let client = vec![send(GET), Head, Reset];
    group
        .same(
            "the client leaves within the answer",
            section,
            client,
            vec![Message, send(half), End],
        )
        .await;
    group.finish().await;
}

/// Between a server that closes what is idle and a proxy that just then sends a request, only a request loses.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_origin_closes_costs_no_request() {
    let mut group = Group::start().await;
    group.unreached_max = 10;
    let client = || vec![send(GET), Message, Await, send(GET), Message];
    let origin =
        || -> Vec<Step> { vec![Message, send(OK), Close, Signal, IfCalled, Message, send(OK)] };
    let one = ["answer 200", "  content-length: \"2\"", "  body \"ok\"", "  whole"];
    let closed: Vec<_> = one.into_iter().chain(["ended"]).collect();
    let both = [one, one].concat();
    for _ in 0..10 {
        let seen: &[&[&str]] = &[&closed, &both];
        let section =
            "9112, 9.3.1: closed as directly, or answered over another connection, never 502";
        group.expect("closed when idle", section, client(), origin(), (seen, &[])).await;
    }
    group.finish().await;
}
