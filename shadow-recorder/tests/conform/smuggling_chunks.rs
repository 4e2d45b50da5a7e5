//! Request smuggling by chunks and trailers (RFC 9112, section 7.1).

use crate::attack::Attacks;
use crate::attack::Fate::{Broken, Once, OnceOrBroken, RefusedOr, Unfinished};
use crate::script::fields;

fn post(body: &str) -> String {
    format!("POST /t HTTP/1.1\r\nHost: books\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

const HELLO: &[&str] = &["POST /t || \"hello\""];
const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: books\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_has_the_size_that_it_says() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 7.1";
    for size in ["5", "05", "0000000000000005"] {
        let request = post(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
        attacks.check("valid", section, request, Once(HELLO)).await;
    }
    for size in [
        "10000000000000005",
        "ffffffffffffffffffff5",
        "+5",
        "-5",
        "0x5",
        "x5",
        "5x",
        "g",
        "",
        "5 5",
        "5,",
        "5.0",
        "\u{b}5",
        "5\u{b}",
        "5\0",
        "\x005",
        "_5",
        "5_0",
        "5h",
        "\"5\"",
        "5\r",
        "5\r;a",
    ] {
        let request = post(&format!("{size}\r\nhello\r\n0\r\n\r\n{INNER}"));
        attacks.check("no size", section, request, Broken).await;
    }
    // Bad whitespace, which some recipients accept behind the size (RFC 9112, section 7.1.1).
    for size in [" 5", "5 ", "5\t", "5 ;a=b"] {
        let request = post(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
        attacks.check("whitespace", section, request, OnceOrBroken(HELLO)).await;
    }
    for size in ["7fffffffffffffff", "ffffffffffffffff", "fffffffffffffffe", "8000000000000000"] {
        let request = post(&format!("{size}\r\nhello\r\n0\r\n\r\n{INNER}"));
        // A size that fits the type and no memory: the client never ends such a chunk.
        attacks.check("an immense size", section, request, Unfinished).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_ends_where_it_ends() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 7.1";
    for (name, body) in [
        ("no end", "5\r\nhello0\r\n\r\n"),
        ("LF for its end", "5\r\nhello\n0\r\n\r\n"),
        ("CR for its end", "5\r\nhello\r0\r\n\r\n"),
        ("two bytes for its end", "5\r\nhelloXX0\r\n\r\n"),
        ("data beyond its size", "4\r\nhello\r\n0\r\n\r\n"),
        ("CR CR LF", "5\r\nhello\r\r\n0\r\n\r\n"),
        ("LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
        ("LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("LF behind the semicolon", "5;\nhello\r\n0\r\n\r\n"),
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("an empty line between chunks", "5\r\nhello\r\n\r\n0\r\n\r\n"),
    ] {
        attacks.check(name, section, post(&format!("{body}{INNER}")), Broken).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chunks_carry_beside_data_is_bounded() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 7.1.1 and 7.1.2";
    for extension in [";a", ";a=b", ";a=\"b;c\"", ";a;b;c", ";a=\"5\\\"\""] {
        let request = post(&format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n"));
        attacks.check("an extension", section, request, Once(HELLO)).await;
    }
    let nul = post("5;a\0\r\nhello\r\n0\r\n\r\n");
    attacks.check("NUL in an extension", section, nul, OnceOrBroken(HELLO)).await;
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(4000));
    attacks.check("4 KB of extension", section, post(&long), RefusedOr(&[400], HELLO)).await;
    let huge = post(&format!("5;a={}", "x".repeat(4 << 20)));
    attacks.check("4 MB of extension", section, huge, Broken).await;
    let many = post(&format!("1;{}\r\nx\r\n", "a".repeat(60)).repeat(20_000));
    attacks.check("small extensions, 1 MB in all", section, many, Broken).await;
    let long = post(&format!("5\r\nhello\r\n0\r\nX-Long: {}", "x".repeat(4 << 20)));
    attacks.check("4 MB of a trailer", section, long, Broken).await;
    let many = fields(100_000);
    let many = post(&format!("5\r\nhello\r\n0\r\n{many}"));
    attacks.check("100,000 trailers", section, many, Broken).await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_never_becomes_part_of_the_head() {
    let mut attacks = Attacks::start().await;
    let section = "9110, 6.5.1";
    for trailer in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: evil",
        "Connection: close",
        "Authorization: evil",
        "X-Trailer: 1",
    ] {
        let request = post(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"));
        // The line shows the fields of the head alone.
        attacks.check("a trailer", section, request, OnceOrBroken(HELLO)).await;
    }
    let section = "9112, 5.1 and 7.1.2";
    for trailer in ["X-A : 1", "X A: 1", "X-A", ": 1", "X-\u{b}: 1", "X-A\0: 1"] {
        let request = post(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n{INNER}"));
        attacks.check("a malformed trailer", section, request, Broken).await;
    }
    // What a recipient may repair (RFC 9112, sections 2.2 and 5.2; RFC 9110, section 5.5).
    for trailer in [" X-A: 1", "X-A: 1\r\n 2", "X-A: a\0b", "X-A: a\rb", "X-A: 1\nX-B: 2"] {
        let request = post(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"));
        attacks.check("a doubtful trailer", section, request, OnceOrBroken(HELLO)).await;
    }
    attacks.finish().await;
}
