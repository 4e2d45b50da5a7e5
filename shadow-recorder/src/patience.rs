//! How long a client may take, watched by a coarse tick: nothing is armed or read from the clock as a request passes.
//!
//! hyper's own `header_read_timeout` runs while a connection is idle, too. A load balancer that keeps connections for a minute would
//! then send requests into connections that were just closed, and show its clients errors.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::link::Link;

/// Connections may be idle for this long: more than the 600 s of the load balancers with the longest memory.
const IDLE_MAX: Duration = Duration::from_secs(620);
/// A limit is overrun by at most this part of it.
const TICKS: u32 = 4;
const TICK_MAX: Duration = Duration::from_secs(5);

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
pub(crate) struct Patience {
    limits: Limits,
    tick: Duration,
    sleep: Pin<Box<Sleep>>,
    phase: Phase,
    since: Instant,
    /// HTTP/2 reads all the time, so that waiting for bytes says nothing.
    is_http2: bool,
}

impl Patience {
    /// Begins with a head that is awaited: a new connection owes its first at once.
    pub(crate) fn new(limits: Limits, is_http2: bool) -> Self {
        let tick = (limits.head_timeout.min(limits.stall_timeout) / TICKS)
            .min(TICK_MAX)
            .max(Duration::from_millis(1));
        let now = Instant::now();
        Self {
            limits,
            tick,
            sleep: Box::pin(sleep_until(now + tick)),
            phase: Phase::Head { begun: 0 },
            since: now,
            is_http2,
        }
    }

    /// Is ready when the client has taken too long.
    pub(crate) fn poll_expired(&mut self, link: &Link, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            let now = Instant::now();
            if self.is_expired(link, now) {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(now + self.tick);
        }
    }

    fn is_expired(&mut self, link: &Link, now: Instant) -> bool {
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
