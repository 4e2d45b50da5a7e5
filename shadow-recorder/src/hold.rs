//! FORMAT: a legal hold, which keeps a time range of a service's captures from expiring.
//!
//! ```text
//! holds/<service>/<name>.json
//! ```
//!
//! A hold that is released stays, with who released it and when: the trail outlives what it kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError, is_key};

/// The name in a hold.
pub const FORMAT: &str = "shadow-hold";
/// The version of the format.
pub const VERSION: u32 = 1;

/// A legal hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Its name, for example the matter's.
    pub name: String,
    /// The first instant that is held.
    pub from: Timestamp,
    /// The instant after the last.
    pub to: Timestamp,
    /// Why.
    pub reason: String,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed_at: Timestamp,
    /// Who released it, and when; absent while it holds.
    pub released: Option<Release>,
}

/// The end of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why a hold could not be placed, read or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The name cannot be one.
    #[error("`{0}` is not a name of a hold: write letters, digits and ._=-")]
    Name(String),
    /// The range is empty.
    #[error("the range is empty: --from {from} is not before --to {to}")]
    Range {
        /// The first instant.
        from: Timestamp,
        /// The instant after the last.
        to: Timestamp,
    },
    /// A hold of this name was placed before.
    #[error("there is a hold {0} already: give this one another name")]
    Taken(String),
    /// There is no such hold.
    #[error("there is no hold {0}")]
    Missing(String),
    /// It was released before.
    #[error("the hold {name} was released by {by} at {at}")]
    Released {
        /// Its name.
        name: String,
        /// Who released it.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What lies there is no hold that this version reads.
    #[error(
        "the hold {key} cannot be read, so that nothing can be known to be free of holds: {what}"
    )]
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HoldError {
    /// Returns whether the person who asked can mend it.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Unreadable { .. })
    }
}

impl Hold {
    /// Returns whether it keeps what lies between two instants, both included.
    pub fn keeps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.released.is_none() && first < self.to && last >= self.from
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a hold is texts and times")
    }
}

fn key(service: &str, name: &str) -> Result<String, HoldError> {
    if is_key(name) && !name.contains('/') {
        Ok(format!("holds/{service}/{name}.json"))
    } else {
        Err(HoldError::Name(name.into()))
    }
}

/// Places a hold.
pub async fn place(store: &Store, service: &str, hold: &Hold) -> Result<(), HoldError> {
    let (from, to) = (hold.from, hold.to);
    if from >= to {
        return Err(HoldError::Range { from, to });
    }
    match store.create(&key(service, &hold.name)?, hold.to_json()).await {
        Err(StoreError::Conflict { .. }) => Err(HoldError::Taken(hold.name.clone())),
        placed => Ok(placed?),
    }
}

/// Releases a hold.
pub async fn release(
    store: &Store,
    service: &str,
    name: &str,
    release: Release,
) -> Result<(), HoldError> {
    let key = key(service, name)?;
    let mut hold = match store.get(&key).await {
        Err(error) if error.is_missing() => return Err(HoldError::Missing(name.into())),
        bytes => read(&key, &bytes?)?,
    };
    if let Some(Release { by, at }) = hold.released {
        return Err(HoldError::Released { name: name.into(), by, at });
    }
    hold.released = Some(release);
    Ok(store.put(&key, hold.to_json()).await?)
}

/// Reads every hold of a service, released ones included. One that cannot be read is an error: it may hold anything.
pub async fn all(store: &Store, service: &str) -> Result<Vec<Hold>, HoldError> {
    let mut holds = Vec::new();
    for key in store.list(&format!("holds/{service}/")).await? {
        holds.push(read(&key, &store.get(&key).await?)?);
    }
    Ok(holds)
}

fn read(key: &str, bytes: &[u8]) -> Result<Hold, HoldError> {
    let unreadable = |what: String| HoldError::Unreadable { key: key.into(), what };
    let hold: Hold =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if hold.format != FORMAT || hold.version > VERSION {
        return Err(unreadable(format!("it is of format {} {}", hold.format, hold.version)));
    }
    Ok(hold)
}
