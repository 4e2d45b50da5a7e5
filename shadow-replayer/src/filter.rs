//! Which exchanges of a range a run replays. Pure.
//!
//! An exchange that is left out is *filtered* with a reason, and its money not examined. The sub-sample is another matter: what it
//! draws stands for the rest, each exchange by its π, so that the rest is estimated.
//!
//! ```text
//! s  = ⌊sample × 2⁵³⌋
//! π′ = max(1, ⌊π × s / 2⁵³⌋)                         the exchange's π from here on, an integer over 2⁵³
//! drawn where u < π′                                 u: the unit's number in the recording, which kept it because u < π
//!    or where h < s                                  where the recording has no such number: sampling had no key
//! h  = the first 53 bits of SHA-256(service, range, unit), unit: the order key where there is one, else the trace id
//! ```
//!
//! So a trace or an order key is drawn as a whole, the same input draws the same exchanges, and a smaller share draws among those of a
//! larger one. Rounding makes π′ too small by less than 2⁻⁵³.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{End, Exchange, PI_ONE, Unit, header};
use shadow_recorder::ledger::{Mapping, Reading, Route};
use shadow_recorder::sampling::Rate;

use crate::run::Run;

/// The reason of an exchange for which those of the sub-sample stand.
pub const NOT_DRAWN: &str = "not in the sub-sample";

/// What is asked of a range. Everything that is given must hold; nothing given leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Replay only this route, written as in [[ledger]]: "METHOD /path"; may be given several times.
    #[arg(long = "route", value_name = "ROUTE", value_parser = route)]
    pub routes: Vec<String>,
    /// Replay only what production booked in this line of business; may be given several times.
    #[arg(long = "line-of-business", value_name = "NAME")]
    pub lines_of_business: Vec<String>,
    /// Replay only this stratum of the recording; may be given several times.
    #[arg(long = "stratum", value_name = "NAME")]
    pub strata: Vec<String>,
    /// Replay this share, drawn by trace or order key, for example 0.1; what is drawn stands for the rest.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub sample: Option<String>,
}

fn route(text: &str) -> Result<String, String> {
    Route::parse(text).map(|_| text.into())
}

fn share(text: &str) -> Result<String, String> {
    Rate::parse(text).map(|rate| rate.text().into())
}

/// Why an exchange is not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Its money is not examined.
    Filtered(String),
    /// Those of the sub-sample stand for it.
    NotDrawn,
}

/// Decides which exchanges of a run are replayed.
#[derive(Clone, Debug)]
pub struct Filter {
    build: Option<String>,
    only: BTreeSet<String>,
    routes: Vec<Route>,
    lines_of_business: BTreeSet<String>,
    strata: BTreeSet<String>,
    /// The share of the sub-sample over 2⁵³.
    share: Option<u64>,
    seed: String,
}

impl Filter {
    /// Takes what was asked of a run; the error says what of it cannot be read.
    pub fn of(run: &Run) -> Result<Self, String> {
        let asked = &run.settings.selection;
        let share = asked.sample.as_deref().map(Rate::parse).transpose()?;
        Ok(Self {
            build: run.evidence.primary_build.clone(),
            only: run.settings.only.clone(),
            routes: asked.routes.iter().map(|text| Route::parse(text)).collect::<Result<_, _>>()?,
            lines_of_business: asked.lines_of_business.iter().cloned().collect(),
            strata: asked.strata.iter().cloned().collect(),
            share: share.map(|rate| rate.pi()),
            seed: format!("{} {} {}", run.service, run.from, run.to),
        })
    }

    /// Returns the π that an exchange has in the run, and why it is not replayed, if it is not.
    pub fn judge(&self, exchange: &Exchange, mapping: &Mapping) -> (u64, Option<LeftOut>) {
        if let Some(why) = self.left_out(exchange, mapping) {
            return (exchange.sample.pi, Some(LeftOut::Filtered(why)));
        }
        let (pi, is_drawn) = self.draw(exchange);
        (pi, (!is_drawn).then_some(LeftOut::NotDrawn))
    }

    fn left_out(&self, exchange: &Exchange, mapping: &Mapping) -> Option<String> {
        let request = &exchange.request;
        if self.build.as_ref() != Some(&exchange.build) {
            return Some(format!("recorded from build {}", exchange.build));
        }
        if !self.only.is_empty() && !self.only.contains(&exchange.id.0) {
            return Some("not asked for".into());
        }
        if let Some(why) = unrepeatable(exchange) {
            return Some(why.into());
        }
        let of_route = |route: &Route| route.matches(&request.method, request.path());
        if !self.routes.is_empty() && !self.routes.iter().any(of_route) {
            return Some("of no route that was asked for".into());
        }
        if !self.strata.is_empty() && !self.strata.contains(&exchange.sample.stratum) {
            return Some("of no stratum that was asked for".into());
        }
        if !self.lines_of_business.is_empty() && !self.may_book(exchange, mapping) {
            return Some("booked in no line of business that was asked for".into());
        }
        None
    }

    /// Returns whether production booked in a line of business that was asked for, or nobody knows where it booked.
    fn may_book(&self, exchange: &Exchange, mapping: &Mapping) -> bool {
        match mapping.read_exchange(exchange) {
            Some(Reading::Booked(transactions)) => {
                let mut entries = transactions.iter().flat_map(|transaction| &transaction.entries);
                entries.any(|entry| self.lines_of_business.contains(&entry.line_of_business))
            }
            Some(Reading::Failed) => false,
            None | Some(Reading::Unmapped(_) | Reading::Unparseable(_)) => true,
        }
    }

    /// Returns the π of an exchange, and whether it is drawn.
    fn draw(&self, exchange: &Exchange) -> (u64, bool) {
        let sample = &exchange.sample;
        let Some(share) = self.share else { return (sample.pi, true) };
        let product = u128::from(sample.pi) * u128::from(share) / u128::from(PI_ONE);
        let pi = u64::try_from(product).unwrap_or(PI_ONE).max(1);
        let is_drawn = match (&exchange.order_key, sample.unit) {
            (Some(key), Unit::Trace) => self.number("order key", key) < share,
            (Some(key), Unit::OrderKey) if sample.draw == 0 => {
                self.number("order key", key) < share
            }
            (None, _) if sample.draw == 0 => self.number("trace", &exchange.trace_id) < share,
            _ => sample.draw < pi,
        };
        (pi, is_drawn)
    }

    /// Returns a unit's number over 2⁵³.
    fn number(&self, kind: &str, unit: &str) -> u64 {
        let digest = sha256(format!("{} {kind} {unit}", self.seed));
        u64::from_str_radix(&digest[..16], 16).unwrap_or(0) >> 11
    }
}

/// Returns why an exchange cannot be replayed at all, though nothing is wrong with it.
fn unrepeatable(exchange: &Exchange) -> Option<&'static str> {
    let request = &exchange.request;
    let response = exchange.response.as_ref();
    let is_upgrade = request.method == "CONNECT"
        || header(&request.headers, "sec-websocket-key").is_some()
        || response.is_some_and(|response| response.status == 101);
    if is_upgrade {
        return Some("an upgraded connection, such as a WebSocket");
    }
    let media = response.and_then(|response| header(&response.headers, "content-type"));
    let media = media.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let is_stream = ["text/event-stream", "multipart/x-mixed-replace"]
        .iter()
        .any(|stream| media.eq_ignore_ascii_case(stream));
    if is_stream {
        return Some("an answer without an end, such as an event stream");
    }
    // A request that changes something is sent all the same: what comes after it builds on it.
    let was_cut = matches!(exchange.end, End::ClientAborted | End::Truncated);
    let changes_nothing = matches!(&*request.method, "GET" | "HEAD" | "OPTIONS");
    (was_cut && changes_nothing)
        .then_some("production's answer was cut, and the request changes nothing")
}

#[cfg(test)]
mod tests;
