//! The business keys of the open exchanges, and the calls that wait for theirs. A part of the registry, behind its lock.
//!
//! A call whose key is in its body is known by it only when the body has been read, and it may belong to an exchange that was open
//! when it *began*. So calls are numbered as they begin; an exchange counts for a call where it was opened before the call and had
//! not left before it. While calls wait, the keys of the exchanges that have left meanwhile are remembered.
//!
//! Keys are hashes, keyed at random: values that name persons or trips are not kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::account::Reason;
use crate::capture::Ticket;
use crate::exchange::Attribution;
use crate::observation::Seen;

/// The key of an open exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnKey {
    /// Not read yet; a service cannot know it yet either.
    Unknown,
    /// Read: this one, or none.
    Read(Option<u128>),
    /// The recorder could not read what the service could: any key may be this exchange's.
    Unread,
}

/// A call whose exchange is not known yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) upstream: Arc<str>,
    pub(crate) started: Instant,
    pub(crate) at: Timestamp,
    /// What was seen of it, where it has ended.
    pub(crate) seen: Option<Box<Seen>>,
    /// Why its exchange cannot be recorded.
    pub(crate) lost: Option<Reason>,
}

/// Which exchange has which key.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    holders: HashMap<u128, Vec<Holder>>,
    /// Open exchanges any key may belong to.
    unread: usize,
    /// Exchanges that left while calls waited, in order.
    left: VecDeque<Left>,
    /// By the number of the call.
    waiting: BTreeMap<u64, Waiting>,
    /// What calls in progress that have waited belong to.
    decided: HashMap<u64, Ticket>,
}

#[derive(Debug)]
struct Holder {
    exchange: u128,
    opened: u64,
}

#[derive(Debug)]
struct Left {
    key: u128,
    opened: u64,
    /// The calls that had begun when it left.
    at: u64,
}

impl Keys {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { holders, unread, left, waiting, decided } = self;
        let calls = left.len() + waiting.len() + decided.len();
        holders.is_empty() && *unread == 0 && calls == 0
    }

    /// Notes the key of an open exchange.
    pub(crate) fn enter(&mut self, exchange: u128, key: OwnKey, opened: u64) {
        match key {
            OwnKey::Read(Some(key)) => {
                self.holders.entry(key).or_default().push(Holder { exchange, opened });
            }
            OwnKey::Unread => self.unread += 1,
            OwnKey::Unknown | OwnKey::Read(None) => {}
        }
    }

    /// Forgets an exchange; `calls_begun` is the number of the last call.
    pub(crate) fn leave(&mut self, exchange: u128, key: OwnKey, opened: u64, calls_begun: u64) {
        match key {
            OwnKey::Read(Some(key)) => {
                if let Some(holders) = self.holders.get_mut(&key) {
                    holders.retain(|holder| holder.exchange != exchange);
                    if holders.is_empty() {
                        self.holders.remove(&key);
                    }
                }
                if !self.waiting.is_empty() {
                    self.left.push_back(Left { key, opened, at: calls_begun });
                }
            }
            OwnKey::Unread => self.unread -= 1,
            OwnKey::Unknown | OwnKey::Read(None) => {}
        }
    }

    /// Finds the one exchange with a call's key: its id, or `None` where it has left. The error says why there is none.
    pub(crate) fn find(&self, number: u64, key: u128) -> Result<Option<u128>, Attribution> {
        let holders = self.holders.get(&key).map_or(&[][..], Vec::as_slice);
        let open = holders.iter().filter(|holder| holder.opened < number);
        let left = self
            .left
            .iter()
            .filter(|left| left.key == key && left.opened < number && left.at >= number);
        let mut all = open.map(|holder| Some(holder.exchange)).chain(left.map(|_| None));
        match (all.next(), all.next()) {
            (None, _) => Err(Attribution::Unattributed),
            (Some(only), None) if self.unread == 0 => Ok(only),
            _ => Err(Attribution::Ambiguous),
        }
    }

    /// Lets a call wait.
    pub(crate) fn wait(&mut self, number: u64, call: Waiting) {
        self.waiting.insert(number, call);
    }

    /// Returns a call that waits.
    pub(crate) fn waiting(&mut self, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(&number)
    }

    /// Takes a call that waits, to be decided, and forgets what only it could ask for.
    pub(crate) fn take(&mut self, number: u64) -> Option<Waiting> {
        let call = self.waiting.remove(&number)?;
        let first = self.waiting.first_key_value().map_or(u64::MAX, |(first, _)| *first);
        while self.left.front().is_some_and(|left| left.at < first) {
            self.left.pop_front();
        }
        Some(call)
    }

    /// Returns the call that has waited for too long: so long that more than `left_max` exchanges have left.
    pub(crate) fn overdue(&self, left_max: usize) -> Option<u64> {
        if self.left.len() <= left_max {
            return None;
        }
        self.waiting.first_key_value().map(|(number, _)| *number)
    }

    /// Notes what a call in progress belongs to.
    pub(crate) fn decide(&mut self, number: u64, ticket: Ticket) {
        self.decided.insert(number, ticket);
    }

    /// Takes what a call in progress belongs to.
    pub(crate) fn decided(&mut self, number: u64) -> Option<Ticket> {
        self.decided.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: u128 = 42;

    fn read(key: u128) -> OwnKey {
        OwnKey::Read(Some(key))
    }

    fn waiting() -> Waiting {
        let (started, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        Waiting { upstream: "fx".into(), started, at, seen: None, lost: None }
    }

    #[test]
    fn a_call_is_of_the_one_exchange_with_its_key_that_was_open_when_it_began() {
        let mut keys = Keys::default();
        assert_eq!(keys.find(1, TRIP), Err(Attribution::Unattributed));
        keys.enter(7, read(TRIP), 3);
        keys.enter(8, read(TRIP + 1), 3);
        keys.enter(9, OwnKey::Read(None), 3);
        keys.enter(10, OwnKey::Unknown, 3);
        assert_eq!(keys.find(4, TRIP), Ok(Some(7)));
        // It had begun before.
        assert_eq!(keys.find(3, TRIP), Err(Attribution::Unattributed));
        keys.enter(11, read(TRIP), 4);
        assert_eq!(keys.find(4, TRIP), Ok(Some(7)));
        assert_eq!(keys.find(5, TRIP), Err(Attribution::Ambiguous));
        keys.leave(7, read(TRIP), 3, 5);
        assert_eq!(keys.find(6, TRIP), Ok(Some(11)));
        for (id, key) in
            [(8, read(TRIP + 1)), (9, OwnKey::Read(None)), (10, OwnKey::Unknown), (11, read(TRIP))]
        {
            keys.leave(id, key, 3, 6);
        }
        assert!(keys.is_empty());
    }

    #[test]
    fn an_exchange_whose_key_cannot_be_read_may_have_any() {
        let mut keys = Keys::default();
        keys.enter(7, read(TRIP), 0);
        keys.enter(8, OwnKey::Unread, 0);
        assert_eq!(keys.find(1, TRIP), Err(Attribution::Ambiguous));
        assert_eq!(keys.find(1, TRIP + 1), Err(Attribution::Unattributed));
        keys.leave(8, OwnKey::Unread, 0, 1);
        assert_eq!(keys.find(2, TRIP), Ok(Some(7)));
    }

    #[test]
    fn an_exchange_that_left_while_a_call_waited_still_counts_for_it() {
        let mut keys = Keys::default();
        keys.enter(7, read(TRIP), 0);
        keys.enter(8, read(TRIP), 0);
        keys.wait(1, waiting());
        keys.leave(7, read(TRIP), 0, 1);
        // Not exchange 8 for certain.
        assert_eq!(keys.find(1, TRIP), Err(Attribution::Ambiguous));
        // Nothing of exchange 7 comes after its linger, so this one is of exchange 8.
        assert_eq!(keys.find(2, TRIP), Ok(Some(8)));
        keys.wait(2, waiting());
        keys.leave(8, read(TRIP), 0, 2);
        assert_eq!(keys.find(2, TRIP), Ok(None));
        assert_eq!((keys.overdue(2), keys.overdue(1)), (None, Some(1)));
        // What only the first call could ask for is forgotten with it.
        keys.take(1).unwrap();
        assert_eq!(keys.left.len(), 1);
        assert_eq!(keys.find(2, TRIP), Ok(None));
        keys.take(2).unwrap();
        assert!(keys.is_empty());
    }
}
