//! When a lease has run out, by the clock of whoever wants to know.
//!
//! The holder counts its shard's heartbeat up. Another worker that has looked for longer than the lease and saw the same number
//! all along takes the shard over. Both measure durations with their own monotonic clock, so clocks that differ or jump take no
//! lease away and prolong none; a worker that has only just come waits for a lease's length before it believes that another is
//! dead. A holder that was only slow loses its attempt, which costs work and nothing else: its epoch is over.

use std::collections::HashMap;
use std::time::Duration;

use crate::shard::{Shard, Sign};

/// What one worker has seen of the others' leases.
#[derive(Debug)]
pub struct Watch {
    lease: Duration,
    seen: HashMap<u32, (Sign, Duration)>,
}

impl Watch {
    /// Makes a watch that has seen nothing.
    pub fn new(lease: Duration) -> Self {
        Self { lease, seen: HashMap::new() }
    }

    /// Takes note of all shards that are held, `now` after any fixed instant; returns those that may be taken over.
    pub fn expired<'s>(&mut self, held: &'s [Shard], now: Duration) -> Vec<&'s Shard> {
        let before = std::mem::take(&mut self.seen);
        let mut expired = Vec::new();
        for shard in held {
            let sign = shard.sign();
            let since = match before.get(&shard.number) {
                Some((seen, since)) if *seen == sign => *since,
                _ => now,
            };
            self.seen.insert(shard.number, (sign, since));
            if shard.owner.is_none() || now.saturating_sub(since) > self.lease {
                expired.push(shard);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::State;

    fn held(owner: Option<&str>, heartbeat: i64) -> [Shard; 1] {
        let owner = owner.map(str::to_owned);
        let (segments, files) = (vec![], vec![]);
        let state = State::Leased;
        [Shard { number: 3, segments, state, epoch: 1, owner, heartbeat, tally: None, files }]
    }

    #[test]
    fn a_lease_runs_out_when_its_heartbeat_was_seen_to_stand_still() {
        let second = Duration::from_secs;
        let mut watch = Watch::new(second(10));
        assert!(watch.expired(&held(Some("a"), 7), second(1_000)).is_empty(), "only just seen");
        assert!(watch.expired(&held(Some("a"), 7), second(1_010)).is_empty());
        assert!(watch.expired(&held(Some("a"), 8), second(1_011)).is_empty(), "it lives");
        assert!(watch.expired(&held(Some("a"), 8), second(1_021)).is_empty());
        assert_eq!(watch.expired(&held(Some("a"), 8), second(1_022)).len(), 1);
        assert_eq!(watch.expired(&held(None, 8), second(1_023)).len(), 1, "it was let go");
        assert!(watch.expired(&[], second(1_024)).is_empty());
        assert!(watch.expired(&held(Some("a"), 8), second(1_025)).is_empty(), "seen anew");
    }
}
