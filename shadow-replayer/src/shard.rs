//! A shard: the unit of a run that is finished exactly once, and its states.
//!
//! ```text
//!           claim            win                      finish
//!   ready ────────► leased ───────► won ───────────────────────► finished
//!     ▲              │ ▲ │           ▲ │
//!     └── release ───┘ └─┘           └─┘
//!                   take over       take over, release
//! ```
//!
//! A lease is held by one claim, which has an epoch of its own: every claim and every take-over counts the epoch up, and only the
//! holder of the current one beats, releases and wins. Leased and won shards beat: their heartbeat counts up while the holder lives, and
//! whoever has seen it stand still for longer than the lease takes over, see [`crate::lease`]. So no clock is shared.
//! A shard that is won has named its files for good: whoever takes it over publishes those, and replays nothing.
//!
//! [`Shard::after`] is all there is: the store writes what it returns where the row is still what it was given, so that of two
//! claims that read the same row one changes it and the other reads again. An event whose answer was lost on its way is given again
//! and finds its own success.

use serde::{Deserialize, Serialize};

use crate::run::Tally;

/// Where a shard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody works on it.
    Ready,
    /// A worker attempts it.
    Leased,
    /// An attempt's files are named, and being published.
    Won,
    /// They are published.
    Finished,
}

impl State {
    /// Every state, in the order of a shard's life.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Leased, Self::Won, Self::Finished];

    /// Returns the word in the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Won => "won",
            Self::Finished => "finished",
        }
    }
}

/// A file of a winning attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WonFile {
    /// Where the attempt wrote it.
    pub attempt: String,
    /// Where it is published.
    pub target: String,
    /// The SHA-256 of both.
    pub sha256: String,
}

/// Returns the sum of what shards have counted so far.
pub fn counted(shards: &[Shard]) -> Tally {
    let mut sum = Tally::default();
    shards.iter().filter_map(|shard| shard.tally.as_ref()).for_each(|tally| sum.add(tally));
    sum
}

/// One shard of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u32,
    /// The keys of its segments.
    pub segments: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// How often it was claimed or taken over.
    pub epoch: i64,
    /// The claim that holds it.
    pub owner: Option<String>,
    /// Counts up while the holder lives.
    pub heartbeat: i64,
    /// What the winning attempt counted.
    pub tally: Option<Tally>,
    /// The winning attempt's files.
    pub files: Vec<WonFile>,
}

/// A sign of life of a lease's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The epoch of the lease.
    pub epoch: i64,
    /// Its heartbeat.
    pub heartbeat: i64,
}

/// What happens to a shard.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A worker begins, by a name that no other claim has.
    Claim(&'a str),
    /// A worker goes on for a holder that gave no other sign of life than this for longer than the lease.
    TakeOver(&'a str, Sign),
    /// The holder of an epoch lives.
    Beat(i64),
    /// The holder of an epoch goes, and leaves the shard to others.
    Release(i64),
    /// The attempt of an epoch has written these files and counted this.
    Win(i64, &'a [WonFile], &'a Tally),
    /// The winning files are published.
    Finish,
}

/// The shard is another's, or in a state that does not allow the event. Nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard is another worker's by now")]
pub struct Lost;

impl Shard {
    /// Returns the holder's last sign of life.
    pub fn sign(&self) -> Sign {
        Sign { epoch: self.epoch, heartbeat: self.heartbeat }
    }

    /// Returns the shard after an event; unchanged where the event has happened already.
    pub fn after(&self, event: Event<'_>) -> Result<Self, Lost> {
        use State::{Finished, Leased, Ready, Won};
        let held_by = |owner: &str| self.owner.as_deref() == Some(owner) && self.state != Finished;
        let mut next = self.clone();
        match (self.state, event) {
            (_, Event::Claim(owner) | Event::TakeOver(owner, _)) if held_by(owner) => {}
            (Ready, Event::Claim(owner)) => {
                next.state = Leased;
                next.lease_to(owner);
            }
            (Leased | Won, Event::TakeOver(owner, seen)) if seen == self.sign() => {
                next.lease_to(owner);
            }
            (Leased | Won, Event::Beat(epoch)) if epoch == self.epoch => next.heartbeat += 1,
            (Leased, Event::Release(epoch)) if epoch == self.epoch => {
                next.state = Ready;
                next.owner = None;
            }
            (Won, Event::Release(epoch)) if epoch == self.epoch => next.owner = None,
            (Ready, Event::Release(epoch)) if epoch == self.epoch => {}
            (Leased, Event::Win(epoch, files, tally)) if epoch == self.epoch => {
                next.state = Won;
                next.files = files.to_vec();
                next.tally = Some(tally.clone());
            }
            // The names of an attempt's files have its epoch in them, so no other attempt's are equal.
            (Won | Finished, Event::Win(_, files, tally))
                if self.files == files && self.tally.as_ref() == Some(tally) => {}
            (Won, Event::Finish) => {
                next.state = Finished;
                next.owner = None;
            }
            (Finished, Event::Finish) => {}
            _ => return Err(Lost),
        }
        Ok(next)
    }

    fn lease_to(&mut self, owner: &str) {
        self.epoch += 1;
        self.owner = Some(owner.to_owned());
        self.heartbeat = 0;
    }
}

#[cfg(test)]
mod tests;
