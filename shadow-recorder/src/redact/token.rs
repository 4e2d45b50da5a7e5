//! What stands for a value: a token, drawn from the value by a key. Pure.
//!
//! The same value has the same token everywhere, under another key another one, and a token is its own token. That last property
//! lets a replay redact what a candidate passes on: a token that it was given stays what it is.
//!
//! A token is recognised by a *tag*: its last characters are drawn, by the key, from those before.
//!
//! | format | token | length class | taken for a token by chance |
//! | --- | --- | --- | --- |
//! | `text` | `tok_` and lower-case letters and digits 2 to 7 | up to 16, 32, 64 or more characters: 16, 32, 64 or 128 | 1 of 2²⁰ of those with that prefix and form |
//! | `email` | such a text `@mail.invalid` (RFC 2606: no mail ever arrives) | up to 32, 64 or more: 32, 64 or 77 | likewise |
//! | `digits` | as many digits, in the same places; the first is 1, or 0 where it was 0 | the same length | see below |
//! | `luhn` | as many digits, the first as it was, a right check digit where it was right, else a wrong one | the same length | see below |
//! | `iban` | country, and places of letters and digits, as they were; check digits right or wrong as they were | the same length | see below |
//!
//! Where the form leaves no room for a mark, some values are tokens by chance and stay as they are. With half of the free places, at
//! most six, spent on the tag that is one value in a million of 16 digits, and one in ten of two. Who does not have the key cannot
//! tell them: whatever is read stands for as many values as there are tags. A short number hides little under any token; mask it.
//!
//! A value that is not of the format gets a `text` token. A JSON number stays a number of as many digits, by `luhn` where it is whole
//! and by `digits` in every other case, so that `42` and `"42"` have the same token of `digits`.

use serde::{Deserialize, Serialize};

use super::key::Key;

const PREFIX: &str = "tok_";
const DOMAIN: &str = "@mail.invalid";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &[u8] = b"0123456789";
/// Places of a tag in a form of fixed length.
const TAG_PLACES_MAX: usize = 6;

/// What a token is to look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A word.
    #[default]
    Text,
    /// Digits, and what separates them.
    Digits,
    /// An e-mail address.
    Email,
    /// Digits of which the last is a check digit by Luhn's formula: payment cards, IMEI.
    Luhn,
    /// An international bank account number (ISO 13616).
    Iban,
}

impl Key {
    /// Returns the token of a text; an empty one has nothing to hide.
    pub fn token(&self, format: Format, value: &str) -> String {
        match format {
            _ if value.is_empty() => String::new(),
            Format::Text => self.text(value),
            Format::Digits => self.digits(value).unwrap_or_else(|| self.text(value)),
            Format::Email => self.email(value).unwrap_or_else(|| self.text(value)),
            Format::Luhn => {
                let token = self.luhn(value).or_else(|| self.digits(value));
                token.unwrap_or_else(|| self.text(value))
            }
            Format::Iban => self.iban(value).unwrap_or_else(|| self.text(value)),
        }
    }

    /// Returns the token of a JSON number, which is a number: sign, point and exponent stay.
    pub fn number_token(&self, format: Format, number: &str) -> String {
        let exponent = number.find(['e', 'E']).unwrap_or(number.len());
        let (significand, exponent) = number.split_at(exponent);
        let (sign, digits) = match significand.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", significand),
        };
        let is_whole = sign.is_empty() && exponent.is_empty() && !digits.contains('.');
        let luhn = (format == Format::Luhn && is_whole).then(|| self.luhn(digits)).flatten();
        let token = luhn.or_else(|| self.digits(digits)).unwrap_or_else(|| "0".into());
        format!("{sign}{token}{exponent}")
    }

    /// Returns the token of a credential, which stands for whoever has it.
    pub fn principal(&self, credential: &[u8]) -> String {
        let credential: String = credential.iter().map(|byte| char::from(*byte)).collect();
        self.word("principal", &credential, 28)
    }

    fn text(&self, value: &str) -> String {
        if value.strip_prefix(PREFIX).is_some_and(|word| self.is_word(word, &[12, 28, 60, 124])) {
            return value.into();
        }
        let places = match value.chars().count() {
            ..=16 => 12,
            17..=32 => 28,
            33..=64 => 60,
            _ => 124,
        };
        self.word("text", value, places)
    }

    fn email(&self, value: &str) -> Option<String> {
        let (local, domain) = value.split_once('@')?;
        let is_plain = |c: char| !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
        let is_address = !local.is_empty()
            && domain.split('.').count() > 1
            && domain.split('.').all(|label| !label.is_empty())
            && value.replacen('@', "", 1).chars().all(is_plain);
        if !is_address {
            return None;
        }
        let word = value.strip_suffix(DOMAIN).and_then(|local| local.strip_prefix(PREFIX));
        if word.is_some_and(|word| self.is_word(word, &[15, 47, 60])) {
            return Some(value.into());
        }
        let places = match value.chars().count() {
            ..=32 => 15,
            33..=64 => 47,
            _ => 60,
        };
        Some(self.word("email", value, places) + DOMAIN)
    }

    /// Draws the prefix and so many characters, the last of which are the tag.
    fn word(&self, purpose: &str, value: &str, places: usize) -> String {
        let tag_places = word_tag_places(places);
        let payload = self.draw(purpose, value, same(BASE32, places - tag_places));
        let tag = self.draw("word tag", &payload, same(BASE32, tag_places));
        format!("{PREFIX}{payload}{tag}")
    }

    fn is_word(&self, word: &str, lengths: &[usize]) -> bool {
        if !lengths.contains(&word.len()) || !word.bytes().all(|byte| BASE32.contains(&byte)) {
            return false;
        }
        let (payload, tag) = word.split_at(word.len() - word_tag_places(word.len()));
        self.draw("word tag", payload, same(BASE32, tag.len())) == tag
    }

    fn digits(&self, value: &str) -> Option<String> {
        let digits = digits_of(value, " -./+()")?;
        let first = if digits.starts_with('0') { "0" } else { "1" };
        let tag_places = tag_places(digits.len() - 1);
        let payload_places = digits.len() - 1 - tag_places;
        let tag = |payload: &str| {
            self.draw("digits tag", &format!("{first}{payload}"), same(DIGITS, tag_places))
        };
        let (given, given_tag) = digits[1..].split_at(payload_places);
        if digits.starts_with(first) && tag(given) == given_tag {
            return Some(value.into());
        }
        let payload = self.draw("digits", &digits, same(DIGITS, payload_places));
        let tag = tag(&payload);
        Some(put_back(value, &format!("{first}{payload}{tag}")))
    }

    fn luhn(&self, value: &str) -> Option<String> {
        let digits = digits_of(value, " -")?;
        if digits.len() < 2 {
            return None;
        }
        let (number, check) = digits.split_at(digits.len() - 1);
        let is_right = check == luhn_check_digit(number).to_string();
        let (first, free) = number.split_at(1);
        let tag_places = tag_places(free.len());
        let payload_places = free.len() - tag_places;
        let tag = |payload: &str| {
            let data = format!("{is_right} {first}{payload}");
            self.draw("luhn tag", &data, same(DIGITS, tag_places))
        };
        let whole = |payload: &str| {
            let number = format!("{first}{payload}{}", tag(payload));
            let check = (luhn_check_digit(&number) + if is_right { 0 } else { 5 }) % 10;
            format!("{number}{check}")
        };
        if whole(&free[..payload_places]) == digits {
            return Some(value.into());
        }
        let payload = self.draw("luhn", &digits, same(DIGITS, payload_places));
        Some(put_back(value, &whole(&payload)))
    }

    fn iban(&self, value: &str) -> Option<String> {
        let places: Vec<char> = value.chars().filter(|c| *c != ' ').collect();
        let upper: String = places.iter().map(char::to_ascii_uppercase).collect();
        let is_iban = (15..=34).contains(&upper.len())
            && upper.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && upper.bytes().take(2).all(|byte| byte.is_ascii_uppercase())
            && upper.bytes().skip(2).take(2).all(|byte| byte.is_ascii_digit());
        if !is_iban {
            return None;
        }
        let (country, check, account) = (&upper[..2], &upper[2..4], &upper[4..]);
        let is_right = check == iban_check_digits(country, account, true);
        let payload_places = account.len() - tag_places(account.len());
        let (given, given_tag) = account.split_at(payload_places);
        let whole = |payload: &str| {
            let data = format!("{is_right} {country}{payload}");
            let tag = self.draw("iban tag", &data, alphabets(given_tag));
            let account = format!("{payload}{tag}");
            let check = iban_check_digits(country, &account, is_right);
            format!("{country}{check}{account}")
        };
        if whole(given) == upper {
            return Some(value.into());
        }
        let token = whole(&self.draw("iban", &upper, alphabets(given)));
        let mut drawn = token.chars();
        let place = |c: char| match c {
            ' ' => Some(' '),
            _ if c.is_ascii_lowercase() => drawn.next().map(|c| c.to_ascii_lowercase()),
            _ => drawn.next(),
        };
        Some(value.chars().filter_map(place).collect())
    }
}

fn same(alphabet: &[u8], places: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::repeat_n(alphabet, places)
}

fn alphabets(text: &str) -> impl Iterator<Item = &'static [u8]> {
    text.bytes().map(|byte| if byte.is_ascii_digit() { DIGITS } else { LETTERS })
}

fn word_tag_places(places: usize) -> usize {
    if places < 20 { 4 } else { 8 }
}

fn tag_places(free: usize) -> usize {
    (free / 2).clamp(1, TAG_PLACES_MAX).min(free)
}

/// Returns the digits of a text that has only those and separators.
fn digits_of(value: &str, separators: &str) -> Option<String> {
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let is_plain = |c: char| c.is_ascii_digit() || separators.contains(c);
    (!digits.is_empty() && value.chars().all(is_plain)).then_some(digits)
}

/// Puts as many digits into the places where a text has digits.
fn put_back(value: &str, digits: &str) -> String {
    let mut digits = digits.chars();
    value.chars().filter_map(|c| if c.is_ascii_digit() { digits.next() } else { Some(c) }).collect()
}

fn luhn_check_digit(number: &str) -> u32 {
    let weigh = |(at, byte): (usize, u8)| match (u32::from(byte - b'0'), at.is_multiple_of(2)) {
        (digit, false) => digit,
        (digit, true) => digit * 2 / 10 + digit * 2 % 10,
    };
    let sum: u32 = number.bytes().rev().enumerate().map(weigh).sum();
    (10 - sum % 10) % 10
}

/// Returns the check digits of ISO 7064, or wrong ones.
fn iban_check_digits(country: &str, account: &str, right: bool) -> String {
    let rearranged = format!("{account}{country}00");
    let remainder = rearranged.bytes().fold(0_u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    // From 2 to 98, and a wrong one likewise.
    let check = 98 - remainder;
    let wrong = if check == 98 { 3 } else { check + 1 };
    format!("{:02}", if right { check } else { wrong })
}

#[cfg(test)]
mod tests;
