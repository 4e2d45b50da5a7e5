//! Redacts the target of a request, and URLs that repeat one, in place.

use super::action::Action;
use super::pairs::{self, decoded, encoded};

/// Fields that hold a URL, or the target of a request as it was before something rewrote it.
pub(super) const URL_FIELDS: [&str; 10] = [
    "referer",
    "location",
    "content-location",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-envoy-original-path",
    "link",
];

/// A path of which some segments are redacted, such as `/users/{}/cards/*`.
///
/// `{}` is a segment that is redacted, `*` any other, a last `**` any number of others.
#[derive(Clone, Debug)]
pub(super) struct PathPattern(Vec<String>);

impl PathPattern {
    /// Reads a pattern; the error says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a pattern of a path: write /users/{{}}, where {{}} is what is redacted, * any other segment and a last ** any number of them"
            )
        };
        let segments: Vec<String> =
            text.strip_prefix('/').ok_or_else(wrong)?.split('/').map(str::to_owned).collect();
        let is_sound = segments.iter().any(|segment| segment == "{}")
            && !segments.iter().rev().skip(1).any(|segment| segment == "**")
            && !segments.iter().any(|s| s != "{}" && s.contains(['{', '}', '?', '#']));
        if is_sound { Ok(Self(segments)) } else { Err(wrong()) }
    }

    fn redact(&self, path: &str, action: Action<'_>) -> Option<String> {
        let (start, rest) = path.split_at(usize::from(path.starts_with('/')));
        let given: Vec<&str> = rest.split('/').collect();
        let open = self.0.last().is_some_and(|last| last == "**");
        let fixed = self.0.len() - usize::from(open);
        if given.len() < fixed || !open && given.len() > fixed {
            return None;
        }
        let mut redacted = Vec::new();
        for (at, part) in given.iter().enumerate() {
            match self.0.get(at).map_or("**", |segment| segment) {
                "{}" => redacted.push(encoded(&action.text(&decoded(part, false))?)),
                segment if segment == "*" || at >= fixed || *segment == *decoded(part, false) => {
                    redacted.push((*part).to_owned());
                }
                _ => return None,
            }
        }
        Some(format!("{start}{}", redacted.join("/")))
    }
}

/// Redacts the path: the first pattern that it fits counts.
pub(super) fn path<'p, 'k>(
    path: &str,
    patterns: impl IntoIterator<Item = (&'p PathPattern, Action<'k>)>,
) -> String {
    let mut redacted = patterns.into_iter().filter_map(|(p, action)| p.redact(path, action));
    redacted.next().unwrap_or_else(|| path.to_owned())
}

/// Redacts the query of a target; one that is left empty goes with its mark.
pub(super) fn query<'k>(target: &str, action: impl Fn(&str) -> Option<Action<'k>>) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let redacted = pairs::redact(query, action);
    if redacted.is_empty() && !query.is_empty() {
        path.into()
    } else {
        format!("{path}?{redacted}")
    }
}

/// Redacts a URL, absolute or not: its path and its query as they say, its fragment like a query. A user and a password go.
pub(super) fn url(
    text: &str,
    path: impl Fn(&str) -> String,
    query: impl Fn(&str) -> String,
) -> String {
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (text, None),
    };
    let (rest, asked) = match rest.split_once('?') {
        Some((rest, asked)) => (rest, Some(asked)),
        None => (rest, None),
    };
    let authority = rest.find("://").map(|at| at + 3).or(rest.starts_with("//").then_some(2));
    let (before, rest) = rest.split_at(authority.unwrap_or(0));
    let (host, rest) = match authority {
        Some(_) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let target = |text: &str, mark: &str| {
        let asked = query(&format!("?{text}"));
        asked.strip_prefix('?').map(|asked| format!("{mark}{asked}")).unwrap_or_default()
    };
    let asked = asked.map(|asked| target(asked, "?")).unwrap_or_default();
    let fragment = fragment.map(|fragment| target(fragment, "#")).unwrap_or_default();
    format!("{before}{host}{}{asked}{fragment}", path(rest))
}

/// Redacts the URLs of a `Link` field, which stand in angle brackets.
pub(super) fn links(text: &str, url: impl Fn(&str) -> String) -> String {
    let piece = |piece: &str| match piece.split_once('>') {
        Some((link, rest)) => format!("{}>{rest}", url(link)),
        None => piece.to_owned(),
    };
    let mut pieces = text.split('<');
    let first = pieces.next().unwrap_or_default().to_owned();
    std::iter::once(first).chain(pieces.map(piece)).collect::<Vec<_>>().join("<")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(pattern: &str, given: &str) -> String {
        path(given, [(&PathPattern::parse(pattern).unwrap(), Action::Mask)])
    }

    #[test]
    fn only_the_marked_segments_of_a_fitting_path_change() {
        for (pattern, given, expect) in [
            ("/users/{}", "/users/ada", "/users/***"),
            ("/users/{}", "/users/ada/", "/users/ada/"),
            ("/users/{}", "/%75sers/ada", "/%75sers/***"),
            ("/users/{}", "/user/ada", "/user/ada"),
            ("/users/{}", "/users/", "/users/"),
            ("/*/{}/cards/{}", "/a%20b/c/cards/d", "/a%20b/***/cards/***"),
            ("/users/{}/**", "/users/ada/x/y", "/users/***/x/y"),
            ("/users/{}/**", "/users/ada", "/users/***"),
            ("/users/{}/**", "*", "*"),
        ] {
            assert_eq!(masked(pattern, given), expect, "{pattern} {given}");
        }
        for wrong in ["users/{}", "/users", "/users/{id}", "/**/{}", "/users/{}?x"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_redacted_as_the_target_in_it() {
        let pattern = PathPattern::parse("/users/{}").unwrap();
        let redacted = |text: &str| {
            let action = |name: &str| (name == "key").then_some(Action::Drop);
            url(text, |p| path(p, [(&pattern, Action::Mask)]), |q| query(q, action))
        };
        for (text, expect) in [
            (
                "https://ada:pw@example.org/users/ada?key=1&x=%20#key=2&y",
                "https://example.org/users/***?x=%20#y",
            ),
            ("//example.org/users/ada", "//example.org/users/***"),
            ("https://example.org?key=1", "https://example.org"),
            ("/users/ada?key=1", "/users/***"),
            ("/users/ada?", "/users/***?"),
            ("mailto:ada", "mailto:ada"),
        ] {
            assert_eq!(redacted(text), expect, "{text}");
        }
        let header = "</users/ada?key=1>; rel=\"next\", </x>; rel=\"prev\"";
        let expect = "</users/***>; rel=\"next\", </x>; rel=\"prev\"";
        assert_eq!(links(header, redacted), expect);
    }
}
