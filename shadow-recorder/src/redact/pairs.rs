//! Redacts parameters `name=value&name=value`, of a query or a form, in place.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::action::Action;

/// What stands for itself in every part of a URL, and the mask.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');

/// Redacts the parameters for which there is an action, by their decoded names.
pub(super) fn redact<'k>(text: &str, action: impl Fn(&str) -> Option<Action<'k>>) -> String {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(action) = action(&decoded(name, true)) else { return Some(pair.to_owned()) };
        let redacted = action.text(&decoded(value, true))?;
        // A parameter without a value is left as it stands.
        Some(if value.is_empty() {
            pair.to_owned()
        } else {
            format!("{name}={}", encoded(&redacted))
        })
    };
    text.split('&').filter_map(pair).collect::<Vec<_>>().join("&")
}

/// Returns what a part of a URL says.
pub(super) fn decoded(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    if plus_is_space && text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

/// Writes a text as a part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::key::Key;
    use crate::redact::token::Format;
    use proptest::prelude::*;

    fn of<'k>(name: &'static str, action: Action<'k>) -> impl Fn(&str) -> Option<Action<'k>> {
        move |given| (given == name).then_some(action)
    }

    #[test]
    fn every_parameter_of_the_name_is_redacted_in_place() {
        let text = "a=1&e+mail=x&&b=%41+%2b&e%20mail=y%40z&flag&e+mail=&e+mail";
        let masked = "a=1&e+mail=***&&b=%41+%2b&e%20mail=***&flag&e+mail=&e+mail";
        assert_eq!(redact(text, of("e mail", Action::Mask)), masked);
        assert_eq!(redact(text, of("e mail", Action::Drop)), "a=1&&b=%41+%2b&flag");
        assert_eq!(redact("x=1", of("x", Action::Drop)), "");
    }

    #[test]
    fn the_same_value_has_the_same_token_however_it_is_written() {
        let key = Key::new("a key of the tests, long enough");
        let token = Action::Token(&key, Format::Email);
        let one = redact("m=ada%40example.org", of("m", token));
        assert_eq!(one, redact("m=ada@example.org", of("m", token)));
        let expect = key.token(Format::Email, "ada@example.org").replace('@', "%40");
        assert_eq!(one, format!("m={expect}"));
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(text in "[a-z%0-9+&=@é ]{0,60}", secret in ".{1,30}") {
            let key = Key::new("a key of the tests, long enough");
            let token = Action::Token(&key, Format::Digits);
            let text = format!("{text}&s={}", encoded(&secret));
            let once = redact(&text, of("s", token));
            prop_assert_eq!(&redact(&once, of("s", token)), &once);
            prop_assert_eq!(redact(&text, |_| None), text);
        }
    }
}
