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
    selects_one: bool,
    descends: bool,
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
            let query = JsonPath::parse(&format!("${segment}")).map_err(|error| wrong(&error))?;
            let inner = segment.trim_start_matches('.').trim_matches(['[', ']']);
            let quoted = inner.starts_with(['\'', '"']) && !inner.contains(',');
            let index = inner.parse::<i64>().is_ok();
            let shorthand = !segment.starts_with('[') && inner != "*";
            let descends = segment.starts_with("..");
            segments.push(Segment {
                query,
                selects_one: !descends && (quoted || index || shorthand),
                descends,
            });
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
                let may_be_empty = !segment.selects_one
                    && !segment.descends
                    && (node.is_array() || node.is_object());
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

    /// Returns the path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Cuts a valid path into its segments: `$.a[*]..b` gives `.a`, `[*]`, `..b`.
fn split(path: &str) -> Vec<&str> {
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
    }
}
