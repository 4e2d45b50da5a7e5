//! How long connections live, said to all of them at once: a connection compares one number as a request passes, and is woken when the
//! number changes. Polling two tokens and a timer for each connection cost a request a third of a microsecond.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A connection that asked nothing for this long after the signal to stop is closed. Closing as soon as an answer has ended would meet
/// the next request of a client that was not told.
const QUIET: Duration = Duration::from_millis(250);
/// The first of the beats that say that connections are to end.
const STOPPING: u64 = 1 << 63;
/// The beat that says that they are over.
const CUT: u64 = u64::MAX;

/// How long the connections of some listeners live.
#[derive(Clone, Debug)]
pub(crate) struct Lifetime {
    /// No new connection, and open ones end after what they have begun.
    pub(crate) stop: CancellationToken,
    /// Open connections end at once.
    pub(crate) cut: CancellationToken,
    /// One task per connection, and one per listener.
    pub(crate) tasks: TaskTracker,
    pulse: Arc<Pulse>,
}

#[derive(Debug, Default)]
struct Pulse {
    beat: AtomicU64,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    of_connections: HashMap<u64, Waker>,
    begun: u64,
}

impl Lifetime {
    /// Begins, with a beat each `interval`.
    pub(crate) fn begin(interval: Duration) -> Self {
        let lifetime = Self {
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            pulse: Arc::default(),
        };
        tokio::spawn(lifetime.clone().beat(interval));
        lifetime
    }

    async fn beat(self, interval: Duration) {
        let (mut beat, mut interval) = (0, tokio::time::interval(interval));
        loop {
            tokio::select! {
                _ = interval.tick() => beat += 1,
                () = self.stop.cancelled() => break,
                () = self.cut.cancelled() => break,
            }
            self.pulse.say(beat);
        }
        beat = STOPPING;
        let mut quiet = interval_at(Instant::now() + QUIET, QUIET);
        loop {
            tokio::select! {
                _ = quiet.tick() => beat += 1,
                () = self.cut.cancelled() => break,
            }
            self.pulse.say(beat);
        }
        self.pulse.say(CUT);
    }

    /// Ends it: from now on answers say that they are the last.
    pub(crate) fn end(&self) {
        self.pulse.say(STOPPING);
        self.stop.cancel();
    }

    /// Is ready when connections are to end.
    pub(crate) async fn ending(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(QUIET).await;
    }

    /// Joins a connection's task, which is woken with every beat.
    pub(crate) fn join(&self, context: &Context<'_>) -> Member {
        let mut wakers = self.pulse.wakers();
        wakers.begun += 1;
        let number = wakers.begun;
        wakers.of_connections.insert(number, context.waker().clone());
        drop(wakers);
        Member { pulse: Arc::clone(&self.pulse), number, heard: 0 }
    }
}

impl Pulse {
    fn say(&self, beat: u64) {
        self.beat.store(beat, Relaxed);
        for waker in self.wakers().of_connections.values() {
            waker.wake_by_ref();
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Time has passed.
    Beat,
    /// It is to end after what it has begun. Said again and again.
    Stop,
    /// It is over.
    Cut,
}

/// A connection among those that are woken.
#[derive(Debug)]
pub(crate) struct Member {
    pulse: Arc<Pulse>,
    number: u64,
    heard: u64,
}

impl Member {
    /// Returns what was said since the last time.
    pub(crate) fn news(&mut self) -> Option<News> {
        let beat = self.pulse.beat.load(Relaxed);
        if beat == self.heard {
            return None;
        }
        self.heard = beat;
        Some(match beat {
            CUT => News::Cut,
            STOPPING.. => News::Stop,
            _ => News::Beat,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pulse.wakers().of_connections.remove(&self.number);
    }
}
