//! Which differences made upstream calls miss, over a whole run: what to declare volatile. Pure, and bounded however many calls miss.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::matching::Miss;

/// Upstreams that are counted apart.
const UPSTREAMS_MAX: usize = 64;
/// Differences of an upstream that are counted apart: those that came first.
const DIFFERENCES_MAX: usize = 32;
/// Proposals of a run that are shown.
const PROPOSALS_MAX: usize = 10;

/// Counts of misses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Misses(BTreeMap<String, OfUpstream>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfUpstream {
    misses: u64,
    /// By the places that differed, and no others.
    alone: BTreeMap<String, Alone>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Alone {
    places: Vec<String>,
    count: u64,
    example: String,
}

impl Misses {
    /// Counts one.
    pub fn count(&mut self, miss: &Miss) {
        let Some(of_upstream) = entry(&mut self.0, UPSTREAMS_MAX, &miss.upstream) else { return };
        of_upstream.misses += 1;
        if miss.places.is_empty() {
            return;
        }
        let mut places: Vec<String> = miss.places.iter().map(|place| of_any_item(place)).collect();
        places.sort();
        places.dedup();
        of_upstream.add(places, 1, &miss.differs);
    }

    /// Adds the counts of another part of the run.
    pub fn add(&mut self, other: &Self) {
        for (upstream, counted) in &other.0 {
            let Some(of_upstream) = entry(&mut self.0, UPSTREAMS_MAX, upstream) else { continue };
            of_upstream.misses += counted.misses;
            for Alone { places, count, example } in counted.alone.values() {
                of_upstream.add(places.clone(), *count, example);
            }
        }
    }

    /// Returns, most frequent first, which places alone made calls miss and what to declare.
    pub fn proposals(&self) -> Vec<String> {
        let mut found: Vec<(&str, u64, &Alone)> = Vec::new();
        for (upstream, counted) in &self.0 {
            found.extend(counted.alone.values().map(|alone| (&**upstream, counted.misses, alone)));
        }
        found.sort_by_key(|(upstream, _, alone)| {
            (std::cmp::Reverse(alone.count), *upstream, &alone.places)
        });
        let proposal = |(upstream, misses, alone): (&str, u64, &Alone)| {
            let Alone { places, count, example } = alone;
            let told = format!(
                "upstream {upstream}: `{}` alone differed in {count} of {misses} misses ({example})",
                places.join("` and `")
            );
            // Only values of a JSON body can be declared.
            if places.iter().all(|place| place.starts_with('$')) {
                format!("{told}: declare `volatile = {places:?}` if it carries no meaning")
            } else {
                told
            }
        };
        found.into_iter().take(PROPOSALS_MAX).map(proposal).collect()
    }
}

impl OfUpstream {
    fn add(&mut self, places: Vec<String>, count: u64, example: &str) {
        let key = places.join(" ");
        if let Some(known) = self.alone.get_mut(&key) {
            known.count += count;
        } else if self.alone.len() < DIFFERENCES_MAX {
            self.alone.insert(key, Alone { places, count, example: example.to_owned() });
        }
    }
}

fn entry<'m>(
    map: &'m mut BTreeMap<String, OfUpstream>,
    most: usize,
    key: &str,
) -> Option<&'m mut OfUpstream> {
    if !map.contains_key(key) {
        if map.len() >= most {
            return None;
        }
        map.insert(key.to_owned(), OfUpstream::default());
    }
    map.get_mut(key)
}

/// Returns a JSONPath that selects the same in every item of a list.
fn of_any_item(place: &str) -> String {
    let mut any = String::new();
    let mut rest = place;
    while let Some((before, from)) = rest.split_once('[') {
        let digits = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        any.push_str(before);
        any.push('[');
        rest = from;
        if digits > 0 && from[digits..].starts_with(']') {
            any.push('*');
            rest = &from[digits..];
        }
    }
    any + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(upstream: &str, places: &[&str]) -> Miss {
        Miss {
            upstream: upstream.into(),
            differs: format!("{} is 1, recorded 2", places.join(" ")),
            places: places.iter().map(|place| (*place).to_owned()).collect(),
            ..Miss::default()
        }
    }

    #[test]
    fn what_alone_made_calls_miss_is_proposed_most_frequent_first() {
        let (mut one, mut two) = (Misses::default(), Misses::default());
        for _ in 0..3 {
            one.count(&miss("fx", &["$.id"]));
            two.count(&miss("fx", &["$.items[7].at", "$.items[12].at", "$.id"]));
        }
        two.count(&miss("fx", &["$.id"]));
        two.count(&miss("fx", &["query c"]));
        two.count(&miss("fx", &[]));
        let (mut sum, mut turned) = (one.clone(), two.clone());
        sum.add(&two);
        turned.add(&one);
        assert_eq!(
            sum.proposals(),
            [
                "upstream fx: `$.id` alone differed in 4 of 9 misses ($.id is 1, recorded 2): declare `volatile = [\"$.id\"]` if it carries no meaning",
                "upstream fx: `$.id` and `$.items[*].at` alone differed in 3 of 9 misses ($.items[7].at $.items[12].at $.id is 1, recorded 2): declare `volatile = [\"$.id\", \"$.items[*].at\"]` if it carries no meaning",
                "upstream fx: `query c` alone differed in 1 of 9 misses (query c is 1, recorded 2)",
            ]
        );
        assert_eq!(sum.proposals(), turned.proposals(), "whichever worker counted first");
    }

    #[test]
    fn the_counts_are_bounded() {
        let mut misses = Misses::default();
        for n in 0..1_000 {
            misses.count(&miss(&format!("u{n}"), &[]));
            misses.count(&miss("u0", &[&format!("$.k{n}")]));
        }
        assert_eq!((misses.0.len(), misses.0["u0"].alone.len()), (UPSTREAMS_MAX, DIFFERENCES_MAX));
        assert_eq!(misses.0["u0"].misses, 1_001);
        assert_eq!(misses.proposals().len(), PROPOSALS_MAX);
    }

    #[test]
    fn positions_in_lists_are_any() {
        assert_eq!(of_any_item("$.a[3].b[0]['c[1'][22]"), "$.a[*].b[*]['c[1'][*]");
        assert_eq!(of_any_item("query c"), "query c");
    }
}
