//! Message framing (RFC 9112, sections 6 and 7; RFC 9110, sections 6.4, 8.6 and 9.3.2).

use crate::group::Group;
use crate::script::Step::{Bodiless, Close, HalfClose, Message};
use crate::script::{Transcript, send};

const GET: &str = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A chunked request with this body, as it stands on the wire.
fn chunked(body: &str) -> Vec<u8> {
    format!("POST /book HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into()
}

fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into()
}

const CHUNKS: [(&str, &str); 6] = [
    ("a chunk of each odd size", "1\r\na\r\n3\r\nbcd\r\n7\r\nefghijk\r\n0\r\n\r\n"),
    ("lower-case hex", "a\r\n0123456789\r\n0\r\n\r\n"),
    ("upper-case hex", "A\r\n0123456789\r\n0\r\n\r\n"),
    ("leading zeros", "00005\r\nhello\r\n000\r\n\r\n"),
    ("extensions", "5;a=1;b=\"2\"\r\nhello\r\n0;last\r\n\r\n"),
    ("no data", "0\r\n\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_every_form_carry_the_same_body() {
    let mut group = Group::start().await;
    for (name, body) in CHUNKS {
        let (client, origin) = (vec![send(chunked(body)), Message], vec![Message, send(OK)]);
        group.same(name, "9112, 7.1, request", client, origin).await;
        let (client, origin) = (vec![send(GET), Message], vec![Message, send(answer(body))]);
        group.same(name, "9112, 7.1, answer", client, origin).await;
    }
    let trailers = "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\nX-Other:\r\n\r\n";
    // What the head did not announce, a recipient may discard (RFC 9112, section 7.1.2): all of it.
    let discarded = |seen: &mut Transcript, _: &Transcript| {
        for lines in [&mut seen.client, &mut seen.origin] {
            lines.retain(|line| !line.starts_with("  trailer "));
        }
    };
    let same = |_: &mut Transcript, _: &Transcript| {};
    for declared in ["Trailer: X-Sum, X-Other\r\n", ""] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: books\r\n{declared}TE: trailers\r\nConnection: te\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let answer = format!("HTTP/1.1 200 OK\r\n{declared}Transfer-Encoding: chunked\r\n\r\n");
        let name = if declared.is_empty() { "trailers undeclared" } else { "trailers declared" };
        let allowed: &dyn Fn(&mut Transcript, &Transcript) =
            if declared.is_empty() { &discarded } else { &same };
        let (client, origin) =
            (vec![send(head.clone() + trailers), Message], vec![Message, send(OK)]);
        group.same_but(name, "9110, 6.5, request", client, origin, allowed).await;
        let get = "GET / HTTP/1.1\r\nHost: books\r\nTE: trailers\r\nConnection: te\r\n\r\n";
        let (client, origin) =
            (vec![send(get), Message], vec![Message, send(answer.clone() + trailers)]);
        group.same_but(name, "9110, 6.5, answer", client, origin, allowed).await;
    }
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_the_body_that_it_says() {
    let mut group = Group::start().await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "PURGE", "get"] {
        for (name, rest) in [
            ("a length", "Content-Length: 5\r\n\r\nhello"),
            ("a length of zero", "Content-Length: 0\r\n\r\n"),
            ("a length with leading zeros", "Content-Length: 0005\r\n\r\nhello"),
            ("chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            ("no body", "\r\n"),
        ] {
            let request = format!("{method} / HTTP/1.1\r\nHost: books\r\n{rest}");
            let read = if method == "HEAD" { Bodiless } else { Message };
            let (client, origin) = (vec![send(request), read], vec![Message, send(OK)]);
            group.same(name, "9110, 9.3 and 8.6", client, origin).await;
        }
    }
    let coding = "POST / HTTP/1.1\r\nHost: books\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (client, origin) = (vec![send(coding), Message], vec![Message, send(OK)]);
    group.same("a coding's name in capitals", "9112, 7", client, origin).await;
    let large = vec![b'x'; 3 << 20];
    let head = format!("POST / HTTP/1.1\r\nHost: books\r\nContent-Length: {}\r\n\r\n", large.len());
    let request = [head.as_bytes(), &large].concat();
    let back = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large.len());
    let origin = vec![Message, send([back.as_bytes(), &large].concat())];
    group.same("3 MiB each way", "9112, 6.2", vec![send(request), Message], origin).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_body_that_its_status_and_method_leave_it() {
    let mut group = Group::start().await;
    let head = "HEAD / HTTP/1.1\r\nHost: books\r\n\r\n";
    for fields in
        ["Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", ""]
    {
        let answer = format!("HTTP/1.1 200 OK\r\nX-A: 1\r\n{fields}\r\n");
        let client = vec![send(head), Bodiless, send(GET), Message];
        let origin = vec![Message, send(answer), Message, send(OK)];
        group.same("an answer to HEAD", "9110, 9.3.2", client, origin).await;
    }
    for answer in [
        "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 500 Bad\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let client = vec![send(GET), Message, send(GET), Message];
        let origin = vec![Message, send(answer), Message, send(OK)];
        group.same(answer, "9112, 6.3", client, origin).await;
    }
    // The length that an answer without a body would have is for caches, and may be left out (RFC 9110, section 8.6).
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n";
    let left_out = |seen: &mut Transcript, _: &Transcript| drop(seen.client.remove(1));
    let client = vec![send(GET), Message, send(GET), Message];
    let origin = vec![Message, send(not_modified), Message, send(OK)];
    group.same_but("304 with a length", "9112, 6.3", client, origin, left_out).await;
    for old in ["Connection: keep-alive\r\n", "Connection: close\r\n", ""] {
        let answer = format!("HTTP/1.0 200 OK\r\n{old}Content-Length: 5\r\n\r\nhello");
        let origin = vec![Message, send(answer), Close];
        group.same("HTTP/1.0 with a length", "9112, 9.3", vec![send(GET), Message], origin).await;
    }
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\nX-A: 1\r\n\r\nto the end");
        let origin = vec![Message, send(answer), Close];
        group.same("an answer to the end", "9112, 6.3", vec![send(GET), Message], origin).await;
    }
    let origin = vec![Message, send("HTTP/1.1 200 OK\r\n\r\n"), Close];
    group.same("an empty answer to the end", "9112, 6.3", vec![send(GET), Message], origin).await;
    // What a server sends one byte at a time is the same message.
    let origin = OK.bytes().map(|byte| send([byte]));
    let origin = [Message].into_iter().chain(origin).collect();
    group.same("an answer in single bytes", "9112, 2", vec![send(GET), Message], origin).await;
    let client = chunked(CHUNKS[4].1).into_iter().map(|byte| send([byte]));
    let client = client.chain([Message]).collect();
    group.same("a request in single bytes", "9112, 2", client, vec![Message, send(OK)]).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_served_as_it_asks() {
    let mut group = Group::start().await;
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let client = |text: &str| vec![send(text), Message, crate::script::Step::End];
    for (name, request) in [
        ("with Host", "GET /a HTTP/1.0\r\nHost: books\r\n\r\n"),
        ("with a body", "POST /a HTTP/1.0\r\nHost: books\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        let origin = vec![Message, send(closing), Close];
        group.same(name, "9112, 9.3", client(request), origin).await;
    }
    let through = client("GET /a HTTP/1.0\r\n\r\n");
    let seen = ["answer 200", "  content-length: \"2\"", "  body \"ok\"", "  whole", "end"];
    // Which host the origin then sees is the proxy's choice; that there is one in HTTP/1.1, the reader checks.
    group
        .expect(
            "without Host",
            "9112, 3.2",
            through,
            vec![Message, send(closing), Close],
            (&[&seen], &[]),
        )
        .await;
    // The answer is chunked on one side and ends with its connection on the other.
    let old = "GET /a HTTP/1.0\r\nHost: books\r\n\r\n";
    let origin = vec![Message, send(answer("5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"))];
    let seen = ["answer 200", "  body \"hello\"", "  whole", "end"];
    group.expect("no chunks for HTTP/1.0", "9112, 7.1", client(old), origin, (&[&seen], &[])).await;
    let kept = "GET /a HTTP/1.0\r\nHost: books\r\nConnection: keep-alive\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
    let both = vec![send(kept), Message, send(kept), Message];
    let origin = vec![Message, send(answer), Message, send(answer)];
    group.same("kept alive as asked", "9112, 9.3 and C.2.2", both, origin).await;
    let half = vec![send(old), HalfClose, Message, crate::script::Step::End];
    group.same("half-closed", "9112, 9.6", half, vec![Message, send(closing), Close]).await;
    group.finish().await;
}
