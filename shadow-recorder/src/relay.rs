//! Wakers that say which half of a pair has something to do.
//!
//! Two connections polled by one task wake it for each other: polled under the task's own waker, each request costs two rounds through the
//! scheduler in which nothing happens (measured: a tenth of nginx's time for a request). Here a wake that comes while the task runs is heard by its loop,
//! and only the half that was woken is polled.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const WOKEN: u8 = 2;
/// Rounds before other tasks are let in.
const ROUNDS_MAX: u8 = 16;

/// The wakers of both halves.
pub(crate) struct Relays {
    hub: Arc<Hub>,
    client: (Arc<Relay>, Waker),
    service: (Arc<Relay>, Waker),
    rounds: u8,
}

#[derive(Debug, Default)]
struct Hub {
    state: AtomicU8,
    // The waker of a task stays the same as long as the task.
    task: OnceLock<Waker>,
}

#[derive(Debug)]
struct Relay {
    hub: Arc<Hub>,
    is_woken: AtomicBool,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if self.hub.state.swap(WOKEN, Ordering::AcqRel) == IDLE
            && let Some(task) = self.hub.task.get()
        {
            task.wake_by_ref();
        }
    }
}

impl Relays {
    pub(crate) fn new() -> Self {
        let hub = Arc::<Hub>::default();
        let relay = || {
            // Each is polled once unasked.
            let relay = Arc::new(Relay { hub: Arc::clone(&hub), is_woken: AtomicBool::new(true) });
            (Arc::clone(&relay), Waker::from(relay))
        };
        Self { client: relay(), service: relay(), hub, rounds: 0 }
    }

    /// The task runs; what wakes a half from now on is heard by [`rest`](Self::rest).
    pub(crate) fn run(&mut self, context: &Context<'_>) {
        self.hub.task.get_or_init(|| context.waker().clone());
        self.hub.state.store(RUNNING, Ordering::Release);
        self.rounds = 0;
    }

    /// Returns the waker of the client's connection, if that is to be polled.
    pub(crate) fn client(&self) -> Option<Context<'_>> {
        woken(&self.client)
    }

    /// Returns the waker of the service's connections, if those are to be polled.
    pub(crate) fn service(&self) -> Option<Context<'_>> {
        woken(&self.service)
    }

    /// Has the client's connection polled in the next round.
    pub(crate) fn wake_client(&self) {
        self.client.0.wake_by_ref();
    }

    /// Has the service's connections polled in the next round.
    pub(crate) fn wake_service(&self) {
        self.service.0.wake_by_ref();
    }

    /// Ends a round: returns whether the task may rest until it is woken.
    pub(crate) fn rest(&mut self, context: &Context<'_>) -> bool {
        let state = &self.hub.state;
        if state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.rounds += 1;
        if self.rounds == ROUNDS_MAX {
            // What was woken stays noted.
            state.store(IDLE, Ordering::Release);
            context.waker().wake_by_ref();
            return true;
        }
        state.store(RUNNING, Ordering::Release);
        false
    }
}

fn woken((relay, waker): &(Arc<Relay>, Waker)) -> Option<Context<'_>> {
    relay.is_woken.swap(false, Ordering::AcqRel).then(|| Context::from_waker(waker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[derive(Default)]
    struct Task(AtomicU64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_is_heard_once_in_the_loop_or_by_the_task() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let context = Context::from_waker(&waker);
        let mut relays = Relays::new();
        relays.run(&context);
        assert!(relays.client().is_some() && relays.service().is_some(), "at first");
        assert!(relays.client().is_none());
        relays.wake_service();
        assert!(!relays.rest(&context), "another round");
        assert!(relays.client().is_none() && relays.service().is_some());
        assert!(relays.rest(&context));
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
        relays.wake_client();
        relays.wake_client();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        relays.run(&context);
        assert!(relays.client().is_some() && relays.service().is_none());
    }

    #[test]
    fn a_half_that_wakes_itself_lets_others_in() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let context = Context::from_waker(&waker);
        let mut relays = Relays::new();
        relays.run(&context);
        let rounds = (1..100).find(|_| {
            relays.wake_client();
            relays.rest(&context)
        });
        assert_eq!((rounds, task.0.load(Ordering::Relaxed)), (Some(u32::from(ROUNDS_MAX)), 1));
    }
}
