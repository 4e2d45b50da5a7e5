//! The key of the tokens, and what is drawn from it: HMAC-SHA-256 as a keyed random function.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Characters that a key has at least: a shorter one can be guessed, and who has the key can try values.
pub const KEY_CHARS_MIN: usize = 16;

/// The key of the tokens. It is never written: a recording has its fingerprint.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

impl Key {
    /// Takes the secret text of the configuration.
    pub fn new(secret: &str) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&Sha256::digest(secret));
        Self(Hmac::new(&block.into()))
    }

    /// Returns what tells two keys apart and says nothing else of them: 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let block = self.block("fingerprint", b"", 0);
        let first = block.first_chunk().copied().map_or(0, u64::from_be_bytes);
        format!("{first:016x}")
    }

    /// Draws one character of each alphabet: always the same for the same purpose and data.
    pub(super) fn draw<'a>(
        &self,
        purpose: &str,
        data: &str,
        alphabets: impl IntoIterator<Item = &'a [u8]>,
    ) -> String {
        let mut block = [0; 32];
        let draw = |(at, alphabet): (usize, &[u8])| {
            if at.is_multiple_of(8) {
                block = self.block(purpose, data.as_bytes(), at / 8);
            }
            let four = block.chunks_exact(4).nth(at % 8).and_then(<[u8]>::first_chunk);
            let number = u32::from_le_bytes(*four.expect("a block has eight times four bytes"));
            // A few characters are likelier than others by less than one in a hundred million.
            char::from(alphabet[number as usize % alphabet.len()])
        };
        alphabets.into_iter().enumerate().map(draw).collect()
    }

    fn block(&self, purpose: &str, data: &[u8], number: usize) -> [u8; 32] {
        let mut mac = self.0.clone();
        // No purpose has a zero in it and the number's length is fixed, so that no two inputs are the same bytes.
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(&(number as u64).to_le_bytes());
        mac.update(data);
        mac.finalize().into_bytes().into()
    }
}
