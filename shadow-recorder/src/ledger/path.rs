//! A JSONPath (RFC 9535) that tells *absent* from *empty*.
//!
//! RFC 9535 answers both with no nodes, but a renamed field must not read as "nothing was booked". So a path is taken
//! segment by segment: a name or index that is missing is absent; a wildcard, slice or filter over an array that is there
//! may select nothing.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A parsed path.
#[derive(Clone, Debug)]
pub struct Path {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
struct Segment {
    query: JsonPath,
    kind: Kind,
}

/// What a segment that selects nothing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A name or an index: it is absent.
    One,
    /// A wildcard or filter: an array or object that is there may be empty.
    Members,
    /// A slice: an array that is there may be empty.
    Slice,
    /// A descendant: it is absent.
    Descendants,
}

/// The path is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name or index that does not exist, or a wildcard over something that is no array or object.
    #[error("`{0}` is absent")]
    Absent(String),
    /// A field's path that selects several values.
    #[error("`{0}` selects {1} values, a field has one")]
    Several(String, usize),
}

impl Path {
    /// Parses a path; the error is a sentence about it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| {
            format!("`{text}` is not a JSONPath (RFC 9535): {error}")
        };
        JsonPath::parse(text).map_err(|error| wrong(&error))?;
        let mut segments = Vec::new();
        for segment in split(text) {
            if outside_quotes(segment).any(|c| c == '$') {
                return Err(format!(
                    "`{text}` looks at `$` within a filter, which is not supported: compare with a constant"
                ));
            }
            let query = JsonPath::parse(&format!("${segment}")).map_err(|error| wrong(&error))?;
            let kind = kind(segment).ok_or_else(|| {
                format!("`{text}` selects several names or indexes at once: an absent one could not be told")
            })?;
            segments.push(Segment { query, kind });
        }
        Ok(Self { text: text.into(), segments })
    }

    /// Returns every node, or that the path is absent.
    pub fn all<'v>(&self, root: &'v Value) -> Result<Vec<&'v Value>, PathError> {
        let absent = || PathError::Absent(self.text.clone());
        let mut nodes = vec![root];
        for segment in &self.segments {
            let mut next = Vec::new();
            for node in nodes {
                let found = segment.query.query(node).all();
                let may_be_empty = match segment.kind {
                    Kind::One | Kind::Descendants => false,
                    Kind::Members => node.is_array() || node.is_object(),
                    Kind::Slice => node.is_array(),
                };
                if found.is_empty() && !may_be_empty {
                    return Err(absent());
                }
                next.extend(found);
            }
            nodes = next;
        }
        Ok(nodes)
    }

    /// Returns the one node that a field has.
    pub fn one<'v>(&self, root: &'v Value) -> Result<&'v Value, PathError> {
        match *self.all(root)? {
            [node] => Ok(node),
            [] => Err(PathError::Absent(self.text.clone())),
            ref several => Err(PathError::Several(self.text.clone(), several.len())),
        }
    }

    /// Returns the path's segments as written, such as `.a`, `[*]` and `..b`.
    pub fn parts(&self) -> Vec<&str> {
        split(&self.text)
    }

    /// Returns the path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns what a segment selects; `None` for a union of names and indexes.
fn kind(segment: &str) -> Option<Kind> {
    if segment.starts_with("..") {
        return Some(Kind::Descendants);
    }
    let Some(inner) = segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return Some(if segment == ".*" { Kind::Members } else { Kind::One });
    };
    let inner = inner.trim();
    if inner == "*" || inner.starts_with('?') {
        return Some(Kind::Members);
    }
    if outside_quotes(inner).any(|c| c == ',') {
        return None;
    }
    Some(if outside_quotes(inner).any(|c| c == ':') { Kind::Slice } else { Kind::One })
}

/// Returns the characters of a valid path that are not in a quoted text.
fn outside_quotes(text: &str) -> impl Iterator<Item = char> {
    let (mut quote, mut escaped) = (None, false);
    text.chars().filter(move |&c| match quote {
        Some(_) if escaped => {
            escaped = false;
            false
        }
        Some(open) => {
            escaped = c == '\\';
            if c == open {
                quote = None;
            }
            false
        }
        None => {
            if c == '\'' || c == '"' {
                quote = Some(c);
            }
            true
        }
    })
}

/// Cuts a valid path into its segments: `$.a[*]..b` gives `.a`, `[*]`, `..b`.
pub(crate) fn split(path: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    let (mut depth, mut quote, mut escaped) = (0_u32, None, false);
    let bytes = path.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if let Some(open) = quote {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                _ if byte == open => quote = None,
                _ => {}
            }
            continue;
        }
        let after_dots = at > 0 && bytes[at - 1] == b'.' && starts.last() != Some(&at);
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'[' => {
                if depth == 0 && !after_dots {
                    starts.push(at);
                }
                depth += 1;
            }
            b']' => depth -= 1,
            b'.' if depth == 0 && !after_dots => starts.push(at),
            _ => {}
        }
    }
    let ends = starts.iter().skip(1).copied().chain([path.len()]);
    starts.iter().zip(ends).map(|(&start, end)| path[start..end].trim()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_at_the_top_level_only() {
        for (path, expect) in [
            ("$", vec![]),
            ("$.a.b", vec![".a", ".b"]),
            ("$[*].x[0]", vec!["[*]", ".x", "[0]"]),
            ("$..b[?@.c == 'x.y[']['k.l']", vec!["..b", "[?@.c == 'x.y[']", "['k.l']"]),
            ("$..[0].a", vec!["..[0]", ".a"]),
        ] {
            assert_eq!(split(path), expect, "{path}");
        }
    }

    fn check(path: &str, document: &str, expect: Result<usize, ()>) {
        let document = serde_json::from_str(document).unwrap();
        let path = Path::parse(path).unwrap();
        assert_eq!(
            path.all(&document).map(|nodes| nodes.len()).map_err(|_| ()),
            expect,
            "{} in {document}",
            path.as_str()
        );
    }

    #[test]
    fn absent_is_not_empty() {
        check("$.t[*]", r#"{"t":[]}"#, Ok(0));
        check("$.t[*]", r#"{"t":[1,2]}"#, Ok(2));
        check("$.t[*]", r#"{"u":[]}"#, Err(()));
        check("$.t[*]", r#"{"t":null}"#, Err(()));
        check("$.t[?@.x == 1]", r#"{"t":[{"x":2}]}"#, Ok(0));
        check("$.t[*].lines[*]", r#"{"t":[]}"#, Ok(0));
        check("$.t[*].lines[*]", r#"{"t":[{"lines":[1]},{"rows":[1]}]}"#, Err(()));
        check("$..lines[*]", r#"{"t":[{"lines":[1]},{"lines":[2,3]}]}"#, Ok(3));
        check("$..lines[*]", r#"{"t":[]}"#, Err(()));
        check("$['t'][0]", r#"{"t":[]}"#, Err(()));
        check("$[ 'a,b' ][*]", r#"{"a,b":[1]}"#, Ok(1));
        check("$[ 'a,b' ][*]", r#"{"c":[1]}"#, Err(()));
        check("$.t[1:]", r#"{"t":[1]}"#, Ok(0));
        check("$.t[1:]", r#"{"t":{"x":1}}"#, Err(()));
    }

    #[test]
    fn what_could_not_tell_absent_from_empty_is_refused() {
        for path in ["$['debits','credits'][*]", "$.t[0,1]", "$.t[?@.account != $.suspense]"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
        assert!(Path::parse("$.t[?@.name == '$']").is_ok());
        assert!(Path::parse("$.t[?@.a == 1 || @.b == 2]").is_ok());
    }
}
