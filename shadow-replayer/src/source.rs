//! Where the lanes of an attempt take the exchanges that come next: in recorded order, and those of one order key one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadow_recorder::exchange::{Body, Exchange};
use shadow_recorder::redact::Redactor;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::lane::Done;
use crate::pace::Pacer;
use crate::window::Window;

/// Exchanges that are handed over together, so that not each wakes another thread.
pub(crate) const BATCH_EXCHANGES: usize = 64;
/// Batches that are read ahead.
pub(crate) const BATCHES_AHEAD: usize = 4;

/// The rules of redaction of a segment, or why they are not known.
pub(crate) type Rules = Result<Arc<Redactor>, String>;

/// Exchanges of one segment, in recorded order.
pub(crate) type Batch = Vec<(Arc<Exchange>, Rules)>;

/// An exchange to be replayed, with its place in the journal.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) rules: Rules,
    pub(crate) place: u64,
    /// When it is to be sent.
    pub(crate) due: Instant,
}

/// The exchanges of an attempt that are not begun.
#[derive(Debug)]
pub(crate) struct Source {
    read: tokio::sync::Mutex<Read>,
    window: Arc<Window<Done>>,
    /// Says when they are due; absent where nothing is sent.
    pacer: Option<Arc<Pacer>>,
    /// Whether exchanges of one order key wait for each other.
    ordered: bool,
    /// The order keys of which an exchange is under way, with those that wait for it. They are bounded by the window.
    busy: Mutex<HashMap<String, VecDeque<Next>>>,
}

#[derive(Debug)]
struct Read {
    batches: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<(Arc<Exchange>, Rules)>,
}

impl Read {
    async fn next(&mut self) -> Option<(Arc<Exchange>, Rules)> {
        loop {
            if let Some(next) = self.batch.next() {
                return Some(next);
            }
            self.batch = self.batches.recv().await?.into_iter();
        }
    }
}

impl Source {
    pub(crate) fn new(
        batches: mpsc::Receiver<Batch>,
        window: Arc<Window<Done>>,
        pacer: Option<Arc<Pacer>>,
        ordered: bool,
    ) -> Self {
        let read = Read { batches, batch: Vec::new().into_iter() };
        let busy = Mutex::default();
        Self { read: tokio::sync::Mutex::new(read), window, pacer, ordered, busy }
    }

    /// Returns the next exchange that may begin, when it is due; `None` when none is left to take. What is not sent takes no part in the
    /// pace.
    pub(crate) async fn next(&self, is_sent: impl Fn(&Exchange) -> bool) -> Option<Next> {
        let mut read = self.read.lock().await;
        loop {
            let (exchange, rules) = read.next().await?;
            let place = self.window.place(body_bytes(&exchange)).await?;
            let due = match &self.pacer {
                Some(pacer) if !pacer.is_paced() || is_sent(&exchange) => {
                    pacer.due(exchange.received_at).await
                }
                _ => Instant::now(),
            };
            if let Some(next) = self.unless_busy(Next { exchange, rules, place, due }) {
                return Some(next);
            }
        }
    }

    /// Returns the exchange that waited for this one to be done.
    pub(crate) fn after(&self, done: &Exchange) -> Option<Next> {
        let key = done.order_key.as_ref().filter(|_| self.ordered)?;
        let mut busy = self.busy();
        let next = busy.get_mut(key)?.pop_front();
        if next.is_none() {
            busy.remove(key);
        }
        next
    }

    fn unless_busy(&self, next: Next) -> Option<Next> {
        let Some(key) = next.exchange.order_key.as_ref().filter(|_| self.ordered) else {
            return Some(next);
        };
        let mut busy = self.busy();
        if let Some(waiting) = busy.get_mut(key) {
            waiting.push_back(next);
            return None;
        }
        busy.insert(key.clone(), VecDeque::new());
        Some(next)
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Next>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how much memory an exchange takes, but for its heads.
fn body_bytes(exchange: &Exchange) -> usize {
    let length = |body: &Body| body.text.as_ref().map_or(0, String::len);
    let calls = exchange.upstream.iter().map(|call| {
        length(&call.request.body) + call.response.as_ref().map_or(0, |r| length(&r.body))
    });
    length(&exchange.request.body)
        + exchange.response.as_ref().map_or(0, |r| length(&r.body))
        + calls.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(keys: &[Option<&str>]) -> Batch {
        let exchange = |key: Option<&str>| {
            let mut exchange = crate::compare::tests::recorded(200, "");
            exchange.order_key = key.map(Into::into);
            (Arc::new(exchange), Err("not needed".into()))
        };
        keys.iter().copied().map(exchange).collect()
    }

    async fn source(keys: &[Option<&str>], ordered: bool) -> Source {
        let (send, receive) = mpsc::channel(1);
        send.send(batch(keys)).await.unwrap();
        Source::new(receive, Arc::new(Window::new()), None, ordered)
    }

    #[tokio::test]
    async fn exchanges_of_one_key_wait_for_each_other_and_others_pass() {
        let source = source(&[Some("a"), Some("a"), Some("b"), None, Some("a")], true).await;
        let first = source.next(|_| true).await.unwrap();
        let (b, none) =
            (source.next(|_| true).await.unwrap(), source.next(|_| true).await.unwrap());
        assert_eq!((first.place, b.place, none.place), (0, 2, 3));
        assert!(source.after(&b.exchange).is_none() && source.after(&none.exchange).is_none());
        assert!(source.next(|_| true).await.is_none(), "the last one waits for the second");
        let second = source.after(&first.exchange).unwrap();
        let last = source.after(&second.exchange).unwrap();
        assert_eq!((second.place, last.place), (1, 4));
        assert!(source.after(&last.exchange).is_none());
        assert!(source.busy().is_empty());
    }

    #[tokio::test]
    async fn without_order_nothing_waits() {
        let source = source(&[Some("a"), Some("a")], false).await;
        let (first, second) =
            (source.next(|_| true).await.unwrap(), source.next(|_| true).await.unwrap());
        assert_eq!((first.place, second.place), (0, 1));
        assert!(source.after(&first.exchange).is_none());
    }
}
