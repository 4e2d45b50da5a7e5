//! Request smuggling by the form of a head (RFC 9112, sections 2.2, 3 and 5; RFC 9110, sections 5.5 and 7.2).

use crate::attack::Attacks;
use crate::attack::Fate::{Once, Refused, RefusedOr};
use crate::script::fields;

const T: &[&str] = &["GET /t || \"\""];
const VALUE: &[&str] = &["GET /t | X-A: a b | \"\"", "GET /t | X-A: a  b | \"\""];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_stated_once() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 3.2";
    for (name, fields) in [
        ("none", ""),
        ("two alike", "Host: books\r\nHost: books\r\n"),
        ("two that differ", "Host: books\r\nHost: evil\r\n"),
        ("two, the names' case differs", "Host: books\r\nhost: evil\r\n"),
        ("two, one empty", "Host: books\r\nHost:\r\n"),
        ("two, others between", "Host: books\r\nX-A: 1\r\nhOsT: evil\r\n"),
        ("a list", "Host: books, evil\r\n"),
        ("a space", "Host: books evil\r\n"),
        ("a path", "Host: books/evil\r\n"),
        ("a query", "Host: books?a\r\n"),
        ("a fragment", "Host: books#a\r\n"),
        ("userinfo", "Host: a@books\r\n"),
        ("a port that is none", "Host: books:http\r\n"),
        ("a port that is negative", "Host: books:-1\r\n"),
        ("a scheme", "Host: http://books\r\n"),
        ("brackets that do not close", "Host: [::1\r\n"),
        ("a backslash", "Host: books\\evil\r\n"),
        ("a control byte", "Host: boo\u{7f}ks\r\n"),
        ("a tab", "Host: books\tevil\r\n"),
        ("angle brackets", "Host: <books>\r\n"),
        ("braces", "Host: {books}\r\n"),
        ("a quote", "Host: \"books\"\r\n"),
        ("space before the colon", "Host : books\r\n"),
    ] {
        let request = format!("GET /t HTTP/1.1\r\n{fields}\r\n");
        attacks.check(name, section, request, Refused(&[400])).await;
    }
    for host in ["books", "books:8080", "[::1]:80", "127.0.0.1", "BOOKS", "a_b.c-d", "books:", ""] {
        let request = format!("GET /t HTTP/1.1\r\nHost: {host}\r\n\r\n");
        attacks.check("valid", section, request, Once(T)).await;
    }
    let both = "GET http://books/t HTTP/1.1\r\nHost: books\r\nHost: evil\r\n\r\n";
    attacks.check("absolute, two", section, both, Refused(&[400])).await;
    let none = "GET http://books/t HTTP/1.1\r\n\r\n";
    attacks.check("absolute, none", section, none, Refused(&[400])).await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_line_has_three_parts() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 3";
    for line in [
        "G@T /t HTTP/1.1",
        "GE(T /t HTTP/1.1",
        "GE\u{b}T /t HTTP/1.1",
        "G\0T /t HTTP/1.1",
        "GÉT /t HTTP/1.1",
        " GET /t HTTP/1.1",
        "\tGET /t HTTP/1.1",
        "GET",
        "GET /t",
        "GET /t ",
        "/t HTTP/1.1",
        "GET /t /u HTTP/1.1",
        "GET /t HTTP/1.1 x",
        "GET /t\0 HTTP/1.1",
        "GET /t\u{7f} HTTP/1.1",
        "GET /t\u{1} HTTP/1.1",
        "GET /t\rHost: evil HTTP/1.1",
        "GET t HTTP/1.1",
        "GET /t\tHTTP/1.1",
        "GET\t/t\tHTTP/1.1",
        "GET /t\u{b}HTTP/1.1",
        "GET  HTTP/1.1",
        "GET /t http/1.1",
        "GET /t Http/1.1",
        "GET /t HTTP/1",
        "GET /t HTTP/11",
        "GET /t HTTP/1.",
        "GET /t HTTP/.1",
        "GET /t HTTP/a.b",
        "GET /t HTTP/1.1a",
        "GET /t HTTP/1.11",
        "GET /t HTTP/+1.1",
        "GET /t XTTP/1.1",
        "GET /t HTTPS/1.1",
        "GET /t 1.1",
        "GET books:80 HTTP/1.1",
    ] {
        let request = format!("{line}\r\nHost: books\r\n\r\n");
        attacks.check("a request line", section, request, Refused(&[400, 501, 505])).await;
    }
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9", "HTTP/0.0"] {
        let request = format!("GET /t {version}\r\nHost: books\r\n\r\n");
        attacks.check("a version", "9110, 2.5", request, Refused(&[400, 505])).await;
    }
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        let request = format!("GET /t {version}\r\nHost: books\r\n\r\n");
        attacks.check("a later version", "9110, 2.5", request, RefusedOr(&[400, 505], T)).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_request_is_taken_for_none() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 3";
    // Whitespace that a lenient parser may take for one space (RFC 9112, section 3).
    for line in ["GET  /t HTTP/1.1", "GET /t  HTTP/1.1", "GET /t HTTP/1.1 "] {
        let request = format!("{line}\r\nHost: books\r\n\r\n");
        attacks.check("whitespace", section, request, RefusedOr(&[400], T)).await;
    }
    let star = RefusedOr(&[400], &["GET * || \"\""]);
    let section = "9112, 3.2.4";
    attacks.check("*", section, "GET * HTTP/1.1\r\nHost: books\r\n\r\n", star).await;
    let old = "GET /t\r\n\r\n";
    attacks.check("HTTP/0.9", "9112, 3", old, Refused(&[400, 505])).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
    attacks.check("half an HTTP/2 preface", "9113, 3.4", preface, Refused(&[400, 505, 0])).await;
    attacks
        .check(
            "TLS",
            "9112, 3",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            Refused(&[400, 0]),
        )
        .await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_ends_in_cr_lf() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 2.2";
    let get = "GET /t HTTP/1.1\r\nHost: books\r\n\r\n";
    attacks.check("one empty line before", section, format!("\r\n{get}"), Once(T)).await;
    let lines = format!("\r\n\r\n\r\n{get}");
    attacks.check("empty lines before", section, lines, RefusedOr(&[400], T)).await;
    attacks.check("LF before", section, format!("\n{get}"), RefusedOr(&[400], T)).await;
    attacks.check("CR before", section, format!("\r{get}"), RefusedOr(&[400], T)).await;
    for request in [
        "GET /t HTTP/1.1\nHost: books\n\n",
        "GET /t HTTP/1.1\r\nHost: books\n\r\n",
        "GET /t HTTP/1.1\nHost: books\r\n\r\n",
        "GET /t HTTP/1.1\r\nHost: books\r\n\n",
    ] {
        attacks.check("LF", section, request, RefusedOr(&[400], T)).await;
    }
    for request in [
        "GET /t HTTP/1.1\rHost: books\r\r",
        "GET /t HTTP/1.1\rHost: books\r\n\r\n",
        "GET /t HTTP/1.1\r\nHost: books\rX-A: 1\r\n\r\n",
        "GET /t HTTP/1.1\r\r\nHost: books\r\n\r\n",
    ] {
        attacks.check("CR", section, request, Refused(&[400])).await;
    }
    // An empty line that is none must not end the head early.
    let early = "GET /t HTTP/1.1\r\nHost: books\r\n\rGET /smuggled HTTP/1.1\r\nHost: books\r\n\r\n";
    attacks.check("CR for the empty line", section, early, Refused(&[400])).await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_a_name_a_colon_and_a_value() {
    let mut attacks = Attacks::start().await;
    let get = |field: &str| format!("GET /t HTTP/1.1\r\nHost: books\r\n{field}\r\n\r\n");
    for (name, field) in [
        ("space before the colon", "X-A : a"),
        ("tab before the colon", "X-A\t: a"),
        ("space in the name", "X A: a"),
        ("no colon", "X-A"),
        ("no name", ": a"),
        ("NUL in the name", "X\0A: a"),
        ("a control byte in the name", "X\u{1}A: a"),
        ("CR in the name", "X\rA: a"),
        ("a byte above 0x7f in the name", "XÄ: a"),
        ("a separator in the name", "X(A): a"),
        ("a slash in the name", "X/A: a"),
        ("an at sign in the name", "X@A: a"),
        ("a bracket in the name", "X[A]: a"),
        ("a quote in the name", "\"X-A\": a"),
    ] {
        attacks.check(name, "9112, 5.1", get(field), Refused(&[400])).await;
    }
    // A recipient refuses these, or puts a space in their place (RFC 9110, section 5.5; RFC 9112, sections 2.2 and 5.2).
    for (name, field) in [
        ("NUL in a value", "X-A: a\0b"),
        ("CR in a value", "X-A: a\rb"),
        ("a folded value", "X-A: a\r\n b"),
        ("a value folded by a tab", "X-A: a\r\n\tb"),
        ("a value folded from its start", "X-A:\r\n a b"),
    ] {
        attacks.check(name, "9110, 5.5", get(field), RefusedOr(&[400], VALUE)).await;
    }
    // Other control bytes may be kept where they do no harm.
    for control in ["\u{1}", "\u{8}", "\u{b}", "\u{c}", "\u{1f}", "\u{7f}"] {
        let field = format!("X-A: a{control}b");
        attacks
            .check("a control byte in a value", "9110, 5.5", get(&field), RefusedOr(&[400], VALUE))
            .await;
    }
    let first = "GET /t HTTP/1.1\r\n X-A: a\r\nHost: books\r\n\r\n";
    let section = "9112, 2.2: whitespace before the first field";
    attacks.check("a line that begins with a space", section, first, RefusedOr(&[400], T)).await;
    let first = "GET /t HTTP/1.1\r\n\tHost: evil\r\nHost: books\r\n\r\n";
    attacks.check("a line that begins with a tab", section, first, RefusedOr(&[400], T)).await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_bounded() {
    let mut attacks = Attacks::start().await;
    let section = "9110, 5.4 and 15.5.15; RFC 6585, 5";
    let line = format!("GET /{} HTTP/1.1\r\nHost: books\r\n\r\n", "a".repeat(4 << 20));
    attacks.check("a target of 4 MB", section, line, Refused(&[400, 414, 431, 0])).await;
    let field = format!("GET /t HTTP/1.1\r\nHost: books\r\nX-A: {}\r\n\r\n", "a".repeat(4 << 20));
    attacks.check("a field of 4 MB", section, field, Refused(&[400, 431, 0])).await;
    let many = fields(100_000);
    let many = format!("GET /t HTTP/1.1\r\nHost: books\r\n{many}\r\n");
    attacks.check("100,000 fields", section, many, Refused(&[400, 431, 0])).await;
    let many = fields(1200);
    let many = format!("GET /t HTTP/1.1\r\nHost: books\r\n{many}\r\n");
    attacks.check("1,200 fields in 14 KB", section, many, Refused(&[400, 431])).await;
    let lines = "\r\n".repeat(2 << 20);
    attacks
        .check(
            "4 MB of empty lines",
            section,
            lines,
            RefusedOr(&[400, 431, 0], &["GET /after || \"\""]),
        )
        .await;
    attacks.finish().await;
}
