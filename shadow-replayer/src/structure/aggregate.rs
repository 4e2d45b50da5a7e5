//! Structural differences of many exchanges, counted by where they are. Its memory is bounded by paths, not by exchanges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Change, Difference, FURTHER_PATHS, PATHS_MAX, Place};

/// Examples kept of one place.
const EXAMPLES_MAX: usize = 3;

/// Where exchanges differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Where {
    /// The route.
    pub route: String,
    /// The part of the answer.
    pub place: Place,
    /// The body's path or the field's name.
    pub path: String,
    /// How they differ.
    pub change: Change,
}

/// How many do, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Exchanges that differ there; under [`FURTHER_PATHS`] the paths of all of them together.
    pub exchanges: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One exchange that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The exchange.
    pub exchange_id: String,
    /// Production's value, shortened; absent where it has none.
    pub primary: Option<String>,
    /// The candidate's.
    pub shadow: Option<String>,
}

/// The differences of a shard.
#[derive(Clone, Debug, Default)]
pub struct Aggregate {
    found: BTreeMap<Where, Found>,
    paths: BTreeMap<String, usize>,
}

impl Aggregate {
    /// Adds what was found in one exchange; of one route at most [`PATHS_MAX`] paths are told apart.
    pub fn add(&mut self, route: &str, exchange_id: &str, differences: &[Difference]) {
        for difference in differences {
            let Difference { place, change, primary, shadow, .. } = difference.clone();
            let mut at =
                Where { route: route.to_owned(), place, path: difference.path.clone(), change };
            if !self.found.contains_key(&at) {
                let paths = self.paths.entry(at.route.clone()).or_default();
                if *paths >= PATHS_MAX {
                    FURTHER_PATHS.clone_into(&mut at.path);
                } else {
                    *paths += 1;
                }
            }
            let found = self.found.entry(at).or_default();
            found.exchanges += 1;
            if found.examples.len() < EXAMPLES_MAX {
                let exchange_id = exchange_id.to_owned();
                found.examples.push(Example { exchange_id, primary, shadow });
            }
        }
    }

    /// Returns what was found, in order.
    pub fn found(&self) -> impl Iterator<Item = (&Where, &Found)> {
        self.found.iter()
    }
}
