//! From the bytes of a message's content to what is stored of it, pure.
//!
//! The replayer reads the candidate's answers by the same function, so that both sides are treated alike. Decompression is
//! bounded: a small body that would become a large one is omitted as over the limit, whatever it claims.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::exchange::{Body, Omission, header};
use crate::grpc::{self, Descriptors, Media, Side};

/// Codings that may be applied one over another; real messages have one.
const CODINGS_MAX: usize = 4;
/// The window that RFC 9659 grants to zstd as a content coding: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A whole content as it was on the wire, with what says how to read it.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The bytes.
    pub wire: &'a [u8],
    /// The codings applied to them, joined by commas.
    pub coding: Option<&'a str>,
    /// The fields of the message's head.
    pub headers: &'a [(String, String)],
    /// The target of the request, which names the method of a gRPC call.
    pub target: &'a str,
    /// Whose content it is.
    pub half: Half,
}

/// The halves of an exchange or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The request.
    Request,
    /// The answer.
    Answer,
}

/// Reads a content as what its type says: a gRPC call by its descriptors, everything else as text.
pub fn read(content: &Content<'_>, grpc: Option<&Descriptors>, bytes_max: usize) -> Body {
    let Content { wire, coding, headers, target, half } = *content;
    let Some(media) = grpc::media(headers) else { return decode(wire, coding, bytes_max) };
    let method = grpc.and_then(|descriptors| descriptors.side(target, half));
    let read = uncoded(wire, coding, bytes_max).and_then(|framed| match (media, method) {
        // Nothing is hidden in nothing: an answer that is an error alone has no content.
        _ if framed.is_empty() => Ok((String::new(), method.map(Side::rendering))),
        (Media::Web, _) => Err(Omission::Binary),
        (Media::Protobuf, Some(side)) => {
            let coding = header(headers, "grpc-encoding");
            side.text(&framed, coding, bytes_max).map(|text| (text, Some(side.rendering())))
        }
        (Media::Protobuf, None) if grpc.is_some() => Err(Omission::UnknownSchema),
        (Media::Protobuf | Media::Other, _) => Err(Omission::Grpc),
    });
    let coding = named(coding);
    match read {
        Ok((text, rendering)) => Body {
            text: Some(text),
            omitted: None,
            coding: coding.map(Into::into),
            wire_bytes: wire.len() as u64,
            rendering,
        },
        Err(why) => omitted(why, coding, wire.len() as u64),
    }
}

/// Decodes a whole text from its codings, joined by commas.
pub fn decode(wire: &[u8], coding: Option<&str>, bytes_max: usize) -> Body {
    let coding = named(coding);
    let decoded = uncoded(wire, coding, bytes_max)
        .and_then(|bytes| String::from_utf8(bytes.into_owned()).map_err(|_| Omission::Binary));
    let wire_bytes = wire.len() as u64;
    match decoded {
        Ok(text) => {
            let coding = coding.map(Into::into);
            Body { text: Some(text), coding, wire_bytes, ..Body::default() }
        }
        Err(why) => omitted(why, coding, wire_bytes),
    }
}

/// Returns the body that says why it was not stored.
pub fn omitted(why: Omission, coding: Option<&str>, wire_bytes: u64) -> Body {
    Body { omitted: Some(why), coding: coding.map(Into::into), wire_bytes, ..Body::default() }
}

/// Returns the codings of a content in the order in which they were applied: all values of `Content-Encoding`, then the
/// transfer codings.
pub fn codings(headers: &[(String, String)], transfer: &str) -> Option<String> {
    let of_content = headers.iter().filter(|(name, _)| name == "content-encoding");
    let all = of_content.map(|(_, value)| &**value).chain([transfer]);
    let all: Vec<&str> = all.filter(|value| !value.is_empty()).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn named(coding: Option<&str>) -> Option<&str> {
    coding.map(str::trim).filter(|coding| !coding.is_empty())
}

fn uncoded<'w>(
    wire: &'w [u8],
    coding: Option<&str>,
    bytes_max: usize,
) -> Result<Cow<'w, [u8]>, Omission> {
    if wire.len() > bytes_max {
        return Err(Omission::OverLimit);
    }
    let codings: Vec<String> = coding
        .into_iter()
        .flat_map(|coding| coding.split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect();
    if codings.len() > CODINGS_MAX {
        return Err(Omission::UnknownCoding);
    }
    let mut bytes = Cow::Borrowed(wire);
    // They are listed in the order in which they were applied. An empty body, as the answer to HEAD has, has none.
    for coding in codings.iter().rev().take_while(|_| !wire.is_empty()) {
        bytes = uncompressed(&bytes, coding, bytes_max)?.into();
    }
    Ok(bytes)
}

/// Removes one coding, by its lower-case name.
pub(crate) fn uncompressed(
    bytes: &[u8],
    coding: &str,
    bytes_max: usize,
) -> Result<Vec<u8>, Omission> {
    match coding {
        "gzip" | "x-gzip" => bounded(MultiGzDecoder::new(bytes), bytes_max),
        "deflate" => bounded(ZlibDecoder::new(bytes), bytes_max),
        "br" => bounded(brotli_decompressor::Decompressor::new(bytes, 4096), bytes_max),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)
                .map_err(|_| Omission::UnknownCoding)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Omission::UnknownCoding)?;
            bounded(decoder, bytes_max)
        }
        _ => Err(Omission::UnknownCoding),
    }
}

fn bounded(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, Omission> {
    let mut bytes = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    decoder.take(limit).read_to_end(&mut bytes).map_err(|_| Omission::UnknownCoding)?;
    if bytes.len() > bytes_max { Err(Omission::OverLimit) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const TEXT: &str = r#"{"amount":1.10,"note":"naïve"}"#;
    // One meta-block of literal bytes: there is no encoder among the dependencies.
    const BROTLI: [u8; 19] = [
        0x0f, 0x07, 0x80, 0x7b, 0x22, 0x61, 0x6d, 0x6f, 0x75, 0x6e, 0x74, 0x22, 0x3a, 0x31, 0x2e,
        0x31, 0x30, 0x7d, 0x03,
    ];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn why(wire: &[u8], coding: Option<&str>, limit: usize) -> Omission {
        let body = decode(wire, coding, limit);
        assert_eq!((body.text, body.wire_bytes), (None, wire.len() as u64));
        body.omitted.unwrap()
    }

    #[test]
    fn every_coding_reads_back() {
        let text = TEXT.as_bytes();
        for (wire, coding) in [
            (text.to_vec(), None),
            (text.to_vec(), Some("identity")),
            (gzip(text), Some("gzip")),
            (gzip(text), Some("X-GZIP")),
            (zlib(text), Some("deflate")),
            (zstd(text), Some("zstd")),
            (gzip(&zstd(text)), Some("zstd, gzip")),
            ([gzip(&text[..9]), gzip(&text[9..])].concat(), Some("gzip")),
        ] {
            let body = decode(&wire, coding, 1000);
            assert_eq!(body.text.as_deref(), Some(TEXT), "{coding:?}");
            assert_eq!(
                (&*body.coding.unwrap_or_default(), body.wire_bytes),
                (coding.unwrap_or(""), wire.len() as u64)
            );
        }
        assert_eq!(decode(&BROTLI, Some("br"), 1000).text.as_deref(), Some("{\"amount\":1.10}"));
        assert_eq!(decode(b"", Some("gzip"), 1000).text.as_deref(), Some(""));
    }

    #[test]
    fn a_bomb_is_bounded() {
        let bomb = vec![b'a'; 10 << 20];
        for (wire, coding) in [
            (gzip(&bomb), "gzip"),
            (zlib(&bomb), "deflate"),
            (zstd(&bomb), "zstd"),
            (gzip(&gzip(&bomb)), "gzip, gzip"),
        ] {
            assert!(wire.len() < 20_000);
            assert_eq!(why(&wire, Some(coding), 20_000), Omission::OverLimit, "{coding}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_omitted_with_its_reason() {
        let packed = gzip(TEXT.as_bytes());
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert_eq!(why(&damaged, Some("gzip"), 1000), Omission::UnknownCoding);
        assert_eq!(why(&packed[..packed.len() - 3], Some("gzip"), 1000), Omission::UnknownCoding);
        assert_eq!(why(b"text", Some("gzip"), 1000), Omission::UnknownCoding);
        assert_eq!(why(b"text", Some("exi"), 1000), Omission::UnknownCoding);
        assert_eq!(why(b"text", Some("gzip,gzip,gzip,gzip,gzip"), 1000), Omission::UnknownCoding);
        assert_eq!(why(&[0xff, 0xfe], None, 1000), Omission::Binary);
        assert_eq!(why(&packed, None, 1000), Omission::Binary);
        assert_eq!(why(b"12345", None, 4), Omission::OverLimit);
        assert_eq!(decode(b"1234", None, 4).text.as_deref(), Some("1234"));
    }

    proptest! {
        #[test]
        fn never_panics(wire in prop::collection::vec(any::<u8>(), 0..200), coding in "(gzip|deflate|br|zstd)(, (gzip|zstd))?") {
            let body = decode(&wire, Some(&coding), 300);
            prop_assert!(body.text.is_some() != body.omitted.is_some());
        }
    }
}
