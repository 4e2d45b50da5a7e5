//! Credentials for the candidate: one for each recorded principal, or one for the run. Each is fetched once and kept until it expires.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore};

use crate::ambient::signed;
use crate::secret::Secret;

pub mod command;
pub mod jwt;
pub mod token_endpoint;

/// Where credentials come from, and how they are sent.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Where they come from.
    pub source: Source,
    /// Whether each recorded principal has one of its own.
    pub per_principal: bool,
    /// The field that carries one.
    pub header: HeaderName,
    /// What stands before it in the field.
    pub prefix: String,
    /// How long one is used, where its source does not say.
    pub lifetime: Duration,
    /// How long its source may take.
    pub timeout: Duration,
    /// How many are fetched at once.
    pub at_once_max: usize,
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A command that is given the principal on standard input and prints its credential.
    Command(command::Command),
    /// A token endpoint of OAuth 2.0.
    TokenEndpoint(Box<token_endpoint::TokenEndpoint>),
    /// A token that is signed here, with a test key.
    Jwt(Box<jwt::Signing>),
}

/// A credential as its source gives it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The credential.
    pub credential: Secret,
    /// How long it may be used, where the source says.
    pub lifetime: Option<Duration>,
}

/// Principals whose credentials are kept at once; with more all are fetched anew.
const PRINCIPALS_MAX: usize = 100_000;
/// A credential is not used in its last seconds: it must still be sound when it arrives.
const EARLY: Duration = Duration::from_secs(5);

type Kept = Arc<Mutex<Option<(HeaderValue, Timestamp)>>>;

/// Fetches credentials and keeps them.
#[derive(Debug)]
pub struct Credentials {
    issue: Issue,
    kept: std::sync::Mutex<HashMap<String, Kept>>,
    fetching: Semaphore,
}

impl Credentials {
    /// Begins with none.
    pub fn new(issue: Issue) -> Self {
        let fetching = Semaphore::new(issue.at_once_max);
        Self { issue, kept: std::sync::Mutex::default(), fetching }
    }

    /// Returns the field for a request of this principal; none for a request that production was sent without a credential.
    pub async fn of(
        &self,
        principal: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<(HeaderName, HeaderValue)>, String> {
        let principal = match principal {
            _ if !self.issue.per_principal => "",
            Some(principal) => principal,
            None => return Ok(None),
        };
        let kept = self.kept(principal);
        // Others of the same principal wait here for the one that fetches.
        let mut kept = kept.lock().await;
        if let Some((value, until)) = &*kept
            && now < *until
        {
            return Ok(Some((self.issue.header.clone(), value.clone())));
        }
        let issued = self.fetch(principal, now).await?;
        let lifetime = issued.lifetime.unwrap_or(self.issue.lifetime).saturating_sub(EARLY);
        let until = now.saturating_add(signed(lifetime)).unwrap_or(Timestamp::MAX);
        let text = format!("{}{}", self.issue.prefix, issued.credential.reveal());
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            format!("the credential cannot be sent in the field {}", self.issue.header)
        })?;
        value.set_sensitive(true);
        *kept = Some((value.clone(), until));
        Ok(Some((self.issue.header.clone(), value)))
    }

    fn kept(&self, principal: &str) -> Kept {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PRINCIPALS_MAX && !all.contains_key(principal) {
            all.clear();
        }
        Arc::clone(all.entry(principal.to_owned()).or_default())
    }

    async fn fetch(&self, principal: &str, now: Timestamp) -> Result<Issued, String> {
        let _permit = self.fetching.acquire().await;
        let fetching = async {
            match &self.issue.source {
                Source::Command(command) => command.fetch(principal).await,
                Source::TokenEndpoint(endpoint) => endpoint.fetch(principal).await,
                Source::Jwt(signing) => signing.sign(principal, now, self.issue.lifetime),
            }
        };
        let timeout = self.issue.timeout;
        tokio::time::timeout(timeout, fetching)
            .await
            .unwrap_or_else(|_| Err(format!("it took longer than {timeout:?}")))
            .map_err(|why| format!("no credential for the candidate: {why}"))
    }
}

#[cfg(test)]
mod tests;
