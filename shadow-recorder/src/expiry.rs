//! Expiry: which captures are old enough to go, and in which order they go.
//!
//! The manifest goes first and is gone for good before its segment goes: whatever happens in between, a segment without a manifest does
//! not exist, and the next expiry removes it. What a hold keeps stays whole. What cannot be judged stays.

use jiff::Timestamp;

use crate::catalog::{self, Entry, Range};
use crate::hold::{self, Hold, HoldError};
use crate::manifest::Manifest;
use crate::store::{Store, StoreError};

/// What becomes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is too young.
    Stays,
    /// It is old enough and held, by the hold of this name.
    Held(String),
    /// It is old enough.
    Goes,
    /// Its manifest cannot be read.
    Unknown(String),
}

/// What was found, and what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Segments that went, or would go.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their exchanges.
    pub exchanges: u64,
    /// Those of them that no manifest committed.
    pub uncommitted: u64,
    /// Segments that are old enough and held.
    pub held: u64,
    /// What cannot be judged.
    pub unknown: Vec<String>,
}

/// Why an expiry ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryError {
    /// The holds cannot be read.
    #[error("nothing expires while the holds cannot be read")]
    Holds(#[from] HoldError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges a segment. `covers` is the time that it accounts for, both ends included.
pub fn fate(covers: (Timestamp, Timestamp), before: Timestamp, holds: &[Hold]) -> Fate {
    let (first, last) = covers;
    if last >= before {
        return Fate::Stays;
    }
    match holds.iter().find(|hold| hold.keeps(first, last)) {
        Some(hold) => Fate::Held(hold.name.clone()),
        None => Fate::Goes,
    }
}

/// Returns the time that a segment accounts for: also an empty one says that nothing was received.
fn covers(manifest: &Manifest) -> (Timestamp, Timestamp) {
    let first = manifest.first_received_at.unwrap_or(manifest.opened_at);
    let last = manifest.last_received_at.unwrap_or(manifest.sealed_at);
    (first.min(manifest.opened_at), last.max(manifest.sealed_at))
}

/// Removes what is older than `before`, or only says what would go.
pub async fn expire(
    store: &Store,
    service: &str,
    before: Timestamp,
    deletes: bool,
) -> Result<Expired, ExpiryError> {
    let mut expired = Expired::default();
    hold::all(store, service).await?;
    let range = Range { from: None, to: Some(before) };
    for hour in catalog::hours(store, service, range).await? {
        // Read again for each hour: a hold that is placed now keeps what is still there.
        let holds = hold::all(store, service).await?;
        for entry in catalog::entries(store, &hour).await? {
            expire_one(store, &entry, (before, &holds), deletes, &mut expired).await?;
        }
    }
    Ok(expired)
}

async fn expire_one(
    store: &Store,
    entry: &Entry,
    (before, holds): (Timestamp, &[Hold]),
    deletes: bool,
    expired: &mut Expired,
) -> Result<(), ExpiryError> {
    let at = |us| Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
    // From its name alone where no manifest says more.
    let named = (at(entry.key.first_us), at(entry.key.last_us));
    if named.1 >= before {
        return Ok(());
    }
    let mut described = None;
    let fate = if entry.has_manifest {
        match catalog::manifest(store, &entry.key).await {
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(Err(unreadable)) => Fate::Unknown(unreadable.to_string()),
            Ok(Ok(manifest)) => {
                let fate = fate(covers(&manifest), before, holds);
                described = Some(manifest);
                fate
            }
        }
    } else {
        fate(named, before, holds)
    };
    match fate {
        Fate::Stays => {}
        Fate::Held(_) => expired.held += 1,
        Fate::Unknown(what) => expired.unknown.push(what),
        Fate::Goes => {
            expired.segments += 1;
            expired.uncommitted += u64::from(!entry.has_manifest);
            if let Some(manifest) = described {
                expired.bytes += manifest.bytes;
                expired.exchanges += manifest.exchanges;
            }
            if deletes {
                store.remove(&entry.key.manifest()).await?;
                store.remove(&entry.key.segment()).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
