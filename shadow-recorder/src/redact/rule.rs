//! FORMAT: one redaction rule, as `[[redact]]` says it and as a segment's header repeats it.

use http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json_path::JsonPath;

use super::action::With;
use super::target::PathPattern;
use super::token::Format;
use crate::ledger::Route;

/// A rule as it is written: where it applies, one place, and what is done there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    /// Only calls to this upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Only requests of this route, and their answers: of clients, or with `upstream` of its calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// A field of heads and trailers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Segments of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Values of JSON bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A field of bodies that are forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// Bodies that no rule can look into are stored all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
    /// What is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<With>,
    /// What the token looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

/// A rule that is checked.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) upstream: Option<String>,
    pub(super) route: Option<Route>,
    pub(super) place: Place,
    pub(super) with: With,
    pub(super) format: Format,
}

/// What a rule looks at.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Header(HeaderName),
    Query(String),
    Path(PathPattern),
    Json { path: JsonPath, text: String },
    Form(String),
    Opaque,
}

/// Fields without which a recording cannot be read.
const NEEDED: [&str; 3] = ["content-type", "content-encoding", "grpc-encoding"];

impl Rule {
    /// Checks a rule; the error names everything that is wrong with it.
    pub fn parse(written: &Written) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let place = place(written, &mut mistakes);
        let route = written.route.as_deref().map(Route::parse).transpose();
        let route = route.map_err(|what| mistakes.push(format!("`route` {what}"))).ok().flatten();
        match (written.opaque, written.with) {
            (true, Some(_)) => mistakes.push("`opaque` is said without `with`".into()),
            (false, None) => {
                mistakes.push("`with` is missing: write \"drop\", \"mask\" or \"token\"".into());
            }
            _ => {}
        }
        if written.opaque && written.upstream.is_none() && written.route.is_none() {
            mistakes.push("`opaque` needs a `route` or an `upstream`".into());
        }
        if written.format.is_some() && written.with != Some(With::Token) {
            mistakes.push("`format` says what a token looks like: write `with = \"token\"`".into());
        }
        if written.path.is_some() && written.route.is_some() {
            mistakes.push("`path` says already which requests are meant: leave `route` out".into());
        }
        if written.path.is_some() && written.with == Some(With::Drop) {
            mistakes
                .push("a segment of a path cannot be dropped: write \"mask\" or \"token\"".into());
        }
        let upstream = written.upstream.clone();
        let with = written.with.unwrap_or(With::Mask);
        let format = written.format.unwrap_or_default();
        match place {
            Some(place) if mistakes.is_empty() => Ok(Self { upstream, route, place, with, format }),
            _ => Err(mistakes),
        }
    }

    /// Returns whether the rule needs the key.
    pub fn makes_tokens(&self) -> bool {
        self.with == With::Token && !matches!(self.place, Place::Opaque)
    }
}

fn place(written: &Written, mistakes: &mut Vec<String>) -> Option<Place> {
    let Written { header, query, path, json, form, opaque, .. } = written;
    let said = [header, query, path, json, form].into_iter().flatten().count();
    if said + usize::from(*opaque) != 1 {
        mistakes.push("name one of `header`, `query`, `path`, `json`, `form` and `opaque`".into());
        return None;
    }
    let mut wrong = |what: String| {
        mistakes.push(what);
        None
    };
    if let Some(name) = header {
        return match HeaderName::try_from(name) {
            Err(_) => wrong(format!("`{name}` is not the name of a field")),
            Ok(name) if super::is_credential(name.as_str()) => {
                wrong(format!("`{name}` is a credential, which is dropped without a rule"))
            }
            Ok(name) if NEEDED.contains(&name.as_str()) => {
                wrong(format!("without `{name}` a recording cannot be read"))
            }
            Ok(name) => Some(Place::Header(name)),
        };
    }
    if let Some(pattern) = path {
        return PathPattern::parse(pattern)
            .map_or_else(wrong, |pattern| Some(Place::Path(pattern)));
    }
    if let Some(path) = json {
        let parsed = JsonPath::parse(path);
        let what = |error| format!("`{path}` is not a JSONPath (RFC 9535): {error}");
        let text = path.clone();
        return parsed
            .map_or_else(|error| wrong(what(error)), |path| Some(Place::Json { path, text }));
    }
    let named = query.clone().map(Place::Query).or_else(|| form.clone().map(Place::Form));
    Some(named.unwrap_or(Place::Opaque))
}
