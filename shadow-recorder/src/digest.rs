//! Digests of files and rules, as manifests, journals and verdicts write them.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Returns the SHA-256 as 64 lower-case hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[test]
fn the_empty_text_has_its_known_digest() {
    let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(sha256(""), known);
}
