//! A class of exchanges with its own chance of being recorded.

use http::{HeaderName, Request};

use crate::amount::Amount;
use crate::exchange::Exchange;
use crate::ledger::{Path, Reading, Route, Transaction};

use super::Rate;

/// One `[[stratum]]`. An exchange belongs to the first whose conditions all hold.
#[derive(Clone, Debug)]
pub struct Stratum {
    /// Its name, in samples and accounts.
    pub name: String,
    /// The requests' method and path.
    pub route: Option<Route>,
    /// A field of the request, and its values.
    pub header: Option<(HeaderName, Vec<String>)>,
    /// A value of the answer, which is JSON, and its values.
    pub answer: Option<(Path, Vec<String>)>,
    /// The lines of business, of which the exchange books in one at least.
    pub lines_of_business: Vec<String>,
    /// The chance; the least one where there is an interval.
    pub rate: Rate,
    /// The size from which on everything is recorded, in the reporting currency; below it the chance is in proportion.
    pub interval: Option<Amount>,
}

impl Stratum {
    /// Returns whether the conditions on the request's head hold.
    pub(super) fn has_head<B>(&self, request: &Request<B>) -> bool {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let is_of_route = self.route.as_ref().is_none_or(|route| route.matches(method, path));
        let has_field = |(name, values): &(HeaderName, Vec<String>)| {
            let mut given = request.headers().get_all(name).iter();
            given.any(|given| values.iter().any(|value| value.as_bytes() == given.as_bytes()))
        };
        is_of_route && self.header.as_ref().is_none_or(has_field)
    }

    /// Returns whether the conditions on the head are all there are.
    pub(super) fn is_of_head(&self) -> bool {
        self.answer.is_none() && self.lines_of_business.is_empty()
    }

    /// Returns whether what the exchange booked must be known.
    pub(super) fn needs_reading(&self) -> bool {
        !self.lines_of_business.is_empty() || self.interval.is_some()
    }

    /// Returns whether the conditions on the answer hold. One that cannot be read has no value and no line of business.
    pub(super) fn has_answer(&self, exchange: &Exchange, reading: Option<&Reading>) -> bool {
        self.has_value(exchange).unwrap_or(false)
            && (self.lines_of_business.is_empty()
                || booked(reading).is_some_and(|booked| self.books_in_one(booked)))
    }

    fn has_value(&self, exchange: &Exchange) -> Option<bool> {
        let Some((path, values)) = &self.answer else { return Some(true) };
        let text = exchange.response.as_ref()?.body.text.as_ref()?;
        let document: serde_json::Value = serde_json::from_str(text).ok()?;
        let found = path.all(&document).ok()?;
        Some(found.into_iter().any(|value| match value {
            serde_json::Value::String(text) => values.contains(text),
            serde_json::Value::Number(number) => values.contains(&number.to_string()),
            serde_json::Value::Bool(flag) => values.contains(&flag.to_string()),
            _ => false,
        }))
    }

    fn books_in_one(&self, booked: &[Transaction]) -> bool {
        let mut entries = booked.iter().flat_map(|transaction| &transaction.entries);
        entries.any(|entry| self.lines_of_business.contains(&entry.line_of_business))
    }
}

/// Returns what was booked, where it could be read.
pub(super) fn booked(reading: Option<&Reading>) -> Option<&[Transaction]> {
    match reading? {
        Reading::Booked(booked) => Some(booked),
        Reading::Failed => Some(&[]),
        Reading::Unmapped(_) | Reading::Unparseable(_) => None,
    }
}
