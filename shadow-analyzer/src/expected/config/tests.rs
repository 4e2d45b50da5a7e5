use std::path::Path;

use super::*;

/// Takes `[certify]` beside a file of expected changes; returns it, and the mistakes.
fn taken(text: &str) -> (Expected, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("expected.toml"), text).unwrap();
    taken_in(folder.path(), "expected_changes = \"expected.toml\"")
}

fn taken_in(folder: &Path, key: &str) -> (Expected, String) {
    let file = folder.join("shadow.toml");
    let text = format!("[certify]\n{key}\n");
    let document = Document::parse(&file, &text, |_| None).unwrap();
    let expected = take(&mut document.section("certify"));
    let said = document.finish().err().map_or_else(String::new, |error| error.to_string());
    (expected, said)
}

const CHANGE: &str = "[[change]]\nkind = \"amount_changed\"\ngl_account = \"4000\"\nsign = \"increase\"\nminimum = 1\nmaximum = \"2500.50\"\n\
    currency = \"EUR\"\nreason = \"r\"\nticket = \"FIN-1\"\nowner = \"o\"\nexpires = \"2026-12-31\"\n";

#[test]
fn a_declaration_says_what_where_how_much_why_who_and_until_when() {
    let moved = CHANGE
        .replace("kind = \"amount_changed\"\ngl_account = \"4000\"\nsign = \"increase\"", "kind = \"reclassified\"\nfrom = { line_of_business = \"a\" }\nto = { line_of_business = \"b\" }")
        .replace("minimum = 1\n", "");
    let (expected, said) = taken(&format!("{CHANGE}{moved}"));
    assert_eq!(said, "");
    assert_eq!(expected.sha256.as_ref().map(String::len), Some(64));
    let [first, second] = &expected.changes[..] else { panic!("{expected:?}") };
    let document = first.document();
    assert_eq!(
        (&*document.place(), &*document.sign, &*document.maximum),
        ("4000", "increase", "2500.50")
    );
    assert_eq!((&*second.document().place(), &*second.document().minimum), ("a → b", "0.00"));
    let in_force = |now: &str| expected.clone().at(now.parse().unwrap()).in_force().len();
    assert_eq!((in_force("2026-12-31T23:59:59Z"), in_force("2027-01-01T00:00:00Z")), (2, 0));
}

#[test]
fn no_file_declares_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(taken_in(folder.path(), ""), (Expected::default(), String::new()));
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = taken_in(folder.path(), "expected_changes = \"nowhere.toml\"");
    assert!(
        said.contains("shadow.toml:2: [certify]: cannot read") && said.contains("nowhere.toml"),
        "{said}"
    );
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let (_, said) = taken(
        "[[change]]\nkind = \"odd\"\nsign = \"up\"\nminimum = 5\nmaximum = 4\ncurrency = \"EURO\"\nexpires = \"soon\"\nextra = 1\n\
         [[change]]\nkind = \"reclassified\"\nfrom = { gl_account = \"1\" }\nto = { gl_account = \"1\" }\nsign = \"increase\"\nmaximum = 0\n\
         [[chang]]\n",
    );
    for part in [
        "expected.toml:2: [change]: `kind` `odd` is not a kind of difference: write one of reclassified, amount_changed",
        "expected.toml:3: [change]: `sign` `up` is not a sign",
        "expected.toml:1: [change]: `line_of_business` or `gl_account` is missing",
        "expected.toml:1: [change]: `maximum` must be above zero, and not below `minimum`",
        "`EURO` is not an ISO 4217 code",
        "`soon` is not a day",
        "unknown key `extra`",
        "[change]: `reason` is missing",
        "[change]: `ticket` is missing",
        "[change]: `owner` is missing",
        "`from` and `to` are the same cell",
        "unknown key `sign`",
        "unknown section [chang]",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
