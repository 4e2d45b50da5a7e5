//! A token endpoint of OAuth 2.0: client credentials (RFC 6749, section 4.4), or token exchange (RFC 8693) by its own parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use shadow_recorder::config::upstream::Origin;

use super::Issued;
use crate::allow::Allow;
use crate::plain;
use crate::secret::Secret;

/// All but the unreserved characters (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where tokens are asked for, and how.
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    /// Its server.
    pub origin: Origin,
    /// Its path, with a query where it has one.
    pub path: String,
    /// Where a replay may go.
    pub allow: Allow,
    /// The client, and its secret.
    pub client: Option<(String, Secret)>,
    /// The form's fields; `{principal}` in one stands for who called.
    pub parameters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl TokenEndpoint {
    /// Asks for a token.
    pub(super) async fn fetch(&self, principal: &str) -> Result<Issued, String> {
        let at = format!("the token endpoint {}{}", self.origin, self.path);
        let answer = self.ask(principal).await.map_err(|why| format!("{at}: {why}"))?;
        Ok(Issued {
            credential: Secret::new(answer.access_token),
            lifetime: answer.expires_in.map(Duration::from_secs),
        })
    }

    async fn ask(&self, principal: &str) -> Result<Answer, String> {
        let request = self.request(principal)?;
        let (status, body) = plain::ask(&self.origin, &self.allow, request).await?;
        if !status.is_success() {
            return Err(format!("it answered with status {status}"));
        }
        // What it says may hold the token, so the error does not repeat it.
        serde_json::from_slice(&body).map_err(|_| "its answer has no access_token".to_owned())
    }

    fn request(&self, principal: &str) -> Result<Request<Full<Bytes>>, String> {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let field = |(name, value): (&String, &String)| {
            format!("{}={}", encoded(name), encoded(&value.replace("{principal}", principal)))
        };
        let form: Vec<String> = self.parameters.iter().map(field).collect();
        let mut request = Request::post(&self.path)
            .header("host", self.origin.authority.as_str())
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some((id, secret)) = &self.client {
            let pair = format!("{}:{}", encoded(id), encoded(secret.reveal()));
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
        }
        request.body(Full::new(Bytes::from(form.join("&")))).map_err(|error| error.to_string())
    }
}
