//! What the ledger mapping reads from recorded traffic, without a candidate: the first step of adoption.
//!
//! [`Summary`] is pure: it takes exchanges one by one and keeps bounded counts; its text is drawn by `render`, which asks `next`
//! what stands in the way of certifying.

use std::collections::BTreeMap;

use shadow_recorder::exchange::{Exchange, Request};
use shadow_recorder::ledger::{Mapping, Reading, Transaction};

use crate::totals::{Money, Place};

mod next;
mod render;

/// Routes counted by name; exchanges of further ones are counted together.
pub const ROUTES_MAX: usize = 200;
/// Different reasons counted per route; further ones are counted together.
pub const REASONS_MAX: usize = 100;
/// Places (line of business × GL account × currency) summed; further ones are counted.
pub const PLACES_MAX: usize = 10_000;
/// Characters of the answer that is shown beside what was read from it.
pub const EXAMPLE_CHARS_MAX: usize = 1_200;

/// What was read from recorded exchanges.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    routes: BTreeMap<String, Route>,
    places: BTreeMap<Place, Sum>,
    places_left_out: u64,
    overflowed: bool,
    transactions: u64,
    unbalanced: u64,
    unbalanced_example: Option<String>,
    example: Option<Example>,
}

/// What became of the answers of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub(crate) mapped: u64,
    pub(crate) empty: u64,
    pub(crate) failed: u64,
    pub(crate) unmapped: u64,
    pub(crate) unparseable: u64,
    pub(crate) broken_off: u64,
    reasons: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    money: Money,
    lines: u64,
}

/// One answer beside what was read from it.
#[derive(Clone, Debug)]
struct Example {
    exchange_id: String,
    request: String,
    answer: String,
    transactions: Vec<Transaction>,
}

impl Summary {
    /// Adds an exchange.
    pub fn add(&mut self, mapping: &Mapping, exchange: &Exchange) {
        let read = exchange.response.as_ref().zip(mapping.read_exchange(exchange));
        let Some((response, reading)) = read else {
            self.route(mapping, &exchange.request).broken_off += 1;
            return;
        };
        let route = self.route(mapping, &exchange.request);
        match reading {
            Reading::Booked(transactions) if transactions.iter().all(|t| t.entries.is_empty()) => {
                route.empty += 1;
            }
            Reading::Booked(transactions) => {
                route.mapped += 1;
                self.add_transactions(exchange, &transactions);
                self.keep_example(exchange, transactions);
            }
            Reading::Failed => route.failed += 1,
            Reading::Unmapped(_) => {
                route.unmapped += 1;
                route.count_reason(format!("no [[ledger]] for status {}", response.status));
            }
            Reading::Unparseable(reason) => {
                route.unparseable += 1;
                route.count_reason(reason);
            }
        }
    }

    /// Returns the number of exchanges added.
    pub fn exchanges(&self) -> u64 {
        self.routes.values().map(Route::exchanges).sum()
    }

    /// Returns what became of the answers of all routes.
    pub(crate) fn counts(&self) -> Route {
        self.routes.values().fold(Route::default(), |sum, route| Route {
            mapped: sum.mapped + route.mapped,
            empty: sum.empty + route.empty,
            failed: sum.failed + route.failed,
            unmapped: sum.unmapped + route.unmapped,
            unparseable: sum.unparseable + route.unparseable,
            broken_off: sum.broken_off + route.broken_off,
            reasons: BTreeMap::new(),
        })
    }

    fn broken_off(&self) -> u64 {
        self.counts().broken_off
    }

    fn route(&mut self, mapping: &Mapping, request: &Request) -> &mut Route {
        let rule =
            mapping.rules.iter().find(|rule| rule.route.matches(&request.method, request.path()));
        let named = rule.map_or_else(
            || format!("{} {}", request.method, request.path()),
            |rule| rule.route.to_string(),
        );
        // Paths without a rule hold ids: without a limit each would be a route of its own.
        let name = if self.routes.len() < ROUTES_MAX || self.routes.contains_key(&named) {
            named
        } else {
            "(other routes)".into()
        };
        self.routes.entry(name).or_default()
    }

    fn add_transactions(&mut self, exchange: &Exchange, transactions: &[Transaction]) {
        for transaction in transactions {
            self.transactions += 1;
            if !transaction.balances() {
                self.unbalanced += 1;
                self.unbalanced_example.get_or_insert_with(|| exchange.id.to_string());
            }
            for entry in &transaction.entries {
                let place = Place {
                    line_of_business: entry.line_of_business.clone(),
                    gl_account: entry.gl_account.clone(),
                    currency: entry.currency.clone(),
                    ..Place::default()
                };
                if self.places.len() == PLACES_MAX && !self.places.contains_key(&place) {
                    self.places_left_out += 1;
                    continue;
                }
                let sum = self.places.entry(place).or_default();
                sum.lines += 1;
                match sum
                    .money
                    .plus(Money { debit: entry.debit.units(), credit: entry.credit.units() })
                {
                    Ok(money) => sum.money = money,
                    Err(_) => self.overflowed = true,
                }
            }
        }
    }

    fn keep_example(&mut self, exchange: &Exchange, transactions: Vec<Transaction>) {
        if self.example.is_some() {
            return;
        }
        let body = exchange
            .response
            .as_ref()
            .and_then(|response| response.body.text.as_deref())
            .unwrap_or_default();
        self.example = Some(Example {
            exchange_id: exchange.id.to_string(),
            request: format!("{} {}", exchange.request.method, exchange.request.target),
            answer: body.to_owned(),
            transactions,
        });
    }
}

impl Route {
    fn exchanges(&self) -> u64 {
        self.mapped + self.empty + self.failed + self.unmapped + self.unparseable + self.broken_off
    }

    fn count_reason(&mut self, reason: String) {
        let is_kept = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason);
        *self
            .reasons
            .entry(if is_kept { reason } else { "(other reasons)".into() })
            .or_default() += 1;
    }

    /// The commonest reasons first.
    fn commonest(&self, at_most: usize) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> =
            self.reasons.iter().map(|(reason, count)| (&**reason, *count)).collect();
        reasons.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        reasons.truncate(at_most);
        reasons
    }
}

#[cfg(test)]
mod tests;
