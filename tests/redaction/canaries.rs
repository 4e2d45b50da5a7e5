//! Values that must not be found, and where they are looked for.

use std::io::Read;

/// How a value is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By a configured rule: without it the value is recorded.
    Rule,
    /// Without any rule.
    Default,
}
use By::{Default, Rule};

/// Kinds of values, each with one value.
pub(crate) const CANARIES: [(&str, &str, By); 68] = [
    ("bearer", "cnry.bearer.5d1f", Default),
    ("basic", "Y25yeTpiYXNpYy41ZDFm", Default),
    ("cookie", "cnry-cookie-1c70", Default),
    ("answer's cookie", "cnry-set-cookie-77ab", Default),
    ("api key", "cnry-api-key-90e1", Default),
    ("header *-token", "cnry-auth-token-e2c4", Default),
    ("header *-secret", "cnry-client-secret-41aa", Default),
    ("header *-signature", "cnry-signature-6b09", Default),
    ("header *-password", "cnry-header-password-3d8e", Default),
    ("trailer *-token", "cnry-trailer-token-0f31", Default),
    ("upstream's authorization", "cnry-up-bearer-cc17", Default),
    ("upstream's api key", "cnry-up-api-key-8b2d", Default),
    ("upstream answer's cookie", "cnry-up-cookie-f00f", Default),
    ("header token", "cnry-user-19c2", Rule),
    ("header mask", "cnry-device-aa01", Rule),
    ("header drop", "203.0.113.77, cnry-proxy", Rule),
    ("answer's header", "cnry-person-3310", Rule),
    ("request's trailer", "cnry-note-asked-2244", Rule),
    ("answer's trailer", "cnry-note-answered-9e9e", Rule),
    ("upstream's header", "cnry-customer-6f6f", Rule),
    ("upstream answer's header", "cnry-holder-head-1b1b", Rule),
    ("referer's query", "491705550101", Rule),
    ("referer's path", "cnry-refpath@example.org", Rule),
    ("referer's password", "cnry-refpass", Rule),
    ("location's query", "cnry-session-located-3c", Rule),
    ("location's fragment", "cnry-session-fragment-4d", Rule),
    ("content-location", "cnry-session-content-5e", Rule),
    ("link", "cnry-session-link-6f", Rule),
    ("x-original-url", "cnry-session-original-7a", Rule),
    ("query digits", "491705550102", Rule),
    ("query e-mail", "cnry.query@example.org", Rule),
    ("query drop", "cnry-session-query-8b", Rule),
    ("query mask", "cnry-pin-9c", Rule),
    ("query repeated", "491705550103", Rule),
    ("upstream's query", "cnry-owner-0d", Rule),
    ("path e-mail", "cnry.path@example.org", Rule),
    ("path card", "4929000000014", Rule),
    ("upstream's path", "cnry-rates-1e", Rule),
    ("JSON text", "Cnry Lovelace 2f", Rule),
    ("JSON number", "738291045561", Rule),
    ("JSON card", "5105105105105100", Rule),
    ("JSON iban", "DE89370400440532013000", Rule),
    ("JSON e-mail", "cnry.json@example.org", Rule),
    ("JSON filter", "cnry-nick-3a", Rule),
    ("JSON object", "cnry-street-4b", Rule),
    ("JSON drop", "cnry-json-password-5c", Rule),
    ("JSON repeated name", "Cnry Twice 6d", Rule),
    ("JSON escapes", "Cnry Escaped 7e", Rule),
    ("JSON lines", "Cnry Line 8f", Rule),
    ("form", "cnry-member-9a", Rule),
    ("form escapes", "Cnry & Form 0b", Rule),
    ("multipart field", "cnry-multi-1c", Rule),
    ("multipart file", "cnry-file-2d", Rule),
    ("multipart file's name", "cnry-filename-3e.pdf", Rule),
    ("multipart JSON", "Cnry Part 4f", Rule),
    ("answer's JSON", "Cnry Answer 5a", Rule),
    ("error answer", "cnry-error-6b", Rule),
    ("page", "cnry-page-7c", Rule),
    ("broken JSON", "cnry-broken-8d", Rule),
    ("bytes", "cnry-bytes-9e", Default),
    ("upstream's JSON", "cnry.up@example.org", Rule),
    ("upstream answer's JSON", "cnry-holder-0f", Rule),
    ("upstream that fails", "491705550104", Rule),
    ("ambient call", "cnry-owner-ambient-1a", Rule),
    ("ambient answer", "cnry-holder-ambient-2b", Rule),
    ("proxy's password", "cnry-proxypass-3c", Default),
    ("candidate's own", "Cnry Candidate 4d", Rule),
    ("candidate's miss", "cnry-owner-missed-5e", Rule),
];

/// The key itself; it is in the configuration and must be nowhere else.
pub(crate) const KEY: &str = "cnry-the-key-of-the-tokens";

/// Returns the value of a kind.
#[track_caller]
pub(crate) fn value(kind: &str) -> &'static str {
    let found = CANARIES.iter().find(|(known, ..)| *known == kind);
    found.unwrap_or_else(|| panic!("there is no canary `{kind}`")).1
}

/// A text in which canaries are looked for, with what it holds in other forms.
pub(crate) struct Haystack(String);

impl Haystack {
    /// Takes a file: as it lies, and what its zstd frames hold, which are segments' and Parquet's.
    pub(crate) fn of(file: &[u8]) -> Self {
        let mut text = file.to_vec();
        for at in 0..file.len() {
            if !file[at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                continue;
            }
            let Ok(decoder) = zstd::stream::read::Decoder::with_buffer(&file[at..]) else {
                continue;
            };
            let mut frame = Vec::new();
            // What only looks like a frame gives what it gives.
            let _ = decoder.single_frame().take(64 << 20).read_to_end(&mut frame);
            text.push(b'\n');
            text.extend(frame);
        }
        let text = text.to_ascii_lowercase();
        let forms = [unescaped(&text), percent_decoded(&text)];
        Self(String::from_utf8_lossy(&[text, forms.concat()].concat()).into_owned())
    }

    pub(crate) fn holds(&self, value: &str) -> bool {
        let coded = base64(value.as_bytes());
        self.0.contains(&value.to_ascii_lowercase())
            || coded.iter().any(|coded| self.0.contains(coded))
    }
}

/// Takes JSON's escapes back, twice: a body is a text within a line.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..2 {
        let mut plain = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let hex = text.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok());
            let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match (&text[at..], code) {
                ([b'\\', b'u', ..], Some(byte)) => {
                    plain.push(byte);
                    at += 6;
                }
                ([b'\\', byte, ..], _) => {
                    plain.push(*byte);
                    at += 2;
                }
                ([byte, ..], _) => {
                    plain.push(*byte);
                    at += 1;
                }
                _ => break,
            }
        }
        text = plain.to_ascii_lowercase();
    }
    text
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_encoding::percent_decode(&spaced).collect::<Vec<u8>>().to_ascii_lowercase()
}

/// Returns the middle of a value's base64 as it is in each of the three places where it may begin, in lower case as the haystack is.
fn base64(value: &[u8]) -> [String; 3] {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    [0, 1, 2].map(|skip| {
        let whole = value[skip..].chunks_exact(3).flat_map(|three| {
            let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63]))
        });
        whole.collect::<String>().to_ascii_lowercase()
    })
}

#[test]
fn every_form_of_a_value_is_found() {
    for text in [
        "x cnry-0123 y",
        "x CNRY-0123 y",
        r#"{"text":"{\"a\":\"\\u0063nry-0123\"}"}"#,
        "a=%63nry%2D0123",
        "Y25yeS0wMTIz",
        "eGNucnktMDEyMw",
        "eHhjbnJ5LTAxMjM",
    ] {
        assert!(Haystack::of(text.as_bytes()).holds("cnry-0123"), "{text}");
    }
    let frame = zstd::stream::encode_all(&b"cnry-0123"[..], 3).unwrap();
    let file =
        [b"PAR1".to_vec(), zstd::stream::encode_all(&b"other"[..], 3).unwrap(), frame].concat();
    assert!(Haystack::of(&file).holds("cnry-0123"));
    assert!(!Haystack::of(b"cnry-0124 nry-0123").holds("cnry-0123"));
}
