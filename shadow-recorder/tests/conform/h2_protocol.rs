//! Frames that no connection survives (RFC 9113, sections 4 to 6; RFC 7541), and lengths that are none.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literals, payload_of, request,
};
use crate::h2_attacks::{Attacks, Field, PROTOCOL, SENTINEL};

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_that_of_the_data() {
    let mut attacks = Attacks::start().await;
    let section = "9113, 8.1.1";
    let post: [Field<'_>; 4] = [(b":method", b"POST"), GET[1], GET[2], GET[3]];
    let head = |length: &'static [u8], flags| {
        request(1, &[&post[..], &[(b"content-length", length)]].concat(), flags)
    };
    let hello = frame(DATA, END_STREAM, 1, b"hello");
    for length in
        [&b"4"[..], b"6", b"0", b"+5", b"-5", b"5,5", b"0x5", b"", b"5 5", b"18446744073709551621"]
    {
        let name = format!("length {}", length.escape_ascii());
        attacks.refused(&name, section, &[head(length, 0), hello.clone()].concat()).await;
    }
    attacks.refused("no data", section, &head(b"5", END_STREAM)).await;
    let two: Vec<Field<'_>> =
        [&post[..], &[(b"content-length", b"5"), (b"content-length", b"6")]].concat();
    attacks.refused("two lengths", section, &[request(1, &two, 0), hello.clone()].concat()).await;
    let more =
        [head(b"5", 0), frame(DATA, 0, 1, b"hello"), frame(DATA, END_STREAM, 1, b"!")].concat();
    attacks.refused("more data", section, &more).await;
    let trailers = |fields: &[Field<'_>], flags| {
        [request(1, &post, 0), frame(DATA, 0, 1, b"hello"), request(1, fields, flags)].concat()
    };
    let section = "9113, 8.1";
    attacks.refused("trailers that end nothing", section, &trailers(&[(b"x-a", b"1")], 0)).await;
    // They belong to no trailers; what is left without them is well-formed.
    let line = ["POST http://books/t | | \"hello\""];
    for (name, value) in [(&b":path"[..], &b"/u"[..]), (b":method", b"GET"), (b":status", b"200")] {
        let name_of = format!("{} in trailers", name.escape_ascii());
        let bytes = trailers(&[(name, value)], END_STREAM);
        attacks.refused_or(&name_of, section, &bytes, &line).await;
    }
    for (name, value) in [
        (&b"connection"[..], &b"close"[..]),
        (b"transfer-encoding", b"chunked"),
        (b"X-A", b"1"),
        (b"x-a", b"1\r\n"),
    ] {
        let name_of = format!("{} in trailers", name.escape_ascii());
        attacks.refused(&name_of, "9113, 8.2", &trailers(&[(name, value)], END_STREAM)).await;
    }
    attacks.finish().await;
}

/// Frames, the section that forbids them, and the code that it names.
type Broken = (&'static str, &'static str, Vec<u8>, u32);

const FLOW_CONTROL: u32 = 3;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

async fn each_ends(all: Vec<Broken>) {
    let mut attacks = Attacks::start().await;
    for (name, section, bytes, code) in all {
        attacks.ends(name, section, &bytes, code).await;
    }
    attacks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_on_the_wrong_stream_ends_the_connection() {
    let update = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]);
    let nothing = frame(CONTINUATION, END_HEADERS, 1, &literals(&GET));
    each_ends(vec![
        ("an even stream", "9113, 5.1.1", request(2, &GET, END_STREAM), PROTOCOL),
        ("HEADERS on stream 0", "9113, 6.2", request(0, &GET, END_STREAM), PROTOCOL),
        ("DATA on stream 0", "9113, 6.1", frame(DATA, 0, 0, b"a"), PROTOCOL),
        ("DATA on an idle stream", "9113, 5.1", frame(DATA, 0, 1, b"a"), PROTOCOL),
        ("a reset of an idle stream", "9113, 6.4", frame(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
        ("a reset of stream 0", "9113, 6.4", frame(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
        ("a window of an idle stream", "9113, 5.1", update, PROTOCOL),
        ("SETTINGS on a stream", "9113, 6.5", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("PING on a stream", "9113, 6.7", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("GOAWAY on a stream", "9113, 6.8", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("PRIORITY on stream 0", "9113, 6.3", frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("a push from a client", "9113, 8.4", push, PROTOCOL),
        ("CONTINUATION of nothing", "9113, 6.10", nothing, PROTOCOL),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_the_wrong_size_ends_the_connection() {
    let reset = [request(1, &GET, 0), frame(RST_STREAM, 0, 1, &[0; 3])].concat();
    let padded = frame(HEADERS, PADDED | END_HEADERS, 1, &[255, 0]);
    let acknowledged = frame(SETTINGS, END_STREAM, 0, &[0; 6]);
    each_ends(vec![
        ("too large a frame", "9113, 4.2", frame(DATA, 0, 1, &vec![0; 16_385]), FRAME_SIZE),
        ("RST_STREAM too short", "9113, 6.4", reset, FRAME_SIZE),
        ("WINDOW_UPDATE too short", "9113, 6.9", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE),
        ("SETTINGS of an odd length", "9113, 6.5", frame(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE),
        ("settings acknowledged with settings", "9113, 6.5", acknowledged, FRAME_SIZE),
        ("PING too short", "9113, 6.7", frame(PING, 0, 0, &[0; 7]), FRAME_SIZE),
        ("padding beyond the frame", "9113, 6.2", padded, PROTOCOL),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_beyond_its_range_ends_the_connection() {
    let setting = |name, value| frame(SETTINGS, 0, 0, &payload_of(&[(name, value)]));
    let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
    let block = |bytes: &[u8]| frame(HEADERS, END_HEADERS, 1, bytes);
    each_ends(vec![
        ("ENABLE_PUSH of 2", "9113, 6.5.2", setting(2, 2), PROTOCOL),
        ("an initial window of 2^31", "9113, 6.5.2", setting(4, 1 << 31), FLOW_CONTROL),
        ("MAX_FRAME_SIZE of 1", "9113, 6.5.2", setting(5, 1), PROTOCOL),
        ("MAX_FRAME_SIZE of 2^24", "9113, 6.5.2", setting(5, 1 << 24), PROTOCOL),
        ("WINDOW_UPDATE of 0", "9113, 6.9", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL),
        ("a window beyond 2^31", "9113, 6.9.1", window, FLOW_CONTROL),
        ("an index beyond the tables", "7541, 2.3.3", block(&[0xff, 0x7f]), COMPRESSION),
        ("index 0", "7541, 6.1", block(&[0x80]), COMPRESSION),
        ("a table beyond its limit", "7541, 6.3", block(&[0x3f, 0xff, 0xff, 0x7f]), COMPRESSION),
        ("a string beyond the block", "7541, 5.2", block(&[0, 5, b'a']), COMPRESSION),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_comes_in_one_piece_after_the_other() {
    let mut attacks = Attacks::start().await;
    let block = literals(&GET);
    let first = frame(HEADERS, END_STREAM, 1, &block[..10]);
    for (name, next) in [
        ("DATA within a head", frame(DATA, 0, 1, b"a")),
        ("PING within a head", frame(PING, 0, 0, &[0; 8])),
        ("another stream within a head", request(3, &GET, END_STREAM)),
        ("another stream's CONTINUATION", frame(CONTINUATION, END_HEADERS, 3, &block[10..])),
    ] {
        attacks.ends(name, "9113, 6.2 and 6.10", &[first.clone(), next].concat(), PROTOCOL).await;
    }
    let lower = [request(5, &SENTINEL, END_STREAM), request(3, &GET, END_STREAM)].concat();
    attacks.ends("a stream below the last", "9113, 5.1.1", &lower, PROTOCOL).await;
    let ended = [request(1, &GET, END_STREAM), frame(DATA, 0, 1, b"a")].concat();
    // The answer may come first.
    let line = ["GET http://books/t | | \"\""];
    attacks.refused_or("DATA behind the end", "9113, 5.1", &ended, &line).await;
    let unknown = [frame(0x42, 0xff, 0, b"anything"), request(1, &GET, END_STREAM)].concat();
    attacks.accepted("an unknown frame", "9113, 4.1", &unknown, &line).await;
    let pieces = [
        first,
        frame(CONTINUATION, 0, 1, &block[10..20]),
        frame(CONTINUATION, END_HEADERS, 1, &block[20..]),
    ];
    attacks.accepted("a head in pieces", "9113, 6.10", &pieces.concat(), &line).await;
    attacks.finish().await;
}
