//! Answers that are no answers: the client never sees a message that is framed otherwise than the origin meant it.

use tokio::net::TcpListener;

use crate::group::Group;
use crate::script::Step::{Close, IfCalled, Message};
use crate::script::{Step, fields, send};

const GET: &str = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
const RIGHT: &str = "HTTP/1.1 200 OK\r\nX-Right: 1\r\nContent-Length: 5\r\n\r\nright";

const BREAKS_OFF: &str = "9112, 8";

/// What the client may see of an answer.
#[derive(Clone, Copy, Debug)]
enum May {
    /// 502, by the proxy.
    BadGateway,
    /// A status, and a body that breaks off.
    Cut,
    /// The connection's end without an answer.
    Ended,
    /// These fields and this body, whole.
    Be(&'static [&'static str]),
}
use May::{BadGateway, Be, Cut, Ended};

/// Plays an answer, and a second request on the client's connection, which no remainder of the first answer may answer.
async fn check(group: &mut Group, section: &'static str, answer: impl Into<Vec<u8>>, may: &[May]) {
    let answer = answer.into();
    for close in [true, false] {
        // What breaks off is known to by its end alone.
        if !close && section == BREAKS_OFF {
            continue;
        }
        let name = crate::script::shown(&answer).leak();
        let client = vec![send(GET), Message, send(GET), Message];
        let mut origin: Vec<Step> = vec![Message, send(answer.clone())];
        origin.extend(close.then_some(Close));
        origin.extend([IfCalled, Message, send(RIGHT)]);
        let case = crate::script::Case { name, section, client, origin };
        let through = group.through(&case).await;
        if !is_one_of(&through.client, may) {
            let what = format!("  expected: {may:?}\n  the client saw: {:#?}\n", through.client);
            group.fail(&case, &what);
        }
    }
}

fn is_one_of(seen: &[String], may: &[May]) -> bool {
    let second = seen.iter().skip(1).position(|line| line.starts_with("answer "));
    let (first, second) = second.map_or((seen, &[][..]), |at| seen.split_at(at + 1));
    let right = [
        "answer 200",
        "  content-length: \"5\"",
        "  x-right: \"1\"",
        "  body \"right\"",
        "  whole",
    ];
    let (first, ended) = match first.split_last() {
        Some((last, first)) if last == "ended" => (first, true),
        _ => (first, false),
    };
    if seen.iter().any(|line| line.contains("evil"))
        || !(ended || second == right || second == ["ended"])
    {
        return false;
    }
    may.iter().any(|may| match may {
        BadGateway => {
            first.first().is_some_and(|line| line == "answer 502")
                && first.last().unwrap() == "  whole"
        }
        Ended => seen == ["ended"],
        Cut => first.last().is_some_and(|line| line == "  cut"),
        Be(lines) => first == *lines,
    })
}

const HELLO: May = Be(&["answer 200", "  body \"hello\"", "  whole"]);
const HELLO_5: May = Be(&["answer 200", "  content-length: \"5\"", "  body \"hello\"", "  whole"]);
const X_A: May =
    Be(&["answer 200", "  content-length: \"5\"", "  x-a: \"a b\"", "  body \"hello\"", "  whole"]);

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_doubtful_length_is_a_bad_gateway() {
    let mut group = Group::start().await;
    group.unreached_max = 200;
    let section = "9112, 6.3";
    for value in ["+5", "-1", "0x5", "5 5", "five", "", "5.0", "18446744073709551616", "5, 6"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nhello");
        check(&mut group, section, answer, &[BadGateway]).await;
    }
    for fields in
        ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: 9\r\nContent-Length: 5"]
    {
        check(
            &mut group,
            section,
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello"),
            &[BadGateway],
        )
        .await;
    }
    for fields in
        ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5", "Content-Length: 5,5"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello");
        check(&mut group, section, answer, &[BadGateway, HELLO_5]).await;
    }
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nContent-Length: 500",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
        check(&mut group, section, answer, &[BadGateway, Ended, HELLO]).await;
    }
    for coding in [
        "xchunked",
        "chunked, identity",
        "chunked, chunked",
        "chunked, gzip",
        "cow",
        "\u{b}chunked",
        "\"chunked\"",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{body}");
        check(&mut group, "9112, 6.1 and 6.3", answer, &[BadGateway]).await;
    }
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_body_is_malformed_is_cut() {
    let mut group = Group::start().await;
    group.unreached_max = 200;
    for body in [
        "g\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX A: 1\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        // Bytes that arrive together with the head may be judged together with it.
        check(&mut group, "9112, 7.1", answer, &[Cut, BadGateway]).await;
    }
    for body in [
        "5\r\nhello\r\n0\r\nX-A: 1\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0",
        "5\r\nhello\r\n",
        "5\r\nhel",
        "5\r\n",
        "5",
        "",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        check(&mut group, BREAKS_OFF, answer, &[Cut, BadGateway]).await;
    }
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
    check(&mut group, BREAKS_OFF, short, &[Cut, BadGateway]).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_malformed_head_is_a_bad_gateway() {
    let mut group = Group::start().await;
    group.unreached_max = 200;
    let section = "9112, 4";
    for line in [
        "garbage",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\0OK",
        "HTTP/1.1 000 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "",
    ] {
        let answer = format!("{line}\r\nContent-Length: 5\r\n\r\nhello");
        check(&mut group, section, answer, &[BadGateway]).await;
    }
    let none = "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello";
    check(&mut group, section, none, &[BadGateway, HELLO_5]).await;
    for field in ["X A: a b", "X-A", ": a b", "X\0A: a b", "X(A): a b"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 5\r\n\r\nhello");
        check(&mut group, "9112, 5.1", answer, &[BadGateway]).await;
    }
    // The proxy repairs these or refuses them; it passes none of them on.
    for field in
        ["X-A : a b", "X-A\t: a b", "X-A: a\0b", "X-A: a\rb", "X-A: a\r\n b", "X-A: a\r\n\tb"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 5\r\n\r\nhello");
        check(&mut group, "9112, 2.2, 5.1 and 5.2", answer, &[BadGateway, X_A]).await;
    }
    let lf = "HTTP/1.1 200 OK\nX-A: a b\nContent-Length: 5\n\nhello";
    check(&mut group, "9112, 2.2", lf, &[BadGateway, X_A]).await;
    let many = fields(20_000);
    let many = format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 5\r\n\r\nhello");
    check(&mut group, "9110, 5.4", many, &[BadGateway]).await;
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\nhello", "a".repeat(4 << 20));
    check(&mut group, "9110, 5.4", long, &[BadGateway]).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_answer_answers_nothing() {
    let mut group = Group::start().await;
    group.unreached_max = 50;
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (first, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", HELLO_5),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", HELLO),
        ("HTTP/1.1 204 No Content\r\n\r\n", Be(&["answer 204", "  whole"])),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", Be(&["answer 304", "  whole"])),
    ] {
        check(&mut group, "9112, 9.2 and 9.3", format!("{first}{evil}"), &[expected]).await;
    }
    let with_body = "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil";
    let kept = Be(&["answer 204", "  content-length: \"4\"", "  whole"]);
    let bare = Be(&["answer 204", "  whole"]);
    let section = "9112, 6.3; 9110, 8.6";
    check(&mut group, section, with_body, &[kept, bare, BadGateway]).await;
    let chunked =
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n";
    check(&mut group, section, chunked, &[bare, BadGateway]).await;
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil";
    let kept = Be(&["answer 304", "  content-length: \"4\"", "  whole"]);
    check(&mut group, section, not_modified, &[kept, Be(&["answer 304", "  whole"])]).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_not_there_is_a_bad_gateway() {
    let mut group = Group::start().await;
    group.unreached_max = 1;
    // Nothing listens any more where the recorder forwards to.
    drop(std::mem::replace(&mut group.origin, TcpListener::bind("127.0.0.1:0").await.unwrap()));
    let client = vec![send(GET), Message];
    group.first("connection refused", "9110, 15.6.3", client, vec![], &["answer 502"]).await;
    group.finish().await;
}
