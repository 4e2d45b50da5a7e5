//! Names that an object of a JSON text has more than once. `serde_json` keeps the last one silently, other readers the first: within what
//! the mapping reads neither may be taken for money. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Extract, Field, Path};

/// Returns the place of a name that is there more than once in what an extract reads of a text, or on the way to it; `document` is what
/// was parsed of the text.
pub(super) fn within(text: &str, document: &Value, extract: &Extract) -> Option<String> {
    // Every member has one colon outside texts, so that few documents are looked at twice.
    if colons(text) == members(document) {
        return None;
    }
    let stems = stems(extract);
    let is_read = |place: &&Vec<Step>| stems.iter().any(|stem| meets(place, stem));
    repeated(text).iter().find(is_read).map(|place| written(place))
}

fn colons(text: &str) -> usize {
    let (mut in_text, mut escaped, mut colons) = (false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => colons += 1,
            _ => {}
        }
    }
    colons
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

/// One step from a value to a value within it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Item(usize),
}

fn written(place: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Name(name) => format!(".{name}"),
        Step::Item(at) => format!("[{at}]"),
    };
    std::iter::once("$".to_owned()).chain(place.iter().map(step)).collect()
}

/// Returns the names that lead to each value that is read, up to the first wildcard, index or filter: everything below is taken as read.
fn stems(extract: &Extract) -> BTreeSet<Vec<String>> {
    let fields = extract.money_fields().into_iter().map(|(_, field)| field);
    let stem = |field: &Field| {
        let Field::Read { from, path, .. } = field else { return None };
        let paths: Vec<&Path> = extract.above(*from).into_iter().chain([path]).collect();
        let names = paths.into_iter().flat_map(Path::parts).map_while(name);
        Some(names.map(str::to_owned).collect())
    };
    let entries = extract.transactions.parts().into_iter().chain(extract.entries.parts());
    let entries = entries.map_while(name).map(str::to_owned).collect();
    fields.chain(extract.fields.values()).filter_map(stem).chain([entries]).collect()
}

/// Returns the name that a segment of a path selects, where it is a plain one.
fn name(segment: &str) -> Option<&str> {
    if let Some(name) = segment.strip_prefix('.') {
        return (!name.starts_with('.') && name != "*").then_some(name);
    }
    let quoted = segment.strip_prefix('[')?.strip_suffix(']')?.trim();
    let quote = quoted.chars().next().filter(|c| "'\"".contains(*c))?;
    let name = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    (!name.contains(['\\', quote])).then_some(name)
}

/// Returns whether a place lies on a stem or below it.
fn meets(place: &[Step], stem: &[String]) -> bool {
    let is_step = |(step, name): (&Step, &String)| matches!(step, Step::Name(own) if own == name);
    place.iter().zip(stem).all(is_step)
}

/// Returns the places of all names that are there more than once, of a text that is known to be JSON.
fn repeated(text: &str) -> Vec<Vec<Step>> {
    let (mut place, mut found) = (Vec::new(), Vec::new());
    let seed = Values { place: &mut place, found: &mut found };
    // One is there: where it cannot be found it may be anywhere.
    if seed.deserialize(&mut serde_json::Deserializer::from_str(text)).is_err() {
        found.push(Vec::new());
    }
    found
}

/// Looks at every value below a place. A number with decimals comes as an object of one member, which does no harm.
struct Values<'w> {
    place: &'w mut Vec<Step>,
    found: &'w mut Vec<Vec<Step>>,
}

impl Values<'_> {
    fn below(&mut self) -> Values<'_> {
        Values { place: self.place, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        for at in 0.. {
            self.place.push(Step::Item(at));
            let item = items.next_element_seed(self.below())?;
            self.place.pop();
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.place.push(Step::Name(name.clone()));
            if !names.insert(name) {
                self.found.push(self.place.clone());
            }
            members.next_value_seed(self.below())?;
            self.place.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_there_twice_are_found_at_any_depth() {
        let text = r#"{"a":1.50,"n":-1,"b":[{"c":null,"d":{"e":true,"e":[1]}},2],"a":{"x:y\":":2},"\u0061":"\":"}"#;
        let document = serde_json::from_str(text).unwrap();
        assert_eq!(colons(text) - members(&document), 4);
        let found: Vec<String> = repeated(text).iter().map(|place| written(place)).collect();
        assert_eq!(found, ["$.b[0].d.e", "$.a", "$.a"]);
    }

    #[test]
    fn a_place_meets_what_is_above_and_below_it() {
        let place = |names: &[&str]| -> Vec<Step> {
            names.iter().map(|name| Step::Name((*name).into())).collect()
        };
        let stem = ["t".to_owned(), "e".to_owned()];
        for (names, expect) in [
            (&["t"][..], true),
            (&["t", "e"], true),
            (&["t", "e", "x"], true),
            (&["x"], false),
            (&["t", "x"], false),
        ] {
            assert_eq!(meets(&place(names), &stem), expect, "{names:?}");
        }
        for (segment, expect) in [
            (".a", Some("a")),
            ("['a b']", Some("a b")),
            ("[*]", None),
            ("[0]", None),
            ("..a", None),
            (".*", None),
            ("['a','b']", None),
        ] {
            assert_eq!(name(segment), expect, "{segment}");
        }
    }
}
