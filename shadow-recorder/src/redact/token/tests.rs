use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use regex::Regex;

use super::*;

fn key() -> Key {
    Key::new("a key of the tests, long enough")
}

fn is_iban(text: &str) -> bool {
    let text: String = text.chars().filter(|c| *c != ' ').collect();
    let number: String = text[4..]
        .chars()
        .chain(text[..4].chars())
        .map(|c| c.to_digit(36).unwrap().to_string())
        .collect();
    number.bytes().fold(0_u32, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97) == 1
}

fn is_luhn(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let double = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weigh = |(at, digit): (usize, &u32)| if at % 2 == 1 { double(*digit) } else { *digit };
    digits.iter().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

fn form(format: Format, value: &str) -> &'static str {
    let long = value.chars().count();
    match format {
        Format::Email if long <= 32 => "^tok_[a-z2-7]{15}@mail[.]invalid$",
        Format::Email if long <= 64 => "^tok_[a-z2-7]{47}@mail[.]invalid$",
        Format::Email => "^tok_[a-z2-7]{60}@mail[.]invalid$",
        _ if long <= 16 => "^tok_[a-z2-7]{12}$",
        _ if long <= 32 => "^tok_[a-z2-7]{28}$",
        _ if long <= 64 => "^tok_[a-z2-7]{60}$",
        _ => "^tok_[a-z2-7]{124}$",
    }
}

#[test]
fn tokens_of_real_values_have_their_form() {
    let card = key().token(Format::Luhn, "4111 1111 1111 1111");
    assert!(Regex::new(r"^4\d{3}( \d{4}){3}$").unwrap().is_match(&card), "{card}");
    assert!(is_luhn(&card) && card != "4111 1111 1111 1111", "{card}");
    let mistyped = key().token(Format::Luhn, "4111111111111112");
    assert!(!is_luhn(&mistyped), "a wrong check digit stays wrong: {mistyped}");
    for iban in ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "no9386011117947"] {
        let token = key().token(Format::Iban, iban);
        assert!(is_iban(&token) && token[..2] == iban[..2] && token != iban, "{token}");
        let class = |c: char| (c.is_ascii_digit(), c.is_ascii_lowercase(), c == ' ');
        assert!(token.chars().map(class).eq(iban.chars().map(class)), "{token}");
    }
    let wrong = key().token(Format::Iban, "DE88370400440532013000");
    assert!(!is_iban(&wrong) && wrong.starts_with("DE"), "{wrong}");
    let phone = key().token(Format::Digits, "+49 (170) 1234-567");
    assert!(Regex::new(r"^\+1\d \(\d{3}\) \d{4}-\d{3}$").unwrap().is_match(&phone), "{phone}");
    assert!(key().token(Format::Digits, "007").starts_with('0'));
    assert_eq!(key().token(Format::Text, ""), "");
}

#[test]
fn what_is_not_of_the_format_is_a_word() {
    for (format, value) in [
        (Format::Digits, "room 17"),
        (Format::Luhn, "4111-1111-1111-111x"),
        (Format::Email, "Ada <ada@example.org>"),
        (Format::Email, "ada@localhost"),
        (Format::Iban, "DE8937040044"),
        (Format::Iban, "none"),
    ] {
        let token = key().token(format, value);
        assert_eq!(token, key().token(Format::Text, value), "{format:?} {value}");
    }
}

#[test]
fn a_number_and_its_text_have_the_same_token() {
    for number in ["42", "1234567890", "0"] {
        let text = key().token(Format::Digits, number);
        assert_eq!(key().number_token(Format::Digits, number), text);
        assert_eq!(key().number_token(Format::Text, number), text);
    }
    let card = "4111111111111111";
    assert_eq!(key().number_token(Format::Luhn, card), key().token(Format::Luhn, card));
}

#[test]
fn the_fingerprint_tells_keys_apart_and_is_all_that_is_shown() {
    let (one, other) = (Key::new("one"), Key::new("other"));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_eq!(format!("{one:?}"), format!("Key({})", one.fingerprint()));
    assert_eq!(one.fingerprint().len(), 16);
    assert_ne!(one.principal(b"Bearer x"), other.principal(b"Bearer x"));
    assert_eq!(one.token(Format::Text, &one.principal(b"Bearer x")), one.principal(b"Bearer x"));
}

/// Values that are left as they are by chance would make these tests fail by chance; the key is fixed, and so are they.
#[test]
fn few_values_are_their_own_tokens() {
    let own = |values: &mut dyn Iterator<Item = u64>| {
        values.filter(|n| key().token(Format::Digits, &n.to_string()) == n.to_string()).count()
    };
    let short = own(&mut (1_000..10_000));
    assert!((60..140).contains(&short), "about one of a hundred with four digits: {short}");
    let long = own(&mut (4_000_000_000_000_000..4_000_000_000_020_000));
    assert_eq!(long, 0);
}

fn formats() -> impl Strategy<Value = Format> {
    use Format::{Digits, Email, Iban, Luhn, Text};
    prop::sample::select(vec![Text, Digits, Email, Luhn, Iban])
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{1,80}",
        "[0-9]{1,25}",
        r"\+[0-9]{2} \([0-9]{3}\) [0-9/.-]{1,12}",
        "[a-zé.+]{1,60}@[a-z]{1,20}\\.[a-z]{2,6}",
        "[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Za-z0-9]{7,26}",
        "(tok_)?[a-z2-7]{12}(@mail.invalid)?",
    ]
}

// Of millions of values one is its own token: always the same are tried.
proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_token_is_its_own_token(format in formats(), value in values()) {
        let token = key().token(format, &value);
        prop_assert_eq!(key().token(format, &token), token);
    }

    #[test]
    fn a_word_has_the_form_of_its_length_class(value in ".{1,200}") {
        let token = key().token(Format::Text, &value);
        prop_assert!(Regex::new(form(Format::Text, &value)).unwrap().is_match(&token), "{}", token);
        prop_assert_eq!(form(Format::Text, &token), form(Format::Text, &value));
        prop_assert_ne!(token, value);
    }

    #[test]
    fn an_address_stays_an_address(value in "[a-z.]{1,60}@[a-z]{1,30}(\\.[a-z]{2,6}){1,2}") {
        let token = key().token(Format::Email, &value);
        prop_assert!(Regex::new(form(Format::Email, &value)).unwrap().is_match(&token), "{}", token);
        prop_assert_eq!(form(Format::Email, &token), form(Format::Email, &value));
    }

    #[test]
    fn digits_stay_as_many_digits(value in "[0-9]{12,25}") {
        let token = key().token(Format::Digits, &value);
        prop_assert_eq!(token.len(), value.len());
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_digit()));
        prop_assert_eq!(token.starts_with('0'), value.starts_with('0'));
        prop_assert_ne!(&token, &value);
        prop_assert_ne!(token, Key::new("another").token(Format::Digits, &value));
    }

    #[test]
    fn a_check_digit_stays_right_or_wrong(value in "[0-9]{13,19}") {
        let token = key().token(Format::Luhn, &value);
        prop_assert_eq!(token.len(), value.len());
        prop_assert_eq!(is_luhn(&token), is_luhn(&value));
        prop_assert_ne!(&token, &value);
        prop_assert_ne!(token, Key::new("another").token(Format::Luhn, &value));
    }

    #[test]
    fn check_digits_of_an_account_stay_right_or_wrong(account in "[A-Z]{4}[0-9]{8,26}", right: bool) {
        let value = format!("GB{}{account}", iban_check_digits("GB", &account, right));
        prop_assert_eq!(is_iban(&value), right);
        let token = key().token(Format::Iban, &value);
        prop_assert_eq!((token.len(), is_iban(&token)), (value.len(), right));
        prop_assert_ne!(&token, &value);
        prop_assert_ne!(token, Key::new("another").token(Format::Iban, &value));
    }

    #[test]
    fn a_number_stays_a_number(
        format in formats(),
        number in "-?(0|[1-9][0-9]{0,18})([.][0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
    ) {
        let token = key().number_token(format, &number);
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        prop_assert_eq!(shape(&token), shape(&number));
        prop_assert!(serde_json::from_str::<serde_json::Number>(&token).is_ok(), "{}", token);
        prop_assert_eq!(key().number_token(format, &token), token);
    }
}
