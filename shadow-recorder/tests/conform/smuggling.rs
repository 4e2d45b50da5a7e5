//! Request smuggling by length and by coding (RFC 9112, sections 6.1 to 6.3 and 11.2).

use crate::attack::Attacks;
use crate::attack::Fate::{Once, Refused, RefusedOr, RefusedOrLast};

const HELLO: &[&str] = &["POST /t || \"hello\""];
const EMPTY: &[&str] = &["POST /t || \"\""];
const WIKI: &[&str] = &["POST /t || \"wiki\""];

fn post(fields: &str, body: &str) -> String {
    format!("POST /t HTTP/1.1\r\nHost: books\r\n{fields}\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_one_number_or_none() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 6.3 and 9110, 8.6";
    for value in ["5", " 5 ", "\t5\t", "05", "0000000000000000000005"] {
        let request = post(&format!("Content-Length:{value}\r\n"), "hello");
        attacks.check("valid", section, request, Once(HELLO)).await;
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: 5\r\nContent-Length: 05\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length:\r\nContent-Length: 5\r\n",
    ] {
        attacks.check("equal", section, post(fields, "hello"), RefusedOr(&[400], HELLO)).await;
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 5, 6\r\n",
    ] {
        attacks.check("differing", section, post(fields, "hello"), Refused(&[400])).await;
    }
    let number = [
        "+5", "-1", "-0", "0x5", "5.0", "5e0", "5 5", "five", "", "5;", "5\u{b}", "\u{b}5",
        "\"5\"", "５",
    ];
    for value in number {
        let request = post(&format!("Content-Length: {value}\r\n"), "hello");
        attacks.check("no number", section, request, Refused(&[400])).await;
    }
    for value in
        ["18446744073709551616", "18446744073709551621", "9223372036854775808999", &"9".repeat(30)]
    {
        let request = post(&format!("Content-Length: {value}\r\n"), "hello");
        attacks.check("too large a number", section, request, Refused(&[400, 413])).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_a_coding_frames_nothing() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 6.1 and 6.3";
    let inner = "GET /smuggled HTTP/1.1\r\nHost: books\r\nX-Y: ";
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (name, fields, body, allowed) in [
        ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG", EMPTY),
        ("TE.CL order", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nG", EMPTY),
        (
            "equal",
            "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n",
            "4\r\nwiki\r\n0\r\n\r\n",
            WIKI,
        ),
        (
            "zero",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "4\r\nwiki\r\n0\r\n\r\n",
            WIKI,
        ),
        (
            "no number",
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            "4\r\nwiki\r\n0\r\n\r\n",
            WIKI,
        ),
        (
            "two",
            "Content-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "4\r\nwiki\r\n0\r\n\r\n",
            WIKI,
        ),
    ] {
        attacks.check(name, section, post(fields, body), RefusedOrLast(&[400], allowed)).await;
    }
    let fields = format!("Content-Length: 4\r\n{chunked}");
    let whole: &'static str = format!("POST /t || \"{}\"", inner.escape_default()).leak();
    let allowed: &'static [&'static str] = vec![whole].leak();
    attacks.check("TE.CL", section, post(&fields, &chunk), RefusedOrLast(&[400], allowed)).await;
    let get =
        format!("GET /t HTTP/1.1\r\nHost: books\r\n{chunked}Content-Length: 4\r\n\r\n{chunk}");
    let whole: &'static str = whole.replacen("POST", "GET", 1).leak();
    let allowed = vec![whole].leak();
    attacks.check("GET, TE.CL", section, get, RefusedOrLast(&[400], allowed)).await;
    for rest in ["Content-Length: 5\r\n", ""] {
        let old =
            format!("POST /t HTTP/1.0\r\nHost: books\r\n{chunked}{rest}\r\n4\r\nwiki\r\n0\r\n\r\n");
        let fate = RefusedOrLast(&[400, 501], WIKI);
        attacks.check("a coding in HTTP/1.0", "9112, 6.1", old, fate).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_is_chunked_or_refused() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 6.1 and 6.3";
    let body = "4\r\nwiki\r\n0\r\n\r\n";
    for value in [" chunked", "\tchunked", " chunked\t ", "chunked", " CHUNKED", " Chunked"] {
        let request = post(&format!("Transfer-Encoding:{value}\r\n"), body);
        attacks.check("valid", "9112, 7", request, Once(WIKI)).await;
    }
    let values = [
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip, chunked",
        "gzip",
        "chunked, gzip",
        "chunked, chunked",
        "chunked chunked",
        "x",
        "",
        "chunked;q=1",
        "\"chunked\"",
        "\u{b}chunked",
        "chunked\u{b}",
        "\u{c}chunked",
        "chun\u{0}ked",
        "cow",
        "chunked, cow",
        ", x",
        "chunked\u{a0}",
        "ｃhunked",
    ];
    for value in values {
        for length in ["", "Content-Length: 14\r\n"] {
            let fields = format!("Transfer-Encoding: {value}\r\n{length}");
            let name = "no coding that is known";
            attacks.check(name, section, post(&fields, body), Refused(&[400, 501])).await;
        }
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_codings_are_none() {
    let mut attacks = Attacks::start().await;
    let section = "9112, 6.1 and 6.3";
    let body = "4\r\nwiki\r\n0\r\n\r\n";
    for (name, fields) in [
        ("chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("identity, then chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("cow, then chunked", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked, then cow", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"),
        ("chunked, then nothing", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
    ] {
        let length = format!("{fields}Content-Length: 14\r\n");
        let fate = match name {
            // An empty list element adds nothing (RFC 9110, section 5.6.1).
            "chunked, then nothing" => RefusedOrLast(&[400, 501], WIKI),
            _ => Refused(&[400, 501]),
        };
        attacks.check(name, section, post(fields, body), fate).await;
        attacks.check(name, section, post(&length, body), fate).await;
    }
    let length = "Content-Length: 14\r\n";
    for (name, field) in [
        ("space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        ("a vertical tab before the colon", "Transfer-Encoding\u{b}: chunked\r\n"),
        ("NUL in the name", "Transfer-Encoding\0: chunked\r\n"),
        ("a name in quotes", "\"Transfer-Encoding\": chunked\r\n"),
        ("no colon", "Transfer-Encoding chunked\r\n"),
    ] {
        let section = "9112, 5.1";
        attacks
            .check(name, section, post(&format!("{length}{field}"), body), Refused(&[400]))
            .await;
        attacks
            .check(name, section, post(&format!("{field}{length}"), body), Refused(&[400]))
            .await;
    }
    let other = post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello");
    attacks.check("another field's name", "9110, 5.1", other, Once(HELLO)).await;
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_end_hides_no_framing() {
    let mut attacks = Attacks::start().await;
    let body = "4\r\nwiki\r\n0\r\n\r\n";
    let length = "Content-Length: 14\r\n";
    let framed: &'static str = "POST /t || \"4\\r\\nwiki\\r\\n0\\r\\n\\r\\n\"";
    let by_either: &'static [&'static str] = vec![framed, WIKI[0]].leak();
    for (name, fields) in [
        ("LF before it", "X-A: b\nTransfer-Encoding: chunked\r\n"),
        ("LF behind it", "Transfer-Encoding: chunked\nX-A: b\r\n"),
        ("LF only", "Transfer-Encoding: chunked\n"),
    ] {
        // Whoever takes LF for a line's end sees both framings, and closes behind the request.
        let either: &'static [&'static str] = vec!["POST /t | X-A: b | \"wiki\"", WIKI[0]].leak();
        let fate = RefusedOrLast(&[400], either);
        attacks.check(name, "9112, 2.2", post(&format!("{length}{fields}"), body), fate).await;
    }
    for (name, fields) in [
        ("CR before it", "X-A: b\rTransfer-Encoding: chunked\r\n"),
        ("CR within it", "Transfer-Encoding: chun\rked\r\n"),
        ("CR behind it", "Transfer-Encoding: chunked\r\r\n"),
        ("CR before its name", "\rTransfer-Encoding: chunked\r\n"),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("folded under a field", "X-A: b\r\n Transfer-Encoding: chunked\r\n"),
        ("folded under a field by a tab", "X-A: b\r\n\tTransfer-Encoding: chunked\r\n"),
        ("folded under nothing", " Transfer-Encoding: chunked\r\n"),
    ] {
        let section = "9112, 2.2 and 5.2";
        let with_field: &'static str =
            format!("POST /t | X-A: b Transfer-Encoding: chunked | {}", &framed[11..]).leak();
        let allowed = vec![by_either[0], by_either[1], with_field].leak();
        let fate = RefusedOr(&[400, 501], allowed);
        let request = format!("POST /t HTTP/1.1\r\n{fields}Host: books\r\n{length}\r\n{body}");
        attacks.check(name, section, request, fate).await;
        attacks.check(name, section, post(&format!("{length}{fields}"), body), fate).await;
    }
    attacks.finish().await;
}
