//! A signature over a request's body, made anew with a test key, as webhooks have it. Pure.
//!
//! GitHub's: `X-Hub-Signature-256: sha256=<hex HMAC-SHA-256 of the body>`. Stripe's: `Stripe-Signature: t=<seconds>,v1=<hex
//! HMAC-SHA-256 of "<seconds>.<body>">`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::Sha256;

use crate::secret::Secret;

/// How requests are signed.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The field that carries it.
    pub header: HeaderName,
    /// The test key.
    pub key: Secret,
    /// How the HMAC is written.
    pub encoding: Encoding,
    /// The field's value, with `{signature}` and perhaps `{time}`.
    pub value: String,
    /// What is signed, with `{body}` and perhaps `{time}`.
    pub signed: String,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    Hex,
    /// Base64 with padding.
    Base64,
}

impl Signature {
    /// Returns the field's value for a body that is sent at this time.
    pub fn of(&self, body: &[u8], now: Timestamp) -> Result<HeaderValue, String> {
        let time = now.as_second().to_string();
        let cannot = || format!("the field {} cannot be sent", self.header);
        let mut hmac = Hmac::<Sha256>::new_from_slice(self.key.reveal().as_bytes())
            .map_err(|_| "the key of the signature cannot be used".to_owned())?;
        let signed = self.signed.replace("{time}", &time);
        let (before, after) = signed.split_once("{body}").unwrap_or((&signed, ""));
        hmac.update(before.as_bytes());
        hmac.update(body);
        hmac.update(after.as_bytes());
        let bytes = hmac.finalize().into_bytes();
        let signature = match self.encoding {
            Encoding::Hex => {
                bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
            }
            Encoding::Base64 => STANDARD.encode(bytes),
        };
        let value = self.value.replace("{time}", &time).replace("{signature}", &signature);
        let mut value = HeaderValue::from_str(&value).map_err(|_| cannot())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(value: &str, signed: &str, encoding: Encoding) -> Signature {
        Signature {
            header: "x-hub-signature-256".parse().unwrap(),
            key: Secret::new("It's a Secret to Everybody".into()),
            encoding,
            value: value.into(),
            signed: signed.into(),
        }
    }

    #[test]
    fn a_body_is_signed_as_github_documents_it() {
        let now = "2026-11-20T07:30:00Z".parse().unwrap();
        let github = signature("sha256={signature}", "{body}", Encoding::Hex);
        assert_eq!(
            github.of(b"Hello, World!", now).unwrap(),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        let stripe = signature("t={time},v1={signature}", "{time}.{body}", Encoding::Base64);
        let value = stripe.of(b"Hello, World!", now).unwrap();
        let (time, mac) = value.to_str().unwrap().split_once(",v1=").unwrap();
        let plain = signature("{signature}", "{body}", Encoding::Base64);
        assert_eq!(plain.of(format!("{}.Hello, World!", &time[2..]).as_bytes(), now).unwrap(), mac);
        assert_eq!(time, "t=1795159800");
        // What is in the body is not taken for a placeholder.
        assert_ne!(github.of(b"{time}", now).unwrap(), github.of(b"1795159800", now).unwrap());
        assert!(format!("{github:?}").contains("key: ***"), "{github:?}");
    }
}
