//! Redacts the fields of a `multipart/form-data` text (RFC 7578), in place.
//!
//! What every reader would not take apart in the same way is not looked into: a part without a name, folded fields, no end.

use std::borrow::Cow;
use std::ops::Range;

use super::Unredactable;
use super::action::Action;
use super::pairs::decoded;
use super::spans::{self, Edit};

/// What is asked of a part.
pub(super) struct Asked<'t> {
    /// Its field's name, as it stands and decoded from both escapes in use.
    pub(super) names: [Cow<'t, str>; 3],
    pub(super) is_json: bool,
    pub(super) content: &'t str,
}

/// What is done to a part.
pub(super) enum Done<'k> {
    Kept,
    Field(Action<'k>),
    Content(String),
}

struct Part<'t> {
    /// From its delimiter to the next one.
    whole: Range<usize>,
    content: Range<usize>,
    name: &'t str,
    /// The values of parameters that name a file.
    files: Vec<Range<usize>>,
    is_json: bool,
}

/// Redacts the parts.
pub(super) fn redact<'k>(
    text: &str,
    content_type: &str,
    mut ask: impl FnMut(&Asked<'_>) -> Result<Done<'k>, Unredactable>,
) -> Result<String, Unredactable> {
    let boundary = boundary(content_type).ok_or(Unredactable)?;
    let mut edits = Vec::new();
    for part in parts(text, &boundary).ok_or(Unredactable)? {
        let content = &text[part.content.clone()];
        let unescaped = unescaped(part.name);
        let percent = Cow::Owned(decoded(&unescaped, false).into_owned());
        let names = [Cow::Borrowed(part.name), unescaped, percent];
        match ask(&Asked { names, is_json: part.is_json, content })? {
            Done::Kept => {}
            Done::Content(with) => edits.push(Edit { span: part.content, text: with }),
            Done::Field(Action::Drop) => {
                edits.push(Edit { span: part.whole, text: String::new() });
            }
            Done::Field(action) => {
                for span in part.files.into_iter().chain([part.content]) {
                    let with = action.text(&text[span.clone()]).unwrap_or_default();
                    edits.push(Edit { span, text: with.into_owned() });
                }
            }
        }
    }
    Ok(spans::apply(text, edits))
}

fn boundary(content_type: &str) -> Option<String> {
    let (_, parameters) = content_type.split_once(';')?;
    let found = params(parameters, 0)?;
    let (_, value) = found.into_iter().find(|(name, _)| name == "boundary")?;
    let boundary = &parameters[value];
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// Takes a body apart; `None` where it is not whole.
fn parts<'t>(text: &'t str, boundary: &str) -> Option<Vec<Part<'t>>> {
    let delimiter = format!("--{boundary}");
    let mut marks = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(&delimiter) {
        let start = at + found;
        let after = start + delimiter.len();
        let begins_line = start == 0 || text.as_bytes()[start - 1] == b'\n';
        let rest = &text[after..];
        let line = rest.split('\n').next().unwrap_or_default();
        let is_last = line.starts_with("--");
        if begins_line && (is_last || rest.len() > line.len() && line.trim().is_empty()) {
            marks.push((start, after + line.len() + 1, is_last));
        }
        at = after;
    }
    let is_whole = marks.iter().position(|(.., is_last)| *is_last)? + 1 == marks.len();
    // What stands before the first delimiter or behind the last belongs to no field.
    let (first, last) = (marks.first()?, marks.last()?);
    if !is_whole || first.0 > 0 || !text.get(last.1..).unwrap_or_default().trim().is_empty() {
        return None;
    }
    marks.windows(2).map(|pair| part(text, pair[0].0, pair[0].1, pair[1].0)).collect()
}

fn part(text: &str, start: usize, head: usize, end: usize) -> Option<Part<'_>> {
    // The line break before a delimiter belongs to the delimiter.
    let inner = text.get(head..end)?;
    let inner = inner.strip_suffix('\n').map_or(inner, |s| s.strip_suffix('\r').unwrap_or(s));
    let (mut name, mut files, mut is_json) = (None, Vec::new(), false);
    let mut at = head;
    let mut lines = inner.split_inclusive('\n');
    loop {
        let line = lines.next()?;
        let field = line.trim_end_matches(['\r', '\n']);
        let (line_start, line_end) = (at, at + line.len());
        at = line_end;
        if field.is_empty() {
            break;
        }
        let (key, value) = field.split_once(':')?;
        if key.starts_with([' ', '\t']) {
            return None;
        }
        if key.eq_ignore_ascii_case("content-type") {
            is_json = super::is_json(value);
        }
        if key.eq_ignore_ascii_case("content-disposition") {
            let offset = line_start + key.len() + 1;
            let (kind, parameters) = value.split_once(';')?;
            for (key, span) in params(parameters, offset + kind.len() + 1)? {
                match &*key {
                    "name" if name.replace(&text[span.clone()]).is_some() => return None,
                    "name" => {}
                    _ => files.push(span),
                }
            }
        }
    }
    let content = at..head + inner.len();
    Some(Part { whole: start..end, content, name: name?, files, is_json })
}

/// Returns the parameters of a field with the places of their values, without quotes.
fn params(text: &str, offset: usize) -> Option<Vec<(String, Range<usize>)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Some((key, _)) = text[at..].split_once('=') else {
            return text[at..].trim_matches([' ', '\t', ';']).is_empty().then_some(found);
        };
        let start = at + key.len() + 1;
        let key = key.trim_matches([' ', '\t', ';']).to_ascii_lowercase();
        let end = if text[start..].starts_with('"') {
            let end = closing_quote(&text[start + 1..])? + start + 1;
            found.push((key, offset + start + 1..offset + end));
            end + 1
        } else {
            let end = text[start..].find(';').map_or(text.len(), |end| start + end);
            let value = text[start..end].trim_end();
            found.push((key, offset + start..offset + start + value.len()));
            end
        };
        at = end;
    }
    Some(found)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut escaped = false;
    let keep = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    Cow::Owned(text.chars().filter(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=\"b 1\"";

    fn body(parts: &[(&str, &str)]) -> String {
        let part = |(head, content): &(&str, &str)| format!("--b 1\r\n{head}\r\n\r\n{content}\r\n");
        parts.iter().map(part).collect::<String>() + "--b 1--\r\n"
    }

    fn field(name: &str, action: Action<'static>) -> impl Fn(&str) -> Result<String, Unredactable> {
        move |text| {
            redact(text, TYPE, |asked| {
                let is_meant = asked.names.iter().any(|given| given == name);
                Ok(if is_meant { Done::Field(action) } else { Done::Kept })
            })
        }
    }

    #[test]
    fn the_content_of_a_field_is_replaced_and_the_name_of_its_file() {
        let disposition = "Content-Disposition: form-data; name=\"a \\\"b\"; filename=\"ada.txt\"";
        let other = ("content-disposition:form-data;name=c", "--b 2\r\n--b 1x\n");
        let text = body(&[(disposition, "secret\r\nlines"), other, (disposition, "")]);
        let masked = disposition.replace("ada.txt", "***");
        let expect = body(&[(&masked, "***"), other, (&masked, "")]);
        assert_eq!(field("a \"b", Action::Mask)(&text).unwrap(), expect);
        assert_eq!(field("a \"b", Action::Drop)(&text).unwrap(), body(&[other]));
        assert_eq!(field("d", Action::Mask)(&text).unwrap(), text);
        let percent = body(&[("Content-Disposition: form-data; name=\"%C3%A9\"", "x")]);
        assert_eq!(
            field("é", Action::Mask)(&percent).unwrap(),
            percent.replace("\r\nx", "\r\n***")
        );
    }

    #[test]
    fn what_is_not_whole_cannot_be_looked_into() {
        let sound = body(&[("Content-Disposition: form-data; name=a", "secret")]);
        for (text, what) in [
            (sound.replace("--b 1--", ""), "no end"),
            (format!("preamble\r\n{sound}"), "a text before"),
            (format!("{sound}secret"), "a text behind"),
            (sound.replace("; name=a", ""), "no name"),
            (sound.replace("; name=a", "; name=a; name=b"), "two names"),
            (sound.replace("; name=a", ";\r\n name=a"), "a folded field"),
            (sound.replace("name=a", "name=\"a"), "an open quote"),
            (sound.replace("\r\n\r\n", "\r\n"), "no content"),
            (sound.replace("b 1", "c"), "another boundary"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(field("a", Action::Mask)(&text), Err(Unredactable), "{what}");
        }
        assert!(field("a", Action::Mask)(&sound).unwrap().contains("***"));
        assert_eq!(redact(&sound, "multipart/form-data", |_| Ok(Done::Kept)), Err(Unredactable));
    }

    proptest! {
        #[test]
        fn other_fields_stay_byte_for_byte(before in "[^-]{0,30}", secret in "[a-z]{1,30}", after in "[^-]{0,30}") {
            let head = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
            let [x, s, z] = ["x", "s", "z"].map(head);
            let made = |secret: &str| body(&[(&x, &before), (&s, secret), (&z, &after)]);
            prop_assert_eq!(field("s", Action::Mask)(&made(&secret)).unwrap(), made("***"));
        }
    }
}
