//! Targets and fields that pass as they are (RFC 9110, sections 4, 5 and 7; RFC 9112, sections 3 and 5).

use crate::group::Group;
use crate::script::Step::{IfCalled, Message};
use crate::script::{Transcript, fields, send};

const GET: &str = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_passes_byte_for_byte() {
    let mut group = Group::start().await;
    let long = format!("/{}", "a".repeat(60_000));
    for target in [
        "/a%2Fb/%2e%2e/c?x=%20&y=%2e%2e",
        "/a/../b/./c",
        "//two//slashes",
        "/?",
        "/a?b?c=?",
        "/a;b=c,d!$&'()*+@:~_-.",
        "/%zz%",
        "/a?q=a|b",
        "/a?q={b}",
        "/a|b/{c}",
        "/a?q=[1]",
        "/a[1]",
        "/a?q=b^c",
        "/a?q=b`c",
        "/a?q=b\\c",
        "/a\\b",
        "/ä?ö=ü",
        "/a?q=日本",
        long.leak(),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: books\r\n\r\n");
        let (client, origin) = (vec![send(request), Message], vec![Message, send(OK)]);
        group.same(target, "9112, 3.2.1: as without the recorder", client, origin).await;
    }
    // These are in no target's grammar: a recipient should refuse them (RFC 9112, section 3), and some servers do not.
    for target in ["/a?q=\"b\"", "/a?q=<b>", "/<a>"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: books\r\n\r\n");
        let (client, origin) = (vec![send(request), Message], vec![IfCalled, Message, send(OK)]);
        let refused = |seen: &mut Transcript, through: &Transcript| {
            if through.origin.is_empty()
                && through.client.first().is_some_and(|first| first == "answer 400")
            {
                *seen = through.clone();
            }
        };
        group.same_but(target, "9112, 3", client, origin, refused).await;
    }
    for request in [
        "GET http://books/a?b HTTP/1.1\r\nHost: books\r\n\r\n",
        "GET http://books:8080/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
        "GET http://books HTTP/1.1\r\nHost: books\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: books\r\n\r\n",
        "OPTIONS /a HTTP/1.1\r\nHost: books\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: BOOKS:8080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "M-SEARCH /a HTTP/1.1\r\nHost: books\r\n\r\n",
        "!#$%&'*+-.^_`|~ /a HTTP/1.1\r\nHost: books\r\n\r\n",
    ] {
        let (client, origin) = (vec![send(request), Message], vec![Message, send(OK)]);
        group.same(request, "9112, 3 and 3.2", client, origin).await;
    }
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_pass_byte_for_byte() {
    let mut group = Group::start_with("head_fields_max = 400").await;
    let long = format!("X-Long: {}\r\n", "v".repeat(60 << 10));
    let high: Vec<u8> = (0x80..=0xff).collect();
    let high = [b"X-High: ", &*high, b"\r\n"].concat();
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("100 fields", fields(100).into()),
        ("300 fields", fields(300).into()),
        ("60 KiB in one field", long.into()),
        ("bytes above 0x7f", high),
        ("an empty value", "X-Empty:\r\nX-Other: 1\r\n".into()),
        ("whitespace alone", "X-Blank: \t \r\n".into()),
        ("whitespace around", "X-Wide: \t a \t b \t\r\n".into()),
        ("no whitespace", "X-Tight:a\r\n".into()),
        ("tabs within", "X-Tab: a\tb\r\n".into()),
        ("one name twice, in order", "X-A: 2\r\nx-a: 1\r\nX-B: 0\r\nX-A: 3, 4\r\n".into()),
        ("Set-Cookie twice", "Set-Cookie: b=2; Path=/\r\nSet-Cookie: a=1\r\nset-cookie: c=3\r\n".into()),
        ("names in odd characters", "!#$%&'*+-.^_`|~: 1\r\n9: 2\r\n".into()),
        ("quotes and separators", "X-Q: \"a,b\"; c=(d) <e> @[f]{g}\\h\r\n".into()),
        ("conditions", "If-None-Match: \"a\", W/\"b\"\r\nRange: bytes=0-1\r\nIf-Range: \"a\"\r\n".into()),
        ("forwarding", "Via: 1.0 a\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=a\r\nMax-Forwards: 0\r\n".into()),
        ("credentials", "Authorization: Bearer x\r\nCookie: a=1\r\nCookie: b=2\r\nProxy-Authorization: Basic x\r\n".into()),
        ("a date", "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: x\r\nAge: 5\r\nWarning: 199 - x\r\n".into()),
        ("an encoding", "Accept-Encoding: gzip, br\r\nContent-Encoding: odd\r\nContent-Type:text/x\r\n".into()),
        ("a declared trailer", "Trailer: X-Sum\r\n".into()),
    ];
    for (name, given) in all {
        let request = [b"GET / HTTP/1.1\r\nHost: books\r\n", &*given, b"\r\n"].concat();
        let (client, origin) = (vec![send(request), Message], vec![Message, send(OK)]);
        group.same(name, "9110, 5, request", client, origin).await;
        let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", &*given, b"\r\nok"].concat();
        let (client, origin) = (vec![send(GET), Message], vec![Message, send(answer)]);
        group.same(name, "9110, 5, answer", client, origin).await;
    }
    let reason = "HTTP/1.1 200 \u{e4}\t odd \r\nContent-Length: 2\r\n\r\nok";
    let origin = vec![Message, send(reason)];
    group.same("an odd reason", "9112, 4", vec![send(GET), Message], origin).await;
    group.finish().await;
}
