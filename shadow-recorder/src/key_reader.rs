//! Reads business keys: those in heads at once, those in bodies in a thread of its own, because parsing could keep other requests
//! waiting.
//!
//! The thread takes its work in the order in which bodies have passed. A service cannot read the end of its request's body before
//! the recorder has passed it, so an exchange's key is always known before a call that has it is decided.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use http::Request;
use http::header::CONTENT_ENCODING;
use siphasher::sip128::SipHasher24;

use crate::body;
use crate::business_key::{BusinessKey, InBody};
use crate::capture::Capture;
use crate::clock;
use crate::keys::OwnKey;
use crate::observation::Observation;
use crate::record::caught;
use crate::tee::{Copied, Ending};

/// Knows where requests have their keys.
#[derive(Debug)]
pub(crate) struct KeyReader {
    exchange: Arc<BusinessKey>,
    upstreams: HashMap<String, Arc<BusinessKey>>,
    hasher: SipHasher24,
    body_bytes_max: usize,
    /// The way to the thread; absent where no key is in a body. Then every call is decided as it begins.
    queue: Option<SyncSender<Job>>,
}

/// What a request's head says of its key.
#[derive(Debug)]
pub(crate) enum InHead {
    /// This is its hash.
    Key(u128),
    /// It has none, unless its body has one.
    Body(Box<InBodyOf>),
    /// It has none.
    None,
}

/// How a body is read for its key.
#[derive(Debug)]
pub(crate) struct InBodyOf {
    source: Arc<BusinessKey>,
    coding: Option<String>,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyOf {
    Exchange(u128),
    /// The number of the call.
    Call(u64),
}

/// What the thread does.
#[derive(Debug)]
enum Job {
    /// Reads a body, and gives it to its observation.
    Body {
        of: KeyOf,
        body: Box<InBodyOf>,
        copied: Copied,
        observation: Option<Arc<Observation>>,
        capture: Arc<Capture>,
    },
    /// Decides a call whose key was in its head, after the exchanges whose bodies passed before.
    Decide { number: u64, key: u128, capture: Arc<Capture> },
}

impl KeyReader {
    /// Starts the thread where a key is in a body. `bodies_max` may wait for it.
    pub(crate) fn start(
        exchange: BusinessKey,
        upstreams: impl IntoIterator<Item = (String, BusinessKey)>,
        body_bytes_max: usize,
        bodies_max: usize,
    ) -> io::Result<Self> {
        let upstreams: HashMap<_, _> =
            upstreams.into_iter().map(|(name, key)| (name, Arc::new(key))).collect();
        let in_bodies =
            exchange.json.is_some() || upstreams.values().any(|upstream| upstream.json.is_some());
        let queue = if in_bodies {
            let (queue, jobs) = sync_channel(bodies_max);
            let thread = thread::Builder::new().name("shadow-keys".into());
            thread.spawn(move || run(&jobs))?;
            Some(queue)
        } else {
            None
        };
        let hasher = SipHasher24::new_with_key(&clock::hash_key());
        Ok(Self { exchange: Arc::new(exchange), upstreams, hasher, body_bytes_max, queue })
    }

    /// Returns whether calls wait for their attribution.
    pub(crate) fn is_queued(&self) -> bool {
        self.queue.is_some()
    }

    /// Looks for the key of an exchange.
    pub(crate) fn of_exchange<B>(&self, request: &Request<B>) -> InHead {
        self.of(&self.exchange, request)
    }

    /// Looks for the key of a call.
    pub(crate) fn of_call<B>(&self, upstream: &str, request: &Request<B>) -> InHead {
        self.upstreams.get(upstream).map_or(InHead::None, |source| self.of(source, request))
    }

    fn of<B>(&self, source: &Arc<BusinessKey>, request: &Request<B>) -> InHead {
        if let Some(key) = source.in_head(request) {
            return InHead::Key(self.hash(&key));
        }
        if source.json.is_none() {
            return InHead::None;
        }
        let codings = request.headers().get_all(CONTENT_ENCODING).iter();
        let codings: Vec<&str> = codings.filter_map(|value| value.to_str().ok()).collect();
        let coding = (!codings.is_empty()).then(|| codings.join(", "));
        InHead::Body(InBodyOf { source: Arc::clone(source), coding }.into())
    }

    fn hash(&self, key: &str) -> u128 {
        self.hasher.hash(key.as_bytes()).into()
    }

    /// Reads the key of a body that has passed, and then gives it to its observation.
    pub(crate) fn read(
        &self,
        capture: &Arc<Capture>,
        of: KeyOf,
        body: Box<InBodyOf>,
        copied: Copied,
        observation: Option<Arc<Observation>>,
    ) {
        let capture = Arc::clone(capture);
        if copied.ending() != Ending::Complete {
            // The service never had the whole document either.
            self.found(&capture, of, InBody::None);
            if let Some(observation) = observation {
                observation.request_ended(copied);
            }
            return;
        }
        self.send(Job::Body { of, body, copied, observation, capture });
    }

    /// Decides a call whose key was in its head.
    pub(crate) fn decide(&self, capture: &Arc<Capture>, number: u64, key: u128) {
        self.send(Job::Decide { number, key, capture: Arc::clone(capture) });
    }

    fn send(&self, job: Job) {
        let Some(queue) = &self.queue else { return job.skip() };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.skip(),
        }
    }

    fn found(&self, capture: &Capture, of: KeyOf, found: InBody) {
        if found == InBody::Unread {
            capture.metrics.business_keys_unread.inc();
        }
        let key = match &found {
            InBody::Key(key) => Some(self.hash(key)),
            InBody::None | InBody::Unread => None,
        };
        match (of, found) {
            (KeyOf::Call(number), _) => capture.decide(number, key),
            (KeyOf::Exchange(id), InBody::Unread) => capture.set_key(id, OwnKey::Unread),
            (KeyOf::Exchange(id), _) => capture.set_key(id, OwnKey::Read(key)),
        }
    }
}

impl Job {
    fn run(self) {
        match self {
            Self::Body { of, body, copied, observation, capture } => {
                let Some(keys) = &capture.keys else { return };
                let read = || {
                    let coding = body.coding.as_deref();
                    let decode = |wire: &[u8]| body::decode(wire, coding, keys.body_bytes_max);
                    body.source.in_body(&copied.body(coding, decode))
                };
                let found = caught(read).unwrap_or(InBody::Unread);
                let _ = caught(|| keys.found(&capture, of, found));
                if let Some(observation) = observation {
                    observation.request_ended(copied);
                }
            }
            Self::Decide { number, key, capture } => {
                let _ = caught(|| capture.decide(number, Some(key)));
            }
        }
    }

    /// Does without reading, because too much waits already.
    fn skip(self) {
        match self {
            Self::Body { of, copied, observation, capture, .. } => {
                if let Some(keys) = &capture.keys {
                    keys.found(&capture, of, InBody::Unread);
                }
                if let Some(observation) = observation {
                    observation.request_ended(copied);
                }
            }
            Self::Decide { number, capture, .. } => {
                capture.metrics.business_keys_unread.inc();
                capture.decide(number, None);
            }
        }
    }
}

/// Runs until the capture is gone.
fn run(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job.run();
    }
}

#[cfg(test)]
mod tests;
