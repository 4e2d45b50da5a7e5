//! `[replay.authentication]`: on whose behalf the candidate is asked.
//!
//! Secrets are named here and lie in the environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jsonwebtoken::Algorithm;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::config::{At, Table};

use super::candidate::header_name;
use crate::allow::Allow;
use crate::credential::command::Command;
use crate::credential::jwt::{self, Signing};
use crate::credential::token_endpoint::TokenEndpoint;
use crate::credential::{Issue, Source};
use crate::secret::Secret;
use crate::signature::{Encoding, Signature};

/// On whose behalf the candidate is asked.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// Fields of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where credentials come from.
    pub issue: Option<Issue>,
    /// How bodies are signed.
    pub signature: Option<Signature>,
    /// Refused credentials at which the run stops, where production's were accepted.
    pub refusals_max: u64,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { headers: Vec::new(), issue: None, signature: None, refusals_max: 20 }
    }
}

/// Takes `authentication` from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>, allow: &Allow) -> Authentication {
    let mut authentication = Authentication::default();
    let Some(mut table) = replay.table("authentication") else { return authentication };
    for (name, variable) in table.text_map("headers").unwrap_or_default() {
        let header = header_name(&name).map_err(|what| table.mistake_at(&variable, &what)).ok();
        let value = secret(&table, &variable)
            .and_then(|secret| field_value(&table, &variable, secret.reveal()));
        authentication.headers.extend(header.zip(value));
    }
    authentication.issue =
        table.table("credential").and_then(|credential| issue(credential, allow));
    authentication.signature = table.table("signature").and_then(signature);
    if let Some(max) = table.integer("refusals_max", 1) {
        authentication.refusals_max = max;
    }
    table.finish(&["headers", "credential", "signature", "refusals_max"]);
    authentication
}

fn field_value(table: &Table<'_, '_>, at: &At<String>, text: &str) -> Option<HeaderValue> {
    let Ok(mut value) = HeaderValue::from_str(text) else {
        let what = format!("what the environment variable {} holds cannot be sent", at.value);
        table.mistake_at(at, &what);
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// Reads a secret from the environment variable that is named.
fn secret(table: &Table<'_, '_>, variable: &At<String>) -> Option<Secret> {
    let name = &variable.value;
    let found = table.document().variable(name).filter(|value| !value.is_empty());
    if found.is_none() {
        let what = format!("the environment variable {name} is not set: it must hold the secret");
        table.mistake_at(variable, &what);
    }
    found.map(Secret::new)
}

const CREDENTIAL_KEYS: [&str; 9] = [
    "per",
    "header",
    "prefix",
    "lifetime",
    "timeout",
    "at_once_max",
    "command",
    "token_endpoint",
    "jwt",
];

fn issue(mut table: Table<'_, '_>, allow: &Allow) -> Option<Issue> {
    let per_principal = table.parsed("per", |text| match text {
        "principal" => Ok(true),
        "run" => Ok(false),
        _ => Err(format!("`{text}` is unknown: write principal or run")),
    });
    let header = table.parsed("header", header_name).unwrap_or(AUTHORIZATION);
    let prefix = table.text("prefix").map_or("Bearer ".into(), |prefix| prefix.value);
    let lifetime = table.duration("lifetime").unwrap_or(Duration::from_mins(5));
    let timeout = table.duration("timeout").unwrap_or(Duration::from_secs(10));
    let at_once_max = table.integer("at_once_max", 1).map_or(4, |most| {
        // More permits than this the semaphore does not hold.
        usize::try_from(most).unwrap_or(usize::MAX).min(1 << 16)
    });
    let given = ["command", "token_endpoint", "jwt"].into_iter().filter(|key| table.has(key));
    let source = match given.collect::<Vec<_>>()[..] {
        ["command"] => {
            let words = table.texts("command");
            let command = words.and_then(|words| program(&table, "command", words));
            command.map(|(program, arguments)| Source::Command(Command { program, arguments }))
        }
        ["token_endpoint"] => {
            let endpoint = table.table("token_endpoint");
            let endpoint = endpoint.and_then(|endpoint| token_endpoint(endpoint, allow));
            endpoint.map(|endpoint| Source::TokenEndpoint(Box::new(endpoint)))
        }
        ["jwt"] => {
            let signing = table.table("jwt").and_then(signing);
            signing.map(|signing| Source::Jwt(Box::new(signing)))
        }
        _ => {
            table.mistake("it needs one of `command`, `token_endpoint` and `jwt`, which says where credentials come from");
            None
        }
    };
    table.finish(&CREDENTIAL_KEYS);
    let per_principal = per_principal.unwrap_or(true);
    Some(Issue { source: source?, per_principal, header, prefix, lifetime, timeout, at_once_max })
}

/// Takes a program with its arguments from a list of texts.
pub(super) fn program(
    table: &Table<'_, '_>,
    key: &str,
    words: Vec<At<String>>,
) -> Option<(PathBuf, Vec<String>)> {
    let mut words = words.into_iter().map(|word| word.value);
    let Some(program) = words.next().filter(|program| !program.is_empty()) else {
        table.mistake(&format!("`{key}` is empty: write a list of the program and its arguments"));
        return None;
    };
    // A name without a slash is looked up as the shell does.
    let is_path = program.contains('/');
    let program = if is_path { table.document().resolve(&program) } else { program.into() };
    Some((program, words.collect()))
}

fn token_endpoint(mut table: Table<'_, '_>, allow: &Allow) -> Option<TokenEndpoint> {
    if !table.has("url") {
        table.missing("url");
    }
    let location = table.parsed("url", endpoint_url);
    let id = table.text("client_id").map(|id| id.value);
    let variable = table.text("client_secret");
    let client_secret = variable.and_then(|variable| secret(&table, &variable));
    let mut parameters: BTreeMap<String, String> = table
        .text_map("parameters")
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, value.value))
        .collect();
    parameters.entry("grant_type".into()).or_insert_with(|| "client_credentials".into());
    table.finish(&["url", "client_id", "client_secret", "parameters"]);
    let (origin, path) = location?;
    let client = id.zip(client_secret);
    Some(TokenEndpoint { origin, path, allow: allow.clone(), client, parameters })
}

/// Splits `http://HOST:PORT/PATH`.
pub(super) fn endpoint_url(text: &str) -> Result<(Origin, String), String> {
    let wrong = || format!("`{text}` is not a URL: write http://HOST:PORT/PATH");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let path = uri.path_and_query().map_or("/".into(), ToString::to_string);
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(wrong)?;
    Ok((Origin::parse(&format!("{scheme}://{authority}"))?, path))
}

fn signing(mut table: Table<'_, '_>) -> Option<Signing> {
    let algorithm = table.parsed("algorithm", |text| match text {
        "HS256" => Ok(Algorithm::HS256),
        "RS256" => Ok(Algorithm::RS256),
        "ES256" => Ok(Algorithm::ES256),
        _ => Err(format!("`{text}` is not an algorithm: write HS256, RS256 or ES256")),
    });
    let algorithm = algorithm.unwrap_or(Algorithm::HS256);
    let variable = table.required("key");
    let key = variable.and_then(|variable| {
        let secret = secret(&table, &variable)?;
        let wrong = |what| {
            let name = &variable.value;
            let what = format!("what the environment variable {name} holds {what}");
            table.mistake_at(&variable, &what);
        };
        jwt::key(algorithm, secret.reveal()).map_err(wrong).ok()
    });
    let key_id = table.text("key_id").map(|id| id.value);
    let claims = table.text_map("claims").unwrap_or_default();
    let claims = claims.into_iter().map(|(name, value)| (name, value.value)).collect();
    table.finish(&["algorithm", "key", "key_id", "claims"]);
    Some(Signing { algorithm, key: key?, key_id, claims })
}

fn signature(mut table: Table<'_, '_>) -> Option<Signature> {
    if !table.has("header") {
        table.missing("header");
    }
    let header = table.parsed("header", header_name);
    let variable = table.required("key");
    let key = variable.and_then(|variable| secret(&table, &variable));
    let encoding = table.parsed("encoding", |text| match text {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        _ => Err(format!("`{text}` is not an encoding: write hex or base64")),
    });
    let mut template = |key: &str, part: &str| {
        let checked = table.parsed(key, |text| match text.matches(part).count() {
            1 => Ok(text.to_owned()),
            _ => Err(format!("must have {part} once")),
        });
        checked.unwrap_or_else(|| part.to_owned())
    };
    let (value, signed) = (template("value", "{signature}"), template("signed", "{body}"));
    table.finish(&["header", "key", "encoding", "value", "signed"]);
    let encoding = encoding.unwrap_or(Encoding::Hex);
    Some(Signature { header: header?, key: key?, encoding, value, signed })
}
