//! Interim answers (RFC 9110, sections 10.1.1 and 15.2) and answers that come before the request's end (RFC 9112, section 9.3).

use crate::group::Group;
use crate::script::Step::{Await, Body, Close, End, HalfClose, Head, Message, Read, Signal};
use crate::script::send;

const GET: &str = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\nX-H: 1\r\n\r\n";
const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: books\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_alone_says_whether_to_continue() {
    let mut group = Group::start().await;
    let section = "9110, 10.1.1";
    let client = vec![send(EXPECTING), Message, send("hello"), Message];
    let origin = vec![Head, send(CONTINUE), Body, send(OK)];
    group.same("the origin says 100", section, client, origin).await;
    let chunked = "POST / HTTP/1.1\r\nHost: books\r\nexpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    let client = vec![send(chunked), Message, send("5\r\nhello\r\n0\r\n\r\n"), Message];
    let origin = vec![Head, send(CONTINUE), Body, send(OK)];
    group.same("chunked", section, client, origin).await;
    let with_fields = "HTTP/1.1 100 Continue\r\nX-Hint: 1\r\n\r\n";
    let client = vec![send(EXPECTING), Message, send("hello"), Message];
    let origin = vec![Head, send(with_fields), Body, send(OK)];
    group.same("100 with fields", "9110, 15.2", client, origin).await;
    for refusal in [
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        // A client that is told to continue would read that instead.
        let client = vec![send(EXPECTING), Message];
        group.same(refusal, section, client, vec![Head, send(refusal)]).await;
        let closing = refusal.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let client = vec![send(EXPECTING), Message, End];
        group.same(refusal, section, client, vec![Head, send(closing), Close]).await;
    }
    // The client goes on unasked once the origin has the head; nobody tells it to.
    let client = vec![send(EXPECTING), Await, send("hello"), Message];
    let origin = vec![Head, Signal, Body, send(OK)];
    group.same("the origin never says 100", section, client, origin).await;
    let client = vec![send(format!("{EXPECTING}hello")), Message];
    group.same("the client does not wait", section, client, vec![Message, send(OK)]).await;
    let client = vec![send(format!("{EXPECTING}hello")), Message, Message];
    let origin = vec![Message, send(CONTINUE), send(OK)];
    group.same("100 after the body", section, client, origin).await;
    let client = vec![send(EXPECTING), Message, send("hello"), Message, send(GET), Message];
    let origin = vec![Head, send(CONTINUE), Body, send(OK), Message, send(OK)];
    group.same("another request follows", section, client, origin).await;
    let none = "GET / HTTP/1.1\r\nHost: books\r\nExpect: 100-continue\r\n\r\n";
    group.same("without a body", section, vec![send(none), Message], vec![Message, send(OK)]).await;
    let other = "POST / HTTP/1.1\r\nHost: books\r\nExpect: more\r\nContent-Length: 5\r\n\r\nhello";
    let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let origin = vec![Message, send(refused)];
    group.same("another expectation", section, vec![send(other), Message], origin).await;
    let old =
        "POST / HTTP/1.0\r\nHost: books\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    let seen = ["answer 200", "  content-length: \"2\"", "  body \"ok\"", "  whole", "end"];
    let origin = vec![Message, send(CONTINUE), send(OK), Close];
    let client = vec![send(old), Message, End];
    let section = "9110, 15.2: no interim answer for HTTP/1.0";
    group.expect("100 for HTTP/1.0", section, client, origin, (&[&seen], &[])).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_pass_in_order_as_they_come() {
    let mut group = Group::start().await;
    let section = "9110, 15.2";
    let client = vec![send(GET), Message, Signal, Message];
    let origin = vec![Message, send(HINTS), Await, send(OK)];
    group.same("103 before the answer is known", section, client, origin).await;
    let client = vec![send(GET), Message, Message, Message, Message];
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    let all = format!("{processing}{HINTS}HTTP/1.1 103 Early Hints\r\nLink: </c>\r\n\r\n{OK}");
    group.same("102, 103, 103 in one write", section, client, vec![Message, send(all)]).await;
    let client = vec![send(GET), Message, Message];
    let unknown = format!("HTTP/1.1 199 Odd\r\nX-A: 1\r\n\r\n{OK}");
    group.same("an unknown one", section, client, vec![Message, send(unknown)]).await;
    let client = vec![send(EXPECTING), Message, Message, send("hello"), Message];
    let origin = vec![Head, send(HINTS), send(CONTINUE), Body, send(OK)];
    group.same("103 and 100", section, client, origin).await;
    let client = vec![send(GET), Message, Message, send(GET), Message, Message];
    let both = format!("{HINTS}{OK}");
    let origin = vec![Message, send(both.clone()), Message, send(both)];
    group.same("on a connection kept alive", section, client, origin).await;
    let client = vec![send(format!("{GET}{GET}")), Message, Message, Message];
    let origin = vec![Message, send(format!("{HINTS}{OK}")), Message, send(OK)];
    group.same("between pipelined requests", section, client, origin).await;
    let client = vec![send(GET), Message, Message];
    let origin = vec![Message, send(HINTS), Close];
    group.same("no answer after it", section, client, origin).await;
    let old = vec![send("GET / HTTP/1.0\r\nHost: books\r\n\r\n"), Message, End];
    let origin = vec![Message, send(format!("{HINTS}{OK}")), Close];
    let seen = ["answer 200", "  content-length: \"2\"", "  body \"ok\"", "  whole", "end"];
    let section = "9110, 15.2: no interim answer for HTTP/1.0";
    group.expect("103 for HTTP/1.0", section, old, origin, (&[&seen], &[])).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_request_has_ended() {
    let mut group = Group::start().await;
    let section = "9112, 9.3 and 9.5";
    let begun = "POST / HTTP/1.1\r\nHost: books\r\nContent-Length: 10\r\n\r\nhello";
    let early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    let closing =
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let client = vec![send(begun), Message, send("world"), send(GET), Message];
    let origin = vec![Head, send(early), Body, Message, send(OK)];
    group.same("the client goes on, and with it the connection", section, client, origin).await;
    let client = vec![send(begun), Message, Close];
    let origin = vec![Head, send(early), Body];
    group.same("the client gives up", section, client, origin).await;
    let client = vec![send(begun), Message, HalfClose, End];
    let origin = vec![Head, send(early), Body, Close];
    group.same("the client ends its half", section, client, origin).await;
    let client = vec![send(begun), Message, End];
    let origin = vec![Head, Read(5), send(closing), Close];
    group.same("the origin closes", section, client, origin).await;
    let chunked =
        "POST / HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let client = vec![send(chunked), Message, send("5\r\nworld\r\n0\r\n\r\n"), send(GET), Message];
    let origin = vec![Head, send(early), Body, Message, send(OK)];
    group.same("chunked, the client goes on", section, client, origin).await;
    // Both bodies run at once: what the client sends next depends on what it has read of the answer.
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n";
    let client = vec![send(chunked), Head, Signal, send("4\r\npong\r\n0\r\n\r\n"), Body];
    let origin = vec![Head, send(answer), Await, Body, send("0\r\n\r\n")];
    group.same("both at once", "9112, 9.3", client, origin).await;
    // The client has more to send than the buffers between take, and the origin reads none of it.
    let head = "POST / HTTP/1.1\r\nHost: books\r\nContent-Length: 20000000\r\n\r\n";
    let client = vec![send(head), send(vec![b'x'; 1000]), Message, Signal];
    let origin = vec![Head, send(early), Await];
    group.same("a large request unread", section, client, origin).await;
    group.finish().await;
}
