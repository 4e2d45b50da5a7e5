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
use crate::registry::Whose;

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
    recorded: bool,
}

impl Keys {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { holders, unread, left, waiting, decided } = self;
        let calls = left.len() + waiting.len() + decided.len();
        holders.is_empty() && *unread == 0 && calls == 0
    }

    /// Returns whether a call waits.
    #[cfg(test)]
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
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

    /// Forgets an exchange that was recorded or not; `at` is the number of the last call that has begun.
    pub(crate) fn leave(
        &mut self,
        exchange: u128,
        key: OwnKey,
        opened: u64,
        at: u64,
        recorded: bool,
    ) {
        match key {
            OwnKey::Read(Some(key)) => {
                if let Some(holders) = self.holders.get_mut(&key) {
                    holders.retain(|holder| holder.exchange != exchange);
                    if holders.is_empty() {
                        self.holders.remove(&key);
                    }
                }
                if !self.waiting.is_empty() {
                    self.left.push_back(Left { key, opened, at, recorded });
                }
            }
            OwnKey::Unread => self.unread -= 1,
            OwnKey::Unknown | OwnKey::Read(None) => {}
        }
    }

    /// Says whose a call with this key is.
    pub(crate) fn whose(&self, number: u64, key: u128, recorded: impl Fn(u128) -> bool) -> Whose {
        let holders = self.holders.get(&key).map_or(&[][..], Vec::as_slice);
        let open = holders
            .iter()
            .filter(|holder| holder.opened < number)
            .map(|holder| (Some(holder.exchange), recorded(holder.exchange)));
        let left = self
            .left
            .iter()
            .filter(|left| left.key == key && left.opened < number && left.at >= number)
            .map(|left| (None, left.recorded));
        let (mut several, mut recorded, mut only) = (false, self.unread > 0, None);
        for (exchange, is_recorded) in open.chain(left) {
            several |= only.is_some();
            recorded |= is_recorded;
            only = Some(exchange);
        }
        match only {
            None => Whose::Nobody(Attribution::Unattributed),
            Some(_) if !recorded => Whose::Unrecorded,
            Some(_) if several || self.unread > 0 => Whose::Nobody(Attribution::Ambiguous),
            Some(Some(exchange)) => Whose::Exchange(exchange),
            Some(None) => Whose::Nobody(Attribution::Late),
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

    const AMBIGUOUS: Whose = Whose::Nobody(Attribution::Ambiguous);
    const UNATTRIBUTED: Whose = Whose::Nobody(Attribution::Unattributed);

    /// Exchanges with ids from 100 are not recorded.
    fn whose(keys: &Keys, number: u64, key: u128) -> Whose {
        keys.whose(number, key, |id| id < 100)
    }

    #[test]
    fn a_call_is_of_the_one_exchange_with_its_key_that_was_open_when_it_began() {
        let mut keys = Keys::default();
        assert_eq!(whose(&keys, 1, TRIP), UNATTRIBUTED);
        keys.enter(7, read(TRIP), 3);
        keys.enter(8, read(TRIP + 1), 3);
        keys.enter(9, OwnKey::Read(None), 3);
        keys.enter(10, OwnKey::Unknown, 3);
        assert_eq!(whose(&keys, 4, TRIP), Whose::Exchange(7));
        // It had begun before.
        assert_eq!(whose(&keys, 3, TRIP), UNATTRIBUTED);
        keys.enter(11, read(TRIP), 4);
        assert_eq!(whose(&keys, 4, TRIP), Whose::Exchange(7));
        assert_eq!(whose(&keys, 5, TRIP), AMBIGUOUS);
        keys.leave(7, read(TRIP), 3, 5, true);
        assert_eq!(whose(&keys, 6, TRIP), Whose::Exchange(11));
        for (id, key) in
            [(8, read(TRIP + 1)), (9, OwnKey::Read(None)), (10, OwnKey::Unknown), (11, read(TRIP))]
        {
            keys.leave(id, key, 3, 6, true);
        }
        assert!(keys.is_empty());
    }

    #[test]
    fn a_call_of_unrecorded_exchanges_alone_is_not_recorded() {
        let mut keys = Keys::default();
        keys.wait(1, waiting());
        for id in [101, 102] {
            keys.enter(id, read(TRIP), 0);
            assert_eq!(whose(&keys, 1, TRIP), Whose::Unrecorded);
        }
        keys.leave(101, read(TRIP), 0, 1, false);
        assert_eq!(whose(&keys, 1, TRIP), Whose::Unrecorded);
        keys.enter(7, read(TRIP), 0);
        assert_eq!(whose(&keys, 1, TRIP), AMBIGUOUS);
        keys.leave(7, read(TRIP), 0, 1, true);
        keys.leave(102, read(TRIP), 0, 1, false);
        assert_eq!(whose(&keys, 1, TRIP), AMBIGUOUS);
    }

    #[test]
    fn an_exchange_whose_key_cannot_be_read_may_have_any() {
        let mut keys = Keys::default();
        keys.enter(7, read(TRIP), 0);
        keys.enter(101, read(TRIP + 1), 0);
        keys.enter(8, OwnKey::Unread, 0);
        assert_eq!(whose(&keys, 1, TRIP), AMBIGUOUS);
        assert_eq!(whose(&keys, 1, TRIP + 1), AMBIGUOUS);
        assert_eq!(whose(&keys, 1, TRIP + 2), UNATTRIBUTED);
        keys.leave(8, OwnKey::Unread, 0, 1, true);
        assert_eq!(whose(&keys, 2, TRIP), Whose::Exchange(7));
    }

    #[test]
    fn an_exchange_that_left_while_a_call_waited_still_counts_for_it() {
        let mut keys = Keys::default();
        keys.enter(7, read(TRIP), 0);
        keys.enter(8, read(TRIP), 0);
        keys.wait(1, waiting());
        keys.leave(7, read(TRIP), 0, 1, true);
        // Not exchange 8 for certain.
        assert_eq!(whose(&keys, 1, TRIP), AMBIGUOUS);
        // Nothing of exchange 7 comes after its linger, so this one is of exchange 8.
        assert_eq!(whose(&keys, 2, TRIP), Whose::Exchange(8));
        keys.wait(2, waiting());
        keys.leave(8, read(TRIP), 0, 2, true);
        assert_eq!(whose(&keys, 2, TRIP), Whose::Nobody(Attribution::Late));
        assert_eq!((keys.overdue(2), keys.overdue(1)), (None, Some(1)));
        // What only the first call could ask for is forgotten with it.
        keys.take(1).unwrap();
        assert_eq!(keys.left.len(), 1);
        assert_eq!(whose(&keys, 2, TRIP), Whose::Nobody(Attribution::Late));
        keys.take(2).unwrap();
        assert!(keys.is_empty());
    }
}
