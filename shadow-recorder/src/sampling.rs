//! Which exchanges are recorded, and with which probability, pure.
//!
//! What is drawn together is a *unit*: a trace, or all exchanges of one order key. Each unit has one number u, a keyed hash scaled to
//! an integer over 2⁵³, and an exchange of it is kept when u < π:
//!
//! ```text
//! key = the first 16 bytes of SHA-256(sampling_key)
//! u   = SipHash-2-4(key, the 16 bytes of the trace id, first digits first) >> 11
//!     = SipHash-2-4(key, "order key " and the order key) >> 11          where order keys are drawn and the exchange has one
//! π   = ⌊rate × 2⁵³⌋                                                    rate: of the exchange's stratum, or `sampling_rate`
//!     = min(2⁵³, max(⌊rate × 2⁵³⌋, ⌊size × 2⁵³ / interval⌋))            where its stratum has an interval
//! ```
//!
//! With one key, sidecars with different rates keep nested sets, and an exchange that is kept at one rate is kept at every higher
//! one. A client chooses its trace id and not the key, so it cannot choose to be sampled.
//!
//! # When it is decided
//!
//! An exchange belongs to the first [stratum](Stratum) whose conditions hold. Those on the request's head are looked at before
//! anything is copied, and where u is not below the largest π that is still possible, nothing is. The others need the answer and are
//! looked at by the writer, as the answer is recorded, redacted; the exchange is then left out there. A size that cannot be known, because the answer cannot be
//! read or a currency has no rate, makes π = 1: nothing is thinned out of ignorance. What failed booked nothing and has the size 0.

use std::fmt;
use std::sync::Arc;

use http::Request;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::amount::Amount;
use crate::business_key::BusinessKey;
use crate::exchange::{Exchange, PI_ONE, Sample, Unit};
use crate::ledger::Reading;
use crate::segment;

mod rate;
mod size;
mod stratum;

pub use rate::Rate;
pub use size::{INTERVAL_MAX, Sizes};
pub use stratum::Stratum;

/// The stratum of every exchange where none are configured.
pub(crate) const ALL: &str = "all";
/// The stratum of what no configured one takes.
pub(crate) const REST: &str = "rest";
/// The stratum of what was left out or lost before its own was known.
pub(crate) const UNDECIDED: &str = "undecided";

/// How many strata there can be.
pub const STRATA_MAX: usize = 64;

/// What makes u unpredictable. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

/// The sampling rules.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// The rate of what no stratum takes.
    rate: Rate,
    key: Option<Key>,
    strata: Vec<Stratum>,
    sizes: Sizes,
    /// Where exchanges have their order key, if that is what is drawn.
    order_key: Option<Arc<BusinessKey>>,
    census: bool,
}

/// The place of a stratum in [`Sampling::strata`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StratumId(u8);

/// What the head of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtHead {
    /// It is left out.
    Out(StratumId),
    /// It is kept, or that is not known yet.
    Open(Drawn),
}

/// What is known of an exchange's draw while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Absent where its unit is named in the request's body.
    u: Option<(u64, Unit)>,
    /// Absent where it depends on the answer.
    pi: Option<u64>,
    pub(crate) stratum: StratumId,
    /// The strata whose conditions on the head hold, a bit for each.
    of_head: u64,
}

/// What becomes of an exchange that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Kept(StratumId, Sample),
    Out(StratumId),
}

impl Key {
    /// Derives the key from a configured text.
    pub fn derive(text: &str) -> Self {
        let digest = Sha256::digest(text);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Sampling {
    /// Joins a rate with its key; without a key only everything can be recorded.
    pub fn new(rate: Rate, key: Option<Key>) -> Option<Self> {
        let sampling = Self { rate, key, ..Self::everything() };
        (sampling.key.is_some() || sampling.rate.is_one()).then_some(sampling)
    }

    /// Records everything.
    pub fn everything() -> Self {
        Self {
            rate: Rate::one(),
            key: None,
            strata: Vec::new(),
            sizes: Sizes::default(),
            order_key: None,
            census: false,
        }
    }

    /// Adds strata, whose chances need a key unless all are 1; `None` where there is none.
    pub fn with_strata(self, strata: Vec<Stratum>, sizes: Sizes) -> Option<Self> {
        let certain = strata.iter().all(|stratum| stratum.rate.is_one());
        (certain || self.key.is_some()).then_some(Self { strata, sizes, ..self })
    }

    /// Draws order keys, and traces where an exchange has none.
    #[must_use]
    pub fn by_order_key(self, order_key: Arc<BusinessKey>) -> Self {
        Self { order_key: Some(order_key), ..self }
    }

    /// Looks at the money of all exchanges, so that none is left out before its answer.
    #[must_use]
    pub fn with_census(self) -> Self {
        Self { census: true, ..self }
    }

    /// Returns whether the money of all exchanges is added up.
    pub fn has_census(&self) -> bool {
        self.census
    }

    /// Returns whether what exchanges booked must be known.
    pub fn needs_reading(&self) -> bool {
        self.census || self.strata.iter().any(Stratum::needs_reading)
    }

    /// Draws at a request's head.
    #[inline]
    pub(crate) fn draw<B>(&self, trace_id: u128, request: &Request<B>) -> AtHead {
        if self.strata.is_empty() && self.order_key.is_none() {
            let (u, pi) = (self.number(trace_id), self.rate.pi());
            if u >= pi && !self.census {
                return AtHead::Out(StratumId(0));
            }
            let u = Some((u, Unit::Trace));
            return AtHead::Open(Drawn { u, pi: Some(pi), stratum: StratumId(0), of_head: 0 });
        }
        self.draw_of_stratum(trace_id, request)
    }

    fn draw_of_stratum<B>(&self, trace_id: u128, request: &Request<B>) -> AtHead {
        let by_trace = || (self.number(trace_id), Unit::Trace);
        let u = match &self.order_key {
            None => Some(by_trace()),
            Some(source) => match source.in_head(request) {
                Some(order_key) => Some((self.number_of_order_key(&order_key), Unit::OrderKey)),
                None if source.json.is_some() => None,
                None => Some(by_trace()),
            },
        };
        let matching =
            StratumId::all().zip(&self.strata).filter(|(_, stratum)| stratum.has_head(request));
        let of_head = matching.fold(0, |bits, (id, _)| bits | id.bit());
        let (stratum, pi, pi_max) = self.at_head(of_head);
        if u.is_some_and(|(u, _)| u >= pi_max) && !self.census {
            return AtHead::Out(stratum);
        }
        AtHead::Open(Drawn { u, pi, stratum, of_head })
    }

    /// Returns the stratum and π where the head alone says them, and the largest π that is possible.
    fn at_head(&self, of_head: u64) -> (StratumId, Option<u64>, u64) {
        let mut pi_max = 0;
        for (id, stratum) in self.of_head(of_head) {
            let is_certain = pi_max == 0 && stratum.is_of_head();
            let most = if stratum.interval.is_some() { PI_ONE } else { stratum.rate.pi() };
            pi_max = pi_max.max(most);
            if is_certain {
                let pi = stratum.interval.is_none().then_some(stratum.rate.pi());
                return (id, pi, pi_max);
            }
            if stratum.is_of_head() {
                return (self.undecided(), None, pi_max);
            }
        }
        if pi_max == 0 {
            return (self.rest(), Some(self.rate.pi()), self.rate.pi());
        }
        (self.undecided(), None, pi_max.max(self.rate.pi()))
    }

    /// Decides on an exchange that has ended, by what it booked, where that is needed.
    pub(crate) fn decide(
        &self,
        drawn: Drawn,
        trace_id: u128,
        exchange: &Exchange,
        reading: Option<&Reading>,
    ) -> Decision {
        let (u, unit) = drawn.u.unwrap_or_else(|| match &exchange.order_key {
            Some(order_key) => (self.number_of_order_key(order_key), Unit::OrderKey),
            None => (self.number(trace_id), Unit::Trace),
        });
        let (stratum, pi, size) = match drawn.pi {
            Some(pi) => (drawn.stratum, pi, None),
            None => self.chance(drawn.of_head, exchange, reading),
        };
        if u >= pi {
            return Decision::Out(stratum);
        }
        let name = self.name(stratum).to_owned();
        Decision::Kept(stratum, Sample { unit, pi, draw: u, stratum: name, size })
    }

    fn chance(
        &self,
        of_head: u64,
        exchange: &Exchange,
        reading: Option<&Reading>,
    ) -> (StratumId, u64, Option<Amount>) {
        let mut possible = self.of_head(of_head);
        let Some((id, stratum)) =
            possible.find(|(_, stratum)| stratum.has_answer(exchange, reading))
        else {
            return (self.rest(), self.rate.pi(), None);
        };
        let Some(interval) = stratum.interval else { return (id, stratum.rate.pi(), None) };
        let size = stratum::booked(reading).and_then(|booked| self.sizes.of(booked));
        let pi = size.map_or(PI_ONE, |size| size::chance(size, interval, stratum.rate.pi()));
        (id, pi, size)
    }

    /// Returns the names of all strata, each at the place that its id says.
    pub(crate) fn names(&self) -> Vec<String> {
        let ids = StratumId::all().take_while(|id| *id <= self.undecided());
        ids.map(|id| self.name(id).to_owned()).collect()
    }

    fn name(&self, id: StratumId) -> &str {
        match self.strata.get(usize::from(id.0)) {
            Some(stratum) => &stratum.name,
            None if self.strata.is_empty() => ALL,
            None if id == self.rest() => REST,
            None => UNDECIDED,
        }
    }

    fn of_head(&self, of_head: u64) -> impl Iterator<Item = (StratumId, &Stratum)> {
        StratumId::all().zip(&self.strata).filter(move |(id, _)| of_head & id.bit() != 0)
    }

    fn rest(&self) -> StratumId {
        StratumId::all().nth(self.strata.len()).unwrap_or_default()
    }

    /// Returns the stratum of what is left out or lost before its own is known.
    pub(crate) fn undecided(&self) -> StratumId {
        if self.strata.is_empty() { StratumId(0) } else { StratumId(self.rest().0 + 1) }
    }

    /// Returns the rules for a segment's header.
    pub(crate) fn rule(&self) -> segment::Sampling {
        let unit = if self.order_key.is_some() { Unit::OrderKey } else { Unit::Trace };
        let rule = match (self.strata.is_empty() && self.rate.is_one(), unit) {
            (true, _) => "everything",
            (false, Unit::Trace) => "trace",
            (false, Unit::OrderKey) => "order_key",
        };
        let strata = self.strata.iter().map(|stratum| segment::Stratum {
            name: stratum.name.clone(),
            rate: stratum.rate.text().into(),
            pi: stratum.rate.pi(),
            interval: stratum.interval,
        });
        segment::Sampling {
            rule: rule.into(),
            rate: self.rate.text().into(),
            pi: self.rate.pi(),
            strata: strata.collect(),
            census: self.census,
        }
    }

    /// Returns u of a trace; 0 without a key.
    #[inline]
    fn number(&self, trace_id: u128) -> u64 {
        self.key.as_ref().map_or(0, |key| key.number(&trace_id.to_be_bytes()))
    }

    fn number_of_order_key(&self, order_key: &str) -> u64 {
        let text = format!("order key {order_key}");
        self.key.as_ref().map_or(0, |key| key.number(text.as_bytes()))
    }
}

#[cfg(test)]
impl Sampling {
    /// Draws for a request that says nothing; `None` leaves it out.
    pub(crate) fn draw_plain(&self, trace_id: u128) -> Option<Drawn> {
        match self.draw(trace_id, &Request::new(())) {
            AtHead::Open(drawn) => Some(drawn),
            AtHead::Out(_) => None,
        }
    }
}

#[cfg(test)]
impl Drawn {
    /// The draw where everything is recorded.
    pub(crate) fn of_everything() -> Self {
        let (u, pi) = (Some((0, Unit::Trace)), Some(PI_ONE));
        Self { u, pi, stratum: StratumId(0), of_head: 0 }
    }
}

impl Key {
    /// Returns u, an integer over 2⁵³.
    #[inline]
    fn number(&self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(bytes) >> 11
    }
}

impl StratumId {
    /// Returns every id, the configured strata's first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    pub(crate) fn place(self) -> usize {
        self.0.into()
    }

    /// Returns the bit of a configured stratum, of which there are at most [`STRATA_MAX`].
    fn bit(self) -> u64 {
        1_u64.checked_shl(self.0.into()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
