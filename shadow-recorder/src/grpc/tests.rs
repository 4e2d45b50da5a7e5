use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;
use std::io::Write;

use super::*;
use crate::body::{Content, Half};
use crate::exchange::Body;

mod books;
use books::{bytes, double, float, framed, pool, text, uint};

const BOOK: &str = "/books.Ledger/Book";
const WATCH: &str = "/books.Ledger/Watch";

fn side(target: &str) -> Side {
    Descriptors::of(&pool()).side(target, Half::Answer).unwrap().clone()
}

/// Renders one message that is not compressed.
fn rendered(message: &[u8]) -> Result<String, Omission> {
    side(BOOK).text(&framed(&[message]), None, 100_000)
}

fn why(framed: &[u8], coding: Option<&str>, bytes_max: usize) -> Omission {
    side(WATCH).text(framed, coding, bytes_max).unwrap_err()
}

#[test]
fn a_message_is_canonical_json() {
    let timestamp = [uint(1, 1_795_159_800), uint(2, 50_000_000)].concat();
    let pair = |key: &str, value| bytes(4, &[text(1, key), uint(2, value)].concat());
    let any = [text(1, "type.googleapis.com/books.Line"), bytes(2, &uint(1, 7))].concat();
    let message = [
        // More than a double holds exactly, and a negative amount.
        uint(1, 9_007_199_254_740_993),
        bytes(2, &[0xfb, 0xff, 0x00]),
        uint(3, 2),
        pair("zulu", 1),
        pair("alpha", 2),
        pair("mike", 3),
        bytes(5, &[1, 2, 0x96, 0x01]),
        uint(7, u64::MAX),
        bytes(8, &timestamp),
        bytes(9, &uint(1, (-250_i64).cast_unsigned())),
        text(10, "1234567890123456789012.345678901"),
        uint(11, 0),
        double(12, 0.1),
        float(13, 0.1),
        bytes(14, &any),
        bytes(15, &[]),
        bytes(16, &uint(1, 12)),
        bytes(17, &[]),
        bytes(17, &[uint(1, 5), uint(2, 9)].concat()),
    ]
    .concat();
    let expected = concat!(
        r#"{"amountMinor":"9007199254740993","balances":{"alpha":"2","mike":"3","zulu":"1"},"#,
        r#""bookedAt":"2026-11-20T07:30:00.050Z","decimal":"1234567890123456789012.345678901","#,
        r#""detail":{"@type":"type.googleapis.com/books.Line","amount":"7","side":"SIDE_UNSPECIFIED"},"#,
        r#""discount":"0","factor":0.0,"fee":"12","#,
        r#""lines":[{"amount":"0","side":"SIDE_UNSPECIFIED"},{"amount":"5","side":9}],"#,
        r#""nested":{"amount":"-250","side":"SIDE_UNSPECIFIED"},"rate":0.1,"side":"CREDIT","#,
        r#""signature":"+/8A","tags":[1,2,150],"trip":"18446744073709551615","weight":0.1,"within":[]}"#,
    );
    // The order of a map differs between two readings; the text does not.
    for _ in 0..20 {
        assert_eq!(rendered(&message).unwrap(), expected);
    }
    // An older sender packs nothing.
    assert_eq!(rendered(&[uint(5, 1), uint(5, 2)].concat()), rendered(&bytes(5, &[1, 2])));
}

#[test]
fn a_zero_is_written_and_what_is_unset_is_not() {
    let expected = concat!(
        r#"{"amountMinor":"0","balances":{},"decimal":"","lines":[],"rate":0.0,"#,
        r#""side":"SIDE_UNSPECIFIED","signature":"","tags":[],"weight":0.0,"within":[]}"#,
    );
    assert_eq!(rendered(&[]).unwrap(), expected);
    let not_a_number = rendered(&double(12, f64::NAN)).unwrap();
    assert!(not_a_number.contains(r#""rate":"NaN""#), "{not_a_number}");
}

#[test]
fn a_stream_is_a_line_for_each_message_and_a_call_is_one_message() {
    let two = framed(&[&bytes(9, &uint(1, 1)), &[]]);
    let text = side(WATCH).text(&two, None, 1000).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(r#""nested":{"amount":"1""#) && !lines[1].contains("nested"));
    assert_eq!((lines.len(), text.ends_with("}\n")), (2, true));
    assert_eq!(side(WATCH).text(&[], None, 1000).as_deref(), Ok(""));
    assert_eq!(side(BOOK).text(&[], None, 1000).as_deref(), Ok(""));
    assert_eq!(side(BOOK).text(&two, None, 1000), Err(Omission::UnknownSchema));
    let descriptors = Descriptors::of(&pool());
    let streams = |target, half| descriptors.side(target, half).unwrap().rendering();
    assert_eq!(streams(WATCH, Half::Request), Rendering::GrpcMessage);
    assert_eq!(streams(WATCH, Half::Answer), Rendering::GrpcStream);
    assert_eq!(streams("/books.Ledger/Post?x=1", Half::Request), Rendering::GrpcStream);
    assert!(descriptors.side("/books.Ledger/Other", Half::Request).is_none());
}

#[test]
fn what_the_descriptors_do_not_describe_is_not_rendered() {
    let any = |name: &str, value: &[u8]| bytes(14, &[text(1, name), bytes(2, value)].concat());
    for (message, what) in [
        (uint(99, 1), "a field"),
        (bytes(9, &uint(99, 1)), "a field of a message"),
        (bytes(17, &bytes(3, b"money")), "a field of a message of a list"),
        (bytes(4, &[text(1, "a"), uint(2, 1), uint(3, 1)].concat()), "a field of a map's entry"),
        (any("x/books.Line", &uint(99, 1)), "a field in an Any"),
        (any("x/books.Other", &[]), "the type of an Any"),
        (bytes(8, &uint(99, 1)), "a field of a timestamp"),
        (text(1, "12"), "the type of a field"),
        (bytes(10, &[0xff]), "text that is none"),
        (bytes(8, &uint(1, u64::MAX >> 1)), "a time beyond the calendar"),
        (bytes(15, &double(1, f64::NAN)), "no number, in a wrapper that would make it null"),
        (vec![(9 << 3) | 3, (9 << 3) | 4], "a group"),
        (vec![0x08], "a field without its value"),
        (vec![0x52, 0x05, b'a'], "a text shorter than its length"),
    ] {
        assert_eq!(rendered(&message), Err(Omission::UnknownSchema), "{what}");
    }
}

#[test]
fn a_broken_frame_is_told_from_a_broken_message() {
    let whole = framed(&[&uint(1, 1), &uint(1, 2)]);
    for cut in 1..whole.len() {
        if cut != framed(&[&uint(1, 1)]).len() {
            assert_eq!(why(&whole[..cut], None, 1000), Omission::Truncated, "{cut}");
        }
    }
    assert_eq!(why(&[0, 0xff, 0xff, 0xff, 0xff], None, 1000), Omission::Truncated);
    assert_eq!(why(&[2, 0, 0, 0, 0], None, 1000), Omission::UnknownCoding);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 1).unwrap()
}

/// One frame whose message is compressed.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut frame = framed(&[message]);
    frame[0] = 1;
    frame
}

#[test]
fn a_compressed_message_reads_as_its_coding_says() {
    let message = text(10, "12.50");
    let expected = side(WATCH).text(&framed(&[&message, &message]), None, 1000).unwrap();
    for (coding, compressed) in [
        ("gzip", gzip(&message)),
        ("GZIP", gzip(&message)),
        ("deflate", zlib(&message)),
        ("zstd", zstd(&message)),
        ("identity", message.clone()),
    ] {
        // A frame that is not compressed may stand beside one that is.
        let mixed = [packed(&compressed), framed(&[&message])].concat();
        assert_eq!(side(WATCH).text(&mixed, Some(coding), 1000).as_ref(), Ok(&expected));
    }
    let compressed = packed(&gzip(&message));
    assert_eq!(why(&compressed, None, 1000), Omission::UnknownCoding);
    assert_eq!(why(&compressed, Some("snappy"), 1000), Omission::UnknownCoding);
    assert_eq!(why(&compressed, Some("deflate"), 1000), Omission::UnknownCoding);
}

#[test]
fn a_bomb_is_bounded() {
    let large = text(10, &"a".repeat(10 << 20));
    for (coding, frame) in
        [("gzip", gzip(&large)), ("deflate", zlib(&large)), ("zstd", zstd(&large))]
    {
        assert!(frame.len() < 20_000);
        assert_eq!(why(&packed(&frame), Some(coding), 20_000), Omission::OverLimit);
    }
    // All messages of a content share the limit.
    let half = packed(&gzip(&text(10, &"a".repeat(600))));
    assert!(side(WATCH).text(&half, Some("gzip"), 1000).is_ok());
    assert_eq!(why(&[half.clone(), half].concat(), Some("gzip"), 1000), Omission::OverLimit);
    // So they do where the text is short: the last value of a field counts.
    let repeated = text(10, &"a".repeat(50)).repeat(12);
    let repeated = packed(&gzip(&repeated));
    assert!(side(WATCH).text(&repeated, Some("gzip"), 1000).is_ok());
    assert_eq!(why(&[&*repeated, &repeated].concat(), Some("gzip"), 1000), Omission::OverLimit);
    // The text is longer than the message.
    assert_eq!(why(&framed(&[&bytes(2, &[0xff; 900])]), None, 1000), Omission::OverLimit);
}

#[test]
fn what_is_decoded_is_bounded_before_it_is_decoded() {
    // Two bytes become the text of a whole message; one byte becomes a value.
    let entries = bytes(17, &[]).repeat(50_000);
    let booleans = bytes(5, &vec![1; 100_000]);
    let message = side(BOOK).message;
    for (wire, bytes_max) in [(&entries, 200_000), (&booleans, 400_000)] {
        assert_eq!(Check::new(&message, bytes_max).message(wire), Err(Omission::OverLimit));
        assert_eq!(why(&framed(&[wire]), None, bytes_max), Omission::OverLimit);
    }
    // Nothing begins anew with each message.
    let mut check = Check::new(&message, 100_000);
    assert!((0..2_000).any(|_| check.message(&[]).is_err()));
}

#[test]
fn a_list_within_the_limit_is_rendered() {
    let tags = bytes(5, &vec![1; 10_000]);
    assert_eq!(rendered(&tags).unwrap().matches(",1").count(), 9_999);
    let lines = bytes(17, &uint(1, 1_000_000)).repeat(900);
    assert_eq!(rendered(&lines).unwrap().matches("1000000").count(), 900);
}

#[test]
fn depth_is_bounded_before_anything_recurses() {
    let nested = |levels: usize| (0..levels).fold(Vec::new(), |inside, _| bytes(18, &inside));
    let deepest = rendered(&nested(59)).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok(), "a reader accepts it");
    assert_eq!(rendered(&nested(60)), Err(Omission::OverLimit));
    // Each Any begins anew for whoever counts the levels of one message. 10,000 of them would overflow a stack.
    let any = |inside: &[u8]| [text(1, "x/google.protobuf.Any"), bytes(2, inside)].concat();
    let anys = (0..10_000).fold(Vec::new(), |inside, _| any(&inside));
    assert_eq!(
        side(WATCH).text(&framed(&[&bytes(14, &anys)]), None, 1 << 20),
        Err(Omission::OverLimit)
    );
}

fn read(content_type: &str, wire: &[u8], coding: Option<&str>, known: bool) -> Body {
    let headers = [("content-type".to_owned(), content_type.to_owned())];
    let content = Content { wire, coding, headers: &headers, target: BOOK, half: Half::Request };
    body::read(&content, known.then(|| Descriptors::of(&pool())).as_ref(), 1000)
}

#[test]
fn a_content_is_read_as_its_type_says() {
    let wire = framed(&[&uint(1, 7)]);
    let body = read("application/grpc", &wire, None, true);
    assert!(body.text.unwrap().starts_with(r#"{"amountMinor":"7","#));
    assert_eq!((body.rendering, body.omitted), (Some(Rendering::GrpcMessage), None));
    assert_eq!((body.wire_bytes, body.coding), (wire.len() as u64, None));
    let twice = read("application/grpc+proto; v=1", &gzip(&wire), Some("gzip"), true);
    assert_eq!((twice.rendering, twice.coding.as_deref()), (body.rendering, Some("gzip")));
    for (content_type, known, why) in [
        ("application/grpc", false, Omission::Grpc),
        ("Application/GRPC+proto", false, Omission::Grpc),
        ("application/grpc+json", true, Omission::Grpc),
        // It would pass for text: every byte of a short frame is ASCII.
        ("application/grpc-web", true, Omission::Binary),
        ("application/grpc-web-text+proto", false, Omission::Binary),
    ] {
        let body = read(content_type, &wire, None, known);
        assert_eq!((body.omitted, body.text, body.rendering), (Some(why), None, None));
    }
    // An error has no content, and nothing is omitted of nothing.
    let (known, unknown) =
        (read("application/grpc", b"", None, true), read("application/grpc", b"", None, false));
    assert_eq!((known.text.as_deref(), known.rendering), (Some(""), Some(Rendering::GrpcMessage)));
    assert_eq!((unknown.text.as_deref(), unknown.rendering), (Some(""), None));
    let other = read("application/grpcx", b"text", None, true);
    assert_eq!((other.text.as_deref(), other.rendering), (Some("text"), None));
    let over = read("application/grpc", &[0; 1001], None, true);
    assert_eq!(over.omitted, Some(Omission::OverLimit));
}

#[test]
fn descriptors_that_cannot_be_used_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.pb");
    let check = |content: Option<Vec<u8>>, expected: &str| {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let error = Descriptors::load(&file).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("protoc --include_imports"), "{error}");
        assert!(error.contains("ledger.pb"), "{error}");
    };
    check(None, "No such file");
    check(Some(b"syntax = \"proto3\";".to_vec()), "is not a whole set of descriptors");
    check(Some(Vec::new()), "declares no service");
    let whole = pool();
    let imports_left_out =
        whole.file_descriptor_protos().filter(|file| file.name() == "books.proto").cloned();
    let set = FileDescriptorSet { file: imports_left_out.collect() };
    check(Some(set.encode_to_vec()), "imported file 'google/protobuf/");
    std::fs::write(&file, pool().encode_to_vec()).unwrap();
    assert_eq!(format!("{:?}", Descriptors::load(&file).unwrap()), "Descriptors(3 methods)");
}

/// Bytes that resemble a message: fields of the type, with values that may not be of their kind.
fn message_like() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1_u32..20, any::<u64>()).prop_map(|(n, v)| uint(n, v)),
        (1_u32..20, any::<f64>()).prop_map(|(n, v)| double(n, v)),
        (1_u32..20, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(n, v)| bytes(n, &v)),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    let level = |inner: BoxedStrategy<Vec<u8>>| {
        (1_u32..20, prop::collection::vec(inner, 0..4))
            .prop_map(|(n, v)| bytes(n, &v.concat()))
            .boxed()
    };
    leaf.boxed().prop_recursive(4, 32, 4, level)
}

proptest! {
    #[test]
    fn frames_read_back(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
        let parts: Vec<&[u8]> = messages.iter().map(|message| &**message).collect();
        let wire = framed(&parts);
        let read: Vec<_> = frames(&wire).map(|frame| frame.unwrap().message.to_vec()).collect();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn no_bytes_panic(wire in prop::collection::vec(any::<u8>(), 0..300), coding in "(gzip|deflate|zstd|identity|x)?") {
        let coding = (!coding.is_empty()).then_some(&*coding);
        let read: Vec<_> = frames(&wire).take(wire.len() + 1).collect();
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok), "reading goes on after a fault");
        let text = side(WATCH).text(&wire, coding, 1000);
        prop_assert!(text.is_err() || text.unwrap().len() <= 1000);
    }

    #[test]
    fn no_message_panics_and_what_is_rendered_is_json(message in message_like()) {
        if let Ok(text) = rendered(&message) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
        }
    }
}
