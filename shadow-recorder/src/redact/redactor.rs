//! Applies the rules to messages: the recorder to what production said, the replayer to what a candidate says. Pure.
//!
//! The path is redacted first, and the route of a rule is looked for in what comes of it: so a redacted recording is treated as the
//! original was.

use serde_json_path::JsonPath;

use super::action::{Action, With};
use super::key::Key;
use super::multipart::{self, Done};
use super::pairs;
use super::rule::{Place, Rule};
use super::target::{self, URL_FIELDS};
use super::{Unredactable, json};
use crate::exchange::{Body, Omission, Request, Response, header};

/// The rules in force, with the key of their tokens.
#[derive(Clone, Debug)]
pub struct Redactor {
    rules: Vec<Rule>,
    key: Key,
}

/// What a message belongs to.
#[derive(Clone, Copy, Debug)]
struct Scope<'m> {
    upstream: Option<&'m str>,
    method: &'m str,
    path: &'m str,
}

/// How a body can be looked into.
enum Look<'m> {
    Json,
    JsonLines,
    Form,
    Multipart(&'m str),
}

/// Without rules.
impl Default for Redactor {
    fn default() -> Self {
        Self { rules: Vec::new(), key: Key::new("") }
    }
}

impl Redactor {
    /// Takes the rules; without a key where none of them makes tokens. `None` where the key is missing.
    pub fn new(rules: Vec<Rule>, key: Option<Key>) -> Option<Self> {
        let needs_key = rules.iter().any(Rule::makes_tokens);
        let key = if needs_key { key? } else { key.unwrap_or_else(|| Key::new("")) };
        Some(Self { rules, key })
    }

    /// Redacts a request of a client, or of the service to an upstream; returns whether its body had to be omitted.
    pub fn request(&self, upstream: Option<&str>, request: &mut Request) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        request.target = self.target(upstream, &request.method, &request.target);
        let scope = Scope { upstream, method: &request.method, path: request.path() };
        let rules = self.applying(scope);
        let is_omitted = self.body(&rules, &request.headers, &mut request.body);
        self.fields(&rules, &mut request.headers);
        self.fields(&rules, &mut request.trailers);
        is_omitted
    }

    /// Redacts an answer to a request that is redacted already; returns whether its body had to be omitted.
    pub fn response(
        &self,
        upstream: Option<&str>,
        request: &Request,
        response: &mut Response,
    ) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let scope = Scope { upstream, method: &request.method, path: request.path() };
        let rules = self.applying(scope);
        let is_omitted = self.body(&rules, &response.headers, &mut response.body);
        self.fields(&rules, &mut response.headers);
        self.fields(&rules, &mut response.trailers);
        is_omitted
    }

    fn applying(&self, scope: Scope<'_>) -> Vec<&Rule> {
        let applies = |rule: &&Rule| match (&rule.upstream, &rule.route) {
            (None, None) => true,
            (named, Some(route)) => {
                named.as_deref() == scope.upstream && route.matches(scope.method, scope.path)
            }
            (Some(named), None) => scope.upstream == Some(named),
        };
        self.rules.iter().filter(applies).collect()
    }

    fn action(&self, rule: &Rule) -> Action<'_> {
        match rule.with {
            With::Drop => Action::Drop,
            With::Mask => Action::Mask,
            With::Token => Action::Token(&self.key, rule.format),
        }
    }

    fn target(&self, upstream: Option<&str>, method: &str, target: &str) -> String {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let of_upstream =
            |rule: &&Rule| rule.upstream.is_none() || rule.upstream.as_deref() == upstream;
        let path = self.path(self.rules.iter().filter(of_upstream), path);
        let rules = self.applying(Scope { upstream, method, path: &path });
        match query {
            Some(query) => self.query(&rules.iter().copied(), &format!("{path}?{query}")),
            None => path,
        }
    }

    fn path<'r>(&self, rules: impl Iterator<Item = &'r Rule>, path: &str) -> String {
        let pattern = |rule: &'r Rule| match &rule.place {
            Place::Path(pattern) => Some((pattern, self.action(rule))),
            _ => None,
        };
        target::path(path, rules.filter_map(pattern))
    }

    fn query<'r>(&self, rules: &(impl Iterator<Item = &'r Rule> + Clone), target: &str) -> String {
        target::query(target, |name| {
            let mut rules = rules.clone();
            let is_meant = |r: &&Rule| matches!(&r.place, Place::Query(known) if known == name);
            rules.find(is_meant).map(|rule| self.action(rule))
        })
    }

    fn fields(&self, rules: &[&Rule], fields: &mut Vec<(String, String)>) {
        // The URLs may lead anywhere, whatever this message belongs to.
        let any = || self.rules.iter();
        let one = |url: &str| target::url(url, |p| self.path(any(), p), |q| self.query(&any(), q));
        fields.retain_mut(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_meant =
                |r: &&&Rule| matches!(&r.place, Place::Header(known) if known.as_str() == name);
            if let Some(rule) = rules.iter().find(is_meant) {
                let redacted = self.action(rule).text(value);
                return redacted.map(|text| *value = text.into_owned()).is_some();
            }
            if name == "link" {
                *value = target::links(value, one);
            } else if URL_FIELDS.contains(&&*name) {
                *value = one(value);
            }
            true
        });
    }

    /// Redacts a body by the rules that look into bodies. Where there are such rules and none of them can, it is not kept.
    fn body(&self, rules: &[&Rule], headers: &[(String, String)], body: &mut Body) -> bool {
        let looks = |rule: &&Rule| matches!(rule.place, Place::Json { .. } | Place::Form(_));
        let rules_of_bodies: Vec<&Rule> = rules.iter().copied().filter(looks).collect();
        let Some(text) = body.text.as_deref().filter(|text| !text.is_empty()) else { return false };
        if rules_of_bodies.is_empty() {
            return false;
        }
        match self.text(&rules_of_bodies, text, &look(headers, body)) {
            Ok(redacted) => body.text = Some(redacted),
            Err(Unredactable) if rules.iter().any(|r| matches!(r.place, Place::Opaque)) => {}
            Err(Unredactable) => {
                body.text = None;
                body.rendering = None;
                body.omitted = Some(Omission::Unredactable);
                return true;
            }
        }
        false
    }

    fn text(&self, rules: &[&Rule], text: &str, look: &Look<'_>) -> Result<String, Unredactable> {
        let paths: Vec<(&JsonPath, Action<'_>)> = rules
            .iter()
            .filter_map(|rule| match &rule.place {
                Place::Json { path, .. } => Some((path, self.action(rule))),
                _ => None,
            })
            .collect();
        let field = |name: &str| {
            let is_meant = |r: &&&Rule| matches!(&r.place, Place::Form(known) if known == name);
            rules.iter().find(is_meant).map(|rule| self.action(rule))
        };
        let has_fields = rules.iter().any(|rule| matches!(rule.place, Place::Form(_)));
        match look {
            Look::Json if !paths.is_empty() => json::document(text, &paths),
            Look::JsonLines if !paths.is_empty() => json::lines(text, &paths),
            Look::Form if has_fields => Ok(pairs::redact(text, field)),
            Look::Multipart(content_type) => {
                multipart::redact(text, content_type, |part| {
                    match part.names.iter().find_map(|name| field(name)) {
                        Some(action) => Ok(Done::Field(action)),
                        None if part.is_json && !paths.is_empty() => {
                            json::document(part.content, &paths).map(Done::Content)
                        }
                        None if has_fields => Ok(Done::Kept),
                        None => Err(Unredactable),
                    }
                })
            }
            _ => Err(Unredactable),
        }
    }
}

/// Returns how a body is looked into: as its type says, and as JSON where that says nothing of it.
fn look<'m>(headers: &'m [(String, String)], body: &Body) -> Look<'m> {
    use crate::exchange::Rendering;
    let content_type = header(headers, "content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (body.rendering, &*essence) {
        (Some(Rendering::GrpcStream), _)
        | (None, "application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            Look::JsonLines
        }
        (None, "application/x-www-form-urlencoded") => Look::Form,
        (None, "multipart/form-data") => Look::Multipart(content_type),
        (Some(Rendering::GrpcMessage) | None, _) => Look::Json,
    }
}

#[cfg(test)]
mod tests;
