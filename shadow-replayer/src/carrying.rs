//! What is carried for each order key that a worker replays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::HeaderMap;
use shadow_recorder::exchange::{Exchange, Response};

use crate::carry::{Carried, Carry};

/// Order keys of which values are kept; of those that come after them nothing is carried.
const KEYS_MAX: usize = 200_000;

/// The rules, and what was learned by them. It is not for the eyes of anybody: sessions are in it.
pub struct Carrying {
    rules: Vec<Carry>,
    by_key: Mutex<HashMap<String, Carried>>,
}

impl std::fmt::Debug for Carrying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrying").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Carrying {
    /// Begins with nothing learned.
    pub fn new(rules: Vec<Carry>) -> Self {
        Self { rules, by_key: Mutex::default() }
    }

    /// Returns an exchange with the candidate's values in its request.
    pub fn applied<'e>(&self, exchange: &'e Exchange) -> Cow<'e, Exchange> {
        let carried = self.of_key(exchange, |carried| carried.clone());
        match carried {
            Some(carried) => {
                let request = carried.applied(&self.rules, &exchange.request);
                Cow::Owned(Exchange { request, ..exchange.clone() })
            }
            None => Cow::Borrowed(exchange),
        }
    }

    /// Learns from the candidate's answer.
    pub fn learn(&self, exchange: &Exchange, given: &Response) {
        self.of_key(exchange, |carried| {
            carried.learn(&self.rules, &exchange.request, exchange.response.as_ref(), given);
        });
    }

    /// Learns the cookies that the candidate sets, which are no part of its kept answer.
    pub fn learn_cookies(&self, exchange: &Exchange, headers: &HeaderMap) {
        self.of_key(exchange, |carried| {
            carried.learn_cookies(&self.rules, &exchange.request, headers);
        });
    }

    fn of_key<T>(&self, exchange: &Exchange, with: impl FnOnce(&mut Carried) -> T) -> Option<T> {
        let key = exchange.order_key.as_ref().filter(|_| !self.rules.is_empty())?;
        // Nothing panics while it is locked that leaves it half changed.
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.len() >= KEYS_MAX && !by_key.contains_key(key) {
            tracing::warn!(keys.max = KEYS_MAX, "values of more order keys are not carried");
            return None;
        }
        Some(with(by_key.entry(key.clone()).or_default()))
    }
}
