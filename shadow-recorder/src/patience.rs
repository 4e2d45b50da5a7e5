//! How long a client may take, looked at with a slow beat: nothing is armed or read from the clock as a request passes.
//!
//! hyper's own `header_read_timeout` runs while a connection is idle, too. A load balancer that keeps connections for a minute would
//! then send requests into connections that were just closed, and show its clients errors.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::link::Link;

/// Connections may be idle for this long: more than the 600 s of the load balancers with the longest memory.
const IDLE_MAX: Duration = Duration::from_secs(620);
/// How often a limit is looked at before it is over.
const BEATS: u32 = 4;
const BEAT_MIN: Duration = Duration::from_millis(10);
const BEAT_MAX: Duration = Duration::from_secs(5);

/// The limits of a client's patience, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head_timeout: Duration,
    pub(crate) stall_timeout: Duration,
}

/// What a connection does, and what must change for it to be in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle { begun: u64 },
    /// A request's head is awaited; bytes alone do not help.
    Head { begun: u64 },
    /// The client neither sends the body that it announced nor takes the answer.
    Stalled { read: u64, written: u64 },
    /// The service is at work.
    Busy,
}

/// Watches over one connection.
#[derive(Debug)]
pub(crate) struct Patience {
    limits: Limits,
    /// HTTP/2 reads all the time, so that waiting for bytes says nothing.
    is_http2: bool,
    phase: Phase,
    since: Instant,
}

impl Limits {
    /// Returns how often to look, so that a limit is overrun by a fraction.
    pub(crate) fn beat(&self) -> Duration {
        let shortest = self.head_timeout.min(self.stall_timeout);
        (shortest / BEATS).clamp(BEAT_MIN, BEAT_MAX)
    }
}

impl Patience {
    /// Begins with a head that is awaited: a new connection owes its first at once.
    pub(crate) fn new(limits: Limits, is_http2: bool, now: Instant) -> Self {
        Self { limits, is_http2, phase: Phase::Head { begun: 0 }, since: now }
    }

    /// Returns whether the client has taken too long. Asked with every beat.
    pub(crate) fn is_expired(&mut self, link: &Link, now: Instant) -> bool {
        let phase = self.look(link);
        if phase != self.phase {
            (self.phase, self.since) = (phase, now);
        }
        let limit = match phase {
            Phase::Idle { .. } => IDLE_MAX,
            Phase::Head { .. } => self.limits.head_timeout,
            Phase::Stalled { .. } => self.limits.stall_timeout,
            Phase::Busy => return false,
        };
        now.duration_since(self.since) >= limit
    }

    fn look(&self, link: &Link) -> Phase {
        let begun = link.begun();
        let is_busy = link.is_busy();
        let owes_body = is_busy && !self.is_http2 && link.read_blocked.load(Relaxed);
        if owes_body || link.write_blocked.load(Relaxed) {
            let (read, written) = (link.read.load(Relaxed), link.written.load(Relaxed));
            return Phase::Stalled { read, written };
        }
        match () {
            () if is_busy => Phase::Busy,
            () if begun == 0 || link.is_in_head() && !self.is_http2 => Phase::Head { begun },
            () => Phase::Idle { begun },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LIMITS: Limits =
        Limits { head_timeout: Duration::from_secs(10), stall_timeout: Duration::from_secs(100) };

    /// Looks each second; returns the seconds until the client has taken too long.
    fn expires(is_http2: bool, link: &Link, mut happens: impl FnMut(u64)) -> Option<u64> {
        let start = Instant::now();
        let mut patience = Patience::new(LIMITS, is_http2, start);
        (0..1_000).find(|second| {
            happens(*second);
            patience.is_expired(link, start + Duration::from_secs(*second))
        })
    }

    #[test]
    fn a_head_is_late_however_its_bytes_come() {
        let link = Link::default();
        let dribble = |_| _ = link.read.fetch_add(1, Relaxed);
        assert_eq!(expires(false, &link, dribble), Some(10));
    }

    #[test]
    fn an_idle_connection_lives_long_and_the_next_head_is_timed_anew() {
        let link = Arc::new(Link::default());
        link.read.store(100, Relaxed);
        drop(link.begin());
        assert_eq!(expires(false, &link, |_| ()), Some(IDLE_MAX.as_secs()));
        let begins = |second| link.read.store(100 + u64::from(second >= 300), Relaxed);
        assert_eq!(expires(false, &link, begins), Some(310));
    }

    #[test]
    fn a_body_may_take_as_long_as_it_moves() {
        let link = Arc::new(Link::default());
        let _request = link.begin();
        link.read_blocked.store(true, Relaxed);
        let moves = |second: u64| link.read.store(second.min(200), Relaxed);
        assert_eq!(expires(false, &link, moves), Some(300));
        // HTTP/2 always waits for bytes.
        assert_eq!(expires(true, &link, moves), None);
    }

    #[test]
    fn an_answer_must_be_taken() {
        let link = Arc::new(Link::default());
        let _request = link.begin();
        assert_eq!(expires(false, &link, |_| ()), None, "the service takes its time");
        link.write_blocked.store(true, Relaxed);
        assert_eq!(expires(true, &link, |_| ()), Some(100));
    }
}
