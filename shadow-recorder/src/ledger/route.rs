//! Which requests and answers a rule is for.

use std::fmt;

/// A method and a path pattern, such as `POST /trips/*/close`.
///
/// `*` or `{name}` stands for one path segment, a last `**` for any number; the method `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    method: String,
    segments: Vec<String>,
}

impl Route {
    /// Reads a route; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a route: write METHOD /path, for example \"POST /trips/*\"")
        };
        let (method, path) = text.split_once(' ').ok_or_else(wrong)?;
        let path = path.trim().strip_prefix('/').ok_or_else(wrong)?;
        if method != "*"
            && (method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()))
        {
            return Err(wrong());
        }
        // In the middle it would match everything below, and take answers from the rules behind it.
        let segments: Vec<&str> = path.split('/').collect();
        if segments.iter().rev().skip(1).any(|segment| *segment == "**") {
            return Err(format!("`{text}` is not a route: `**` stands only at the end"));
        }
        Ok(Self {
            method: method.into(),
            segments: segments.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Returns whether a request is of this route.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        if self.method != "*" && self.method != method {
            return false;
        }
        let mut given = path.strip_prefix('/').unwrap_or(path).split('/');
        for segment in &self.segments {
            if segment == "**" {
                return true;
            }
            let Some(part) = given.next() else { return false };
            if !is_any(segment) && segment != part {
                return false;
            }
        }
        given.next().is_none()
    }

    /// Returns whether one request may be of both routes.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let one_method = self.method == "*" || other.method == "*" || self.method == other.method;
        let (mut ours, mut theirs) = (self.segments.iter(), other.segments.iter());
        one_method
            && loop {
                match (ours.next().map(|s| &**s), theirs.next().map(|s| &**s)) {
                    (Some("**"), _) | (_, Some("**")) | (None, None) => break true,
                    (Some(a), Some(b)) if a == b || is_any(a) || is_any(b) => {}
                    _ => break false,
                }
            }
    }
}

fn is_any(segment: &str) -> bool {
    segment == "*" || (segment.starts_with('{') && segment.ends_with('}'))
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /{}", self.method, self.segments.join("/"))
    }
}

/// A status code such as `201`, or a class such as `2xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// Every status of a class: its first digit.
    Class(u16),
    /// One status.
    Code(u16),
}

impl StatusPattern {
    /// Reads a pattern; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a status: write a code such as 201 or a class such as 2xx");
        if let Some(class) = text.strip_suffix("xx") {
            return class
                .parse()
                .ok()
                .filter(|class| (1..=5).contains(class))
                .map(Self::Class)
                .ok_or_else(wrong);
        }
        text.parse().ok().filter(|code| (100..600).contains(code)).map(Self::Code).ok_or_else(wrong)
    }

    /// Returns whether a status is meant.
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Class(class) => status / 100 == class,
            Self::Code(code) => status == code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_by_segment() {
        for (route, method, path, expect) in [
            ("POST /trips", "POST", "/trips", true),
            ("POST /trips", "GET", "/trips", false),
            ("POST /trips", "POST", "/trips/", false),
            ("* /trips/*/close", "PUT", "/trips/7/close", true),
            ("* /trips/{id}/close", "PUT", "/trips/7/8/close", false),
            ("GET /**", "GET", "/a/b/c", true),
            ("GET /", "GET", "/", true),
        ] {
            assert_eq!(
                Route::parse(route).unwrap().matches(method, path),
                expect,
                "{route} {method} {path}"
            );
        }
        for route in ["", "POST", "post /x", "POST x", "POST /a/**/b"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
    }

    #[test]
    fn routes_overlap_where_one_request_is_of_both() {
        for (one, other, expect) in [
            ("POST /trips/*", "POST /trips/{id}", true),
            ("POST /trips/7", "* /**", true),
            ("POST /*/close", "* /trips/*", true),
            ("POST /trips", "GET /trips", false),
            ("POST /trips/*", "POST /trips", false),
            ("POST /trips/*/a", "POST /trips/*/b", false),
        ] {
            let [a, b] = [one, other].map(|text| Route::parse(text).unwrap());
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (expect, expect), "{one} {other}");
        }
    }

    #[test]
    fn statuses_match_by_code_or_class() {
        assert!(StatusPattern::parse("2xx").unwrap().matches(204));
        assert!(!StatusPattern::parse("201").unwrap().matches(200));
        for text in ["", "6xx", "99", "2x", "xx"] {
            assert!(StatusPattern::parse(text).is_err(), "{text}");
        }
    }
}
