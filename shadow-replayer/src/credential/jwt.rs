//! A JSON Web Token that is signed here with a test key. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

use super::Issued;
use crate::secret::Secret;

/// How tokens are signed.
#[derive(Clone)]
pub struct Signing {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The test key.
    pub key: EncodingKey,
    /// Which key it is, where the candidate has several.
    pub key_id: Option<String>,
    /// The claims beside `iat` and `exp`; `{principal}` in one stands for who called.
    pub claims: BTreeMap<String, String>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Reads a key for an algorithm: a shared secret for HS256, a private key in PEM for RS256 and ES256.
pub fn key(algorithm: Algorithm, text: &str) -> Result<EncodingKey, String> {
    let key = match algorithm {
        Algorithm::HS256 => Ok(EncodingKey::from_secret(text.as_bytes())),
        Algorithm::ES256 => EncodingKey::from_ec_pem(text.as_bytes()),
        _ => EncodingKey::from_rsa_pem(text.as_bytes()),
    };
    // The library's own words could repeat a part of the key.
    key.map_err(|_| format!("is not a private key in PEM for {algorithm:?}"))
}

impl Signing {
    /// Signs a token for a principal.
    pub(super) fn sign(
        &self,
        principal: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, String> {
        let claim = |(name, value): (&String, &String)| {
            (name.clone(), Value::from(value.replace("{principal}", principal)))
        };
        let mut claims: serde_json::Map<String, Value> = self.claims.iter().map(claim).collect();
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        claims.insert("iat".into(), now.as_second().into());
        claims.insert("exp".into(), now.as_second().saturating_add(seconds).into());
        let header = Header { kid: self.key_id.clone(), ..Header::new(self.algorithm) };
        let token = encode(&header, &claims, &self.key)
            .map_err(|_| format!("a token cannot be signed by {:?}", self.algorithm))?;
        Ok(Issued { credential: Secret::new(token), lifetime: Some(lifetime) })
    }
}
