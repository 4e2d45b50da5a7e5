//! The window in which exchanges are at once: taken in recorded order, done in any, handed on in recorded order again, so that the
//! journal does not depend on who answered first. A slow exchange does not stop the others until the window is full behind it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Exchanges at once between being read and being written.
const EXCHANGES_MAX: usize = 4_096;
/// Bytes of their recorded bodies. Their answers are about as many.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Done exchanges for which the writer is woken: to wake a thread is a system call, and too dear for each.
const WAKE_DONE: usize = 128;
/// How long fewer than that wait for it.
const WAKE_AFTER: Duration = Duration::from_millis(20);

/// Places in recorded order, each to be filled once.
#[derive(Debug)]
pub(crate) struct Window<T> {
    places: Mutex<Places<T>>,
    done: Condvar,
    room: Notify,
}

#[derive(Debug)]
struct Places<T> {
    /// The number of the first place.
    first: u64,
    slots: VecDeque<Slot<T>>,
    /// How many from the first on are filled without a gap.
    ready: usize,
    bytes: usize,
    ended: bool,
}

#[derive(Debug)]
struct Slot<T> {
    bytes: usize,
    value: Option<T>,
}

impl<T> Places<T> {
    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= BODY_BYTES_MAX;
        self.slots.is_empty() || (fits && self.slots.len() < EXCHANGES_MAX)
    }

    fn fill(&mut self, place: u64, value: T) {
        let at = usize::try_from(place - self.first).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.value = Some(value);
        while self.slots.get(self.ready).is_some_and(|slot| slot.value.is_some()) {
            self.ready += 1;
        }
    }

    fn take_ready(&mut self) -> Vec<T> {
        let taken: Vec<Slot<T>> = self.slots.drain(..self.ready).collect();
        self.first += taken.len() as u64;
        self.ready = 0;
        self.bytes -= taken.iter().map(|slot| slot.bytes).sum::<usize>();
        taken.into_iter().filter_map(|slot| slot.value).collect()
    }
}

impl<T> Window<T> {
    pub(crate) fn new() -> Self {
        let slots = VecDeque::new();
        let places = Places { first: 0, slots, ready: 0, bytes: 0, ended: false };
        Self { places: Mutex::new(places), done: Condvar::new(), room: Notify::new() }
    }

    fn locked(&self) -> MutexGuard<'_, Places<T>> {
        // Nothing between two statements leaves the places inconsistent.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next place as soon as there is room; `None` when the window has ended. One at a time may wait.
    pub(crate) async fn place(&self, bytes: usize) -> Option<u64> {
        loop {
            {
                let mut places = self.locked();
                if places.ended {
                    return None;
                }
                if places.has_room(bytes) {
                    places.bytes += bytes;
                    places.slots.push_back(Slot { bytes, value: None });
                    return Some(places.first + places.slots.len() as u64 - 1);
                }
            }
            self.room.notified().await;
        }
    }

    /// Fills a place.
    pub(crate) fn fill(&self, place: u64, value: T) {
        let mut places = self.locked();
        let before = places.ready;
        places.fill(place, value);
        let full = !places.has_room(0) && places.ready > 0;
        if full || (before < WAKE_DONE && places.ready >= WAKE_DONE) {
            self.done.notify_one();
        }
    }

    /// Waits for what is done in recorded order, and takes it; `None` at the end.
    pub(crate) fn next_done(&self) -> Option<Vec<T>> {
        let mut places = self.locked();
        if places.ready < WAKE_DONE && !places.ended {
            (places, _) =
                self.done.wait_timeout(places, WAKE_AFTER).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = places.take_ready();
        if taken.is_empty() && places.ended {
            return None;
        }
        drop(places);
        self.room.notify_one();
        Some(taken)
    }

    /// Ends the window: no further place is given, and what is done is still handed on.
    pub(crate) fn end(&self) {
        self.locked().ended = true;
        self.done.notify_one();
        self.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_in_any_order_is_handed_on_in_recorded_order() {
        let window = Window::new();
        for place in 0..5 {
            assert_eq!(window.place(1).await, Some(place));
        }
        for place in [3, 0, 4, 1] {
            window.fill(place, place);
        }
        assert_eq!(window.next_done(), Some(vec![0, 1]));
        window.fill(2, 2);
        window.end();
        assert_eq!(window.next_done(), Some(vec![2, 3, 4]));
        assert_eq!(window.next_done(), None);
    }

    #[tokio::test]
    async fn a_slow_exchange_stops_the_others_when_the_window_is_full() {
        let window = Window::new();
        for place in 0..EXCHANGES_MAX as u64 {
            assert_eq!(window.place(1).await, Some(place));
            if place > 0 {
                window.fill(place, place);
            }
        }
        let wait = Duration::from_millis(1);
        assert!(tokio::time::timeout(wait, window.place(1)).await.is_err());
        window.fill(0, 0);
        assert_eq!(window.next_done().map(|done| done.len()), Some(EXCHANGES_MAX));
        assert_eq!(window.place(1).await, Some(EXCHANGES_MAX as u64));
    }

    #[tokio::test]
    async fn long_bodies_count_by_their_length() {
        let window = Window::<()>::new();
        // One alone may be longer than everything.
        assert!(window.place(BODY_BYTES_MAX * 2).await.is_some());
        let wait = Duration::from_millis(1);
        assert!(tokio::time::timeout(wait, window.place(1)).await.is_err());
    }
}
