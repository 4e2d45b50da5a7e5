//! FORMAT: the money of all observed exchanges, recorded or not, so that it is known how much of it a sample covers.
//!
//! With `census = true` the answers of all exchanges are read by the ledger mapping, and what they booked is added up per line of
//! business, general-ledger account, currency and side. Sums are exact. What the recorder dropped before it could be read is not in
//! them: `observed` less `exchanges` of an interval.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::{Entry, Reading, Transaction};

/// Cells of one segment; what comes in further ones is added up per currency alone.
pub const CELLS_MAX: usize = 10_000;

/// What exchanges booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Exchanges whose answers were looked at.
    pub exchanges: u64,
    /// Those among them that could not be read: no rule of the mapping is for them, or they are unparseable.
    pub unread: u64,
    /// What the others booked, in the order of the cells.
    #[serde(with = "cells")]
    pub cells: BTreeMap<Cell, Sums>,
}

/// Where money is booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The line of business; absent where there are more cells than [`CELLS_MAX`].
    pub line_of_business: Option<String>,
    /// The general-ledger account; absent where there are more cells than [`CELLS_MAX`].
    pub gl_account: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
}

/// What was booked in one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Entries that debit.
    pub debit_entries: u64,
    /// What they debit, in units of 10⁻⁹.
    pub debit_units: i128,
    /// Entries that credit.
    pub credit_entries: u64,
    /// What they credit, in units of 10⁻⁹.
    pub credit_units: i128,
}

impl Census {
    /// Adds an exchange.
    pub(crate) fn read(&mut self, reading: Option<&Reading>) {
        self.exchanges += 1;
        match reading {
            Some(Reading::Booked(booked)) => self.book(booked),
            Some(Reading::Failed) => {}
            Some(Reading::Unmapped(_) | Reading::Unparseable(_)) | None => self.unread += 1,
        }
    }

    fn book(&mut self, booked: &[Transaction]) {
        for entry in booked.iter().flat_map(|transaction| &transaction.entries) {
            let cell = Cell {
                line_of_business: Some(entry.line_of_business.clone()),
                gl_account: Some(entry.gl_account.clone()),
                currency: entry.currency.clone(),
            };
            self.add_to(cell, &Sums::of(entry));
        }
    }

    /// Adds another interval.
    pub fn add(&mut self, other: &Self) {
        self.exchanges += other.exchanges;
        self.unread += other.unread;
        for (cell, sums) in &other.cells {
            self.add_to(cell.clone(), sums);
        }
    }

    fn add_to(&mut self, mut cell: Cell, sums: &Sums) {
        if self.cells.len() >= CELLS_MAX && !self.cells.contains_key(&cell) {
            cell = Cell { currency: cell.currency, ..Cell::default() };
        }
        self.cells.entry(cell).or_default().add(sums);
    }
}

impl Sums {
    fn of(entry: &Entry) -> Self {
        let is_credit = entry.debit.is_zero() && !entry.credit.is_zero();
        Self {
            debit_entries: u64::from(!is_credit),
            debit_units: entry.debit.units(),
            credit_entries: u64::from(is_credit),
            credit_units: entry.credit.units(),
        }
    }

    // An amount is below 10²⁷ units, so that sums of 10¹¹ entries fit.
    fn add(&mut self, other: &Self) {
        self.debit_entries += other.debit_entries;
        self.debit_units = self.debit_units.saturating_add(other.debit_units);
        self.credit_entries += other.credit_entries;
        self.credit_units = self.credit_units.saturating_add(other.credit_units);
    }
}

/// Cells as a list of objects, with sums as texts.
mod cells {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Cell, Sums};
    use crate::amount::{format_units, parse_units};

    #[derive(Serialize, Deserialize)]
    struct Row {
        line_of_business: Option<String>,
        gl_account: Option<String>,
        currency: String,
        debit_entries: u64,
        debit: String,
        credit_entries: u64,
        credit: String,
    }

    pub(super) fn serialize<S: Serializer>(
        cells: &BTreeMap<Cell, Sums>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(cells.iter().map(|(cell, sums)| Row {
            line_of_business: cell.line_of_business.clone(),
            gl_account: cell.gl_account.clone(),
            currency: cell.currency.clone(),
            debit_entries: sums.debit_entries,
            debit: format_units(sums.debit_units),
            credit_entries: sums.credit_entries,
            credit: format_units(sums.credit_units),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Cell, Sums>, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        let read = |row: Row| {
            let units = |text: &str| {
                parse_units(text).ok_or_else(|| D::Error::custom("a sum is no decimal"))
            };
            let sums = Sums {
                debit_entries: row.debit_entries,
                debit_units: units(&row.debit)?,
                credit_entries: row.credit_entries,
                credit_units: units(&row.credit)?,
            };
            let (line_of_business, gl_account) = (row.line_of_business, row.gl_account);
            Ok((Cell { line_of_business, gl_account, currency: row.currency }, sums))
        };
        rows.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transaction(entries: &[(&str, &str, &str, &str)]) -> Transaction {
        let entries = entries.iter().map(|(account, currency, debit, credit)| Entry {
            line_of_business: "Eats".into(),
            gl_account: (*account).into(),
            currency: (*currency).into(),
            debit: debit.parse().unwrap(),
            credit: credit.parse().unwrap(),
            ..Entry::default()
        });
        Transaction { key: None, entries: entries.collect() }
    }

    #[test]
    fn money_is_added_up_per_cell_and_side_and_what_is_not_read_is_counted() {
        let mut census = Census::default();
        let booked = transaction(&[
            ("4000", "USD", "0", "10.10"),
            ("1000", "USD", "10.10", "0"),
            ("4000", "EUR", "0", "-3"),
        ]);
        census.read(Some(&Reading::Booked(vec![booked.clone(), booked])));
        census.read(Some(&Reading::Failed));
        census.read(Some(&Reading::Unmapped(String::new())));
        census.read(Some(&Reading::Unparseable(String::new())));
        census.read(None);
        let text = serde_json::to_string(&census).unwrap();
        let expect = concat!(
            r#"{"exchanges":5,"unread":3,"cells":["#,
            r#"{"line_of_business":"Eats","gl_account":"1000","currency":"USD","debit_entries":2,"debit":"20.20","credit_entries":0,"credit":"0.00"},"#,
            r#"{"line_of_business":"Eats","gl_account":"4000","currency":"EUR","debit_entries":0,"debit":"0.00","credit_entries":2,"credit":"-6.00"},"#,
            r#"{"line_of_business":"Eats","gl_account":"4000","currency":"USD","debit_entries":0,"debit":"0.00","credit_entries":2,"credit":"20.20"}]}"#,
        );
        assert_eq!(text, expect);
        assert_eq!(serde_json::from_str::<Census>(&text).unwrap(), census);
    }

    #[test]
    fn money_of_too_many_cells_is_kept_per_currency() {
        let mut census = Census::default();
        for account in 0..=CELLS_MAX + 1 {
            let booked = transaction(&[(&account.to_string(), "USD", "1", "0")]);
            census.read(Some(&Reading::Booked(vec![booked])));
        }
        let other = Cell { currency: "USD".into(), ..Cell::default() };
        assert_eq!(census.cells[&other].debit_entries, 2);
        let sum: i128 = census.cells.values().map(|sums| sums.debit_units).sum();
        assert_eq!(sum, (CELLS_MAX as i128 + 2) * crate::amount::UNITS);
        let known = transaction(&[("7", "USD", "1", "0")]);
        census.read(Some(&Reading::Booked(vec![known])));
        assert_eq!(census.cells[&other].debit_entries, 2);
    }

    proptest! {
        #[test]
        fn sums_read_back(units: i64, debits: u64) {
            let sums = Sums { debit_entries: debits, debit_units: i128::from(units) * 1_000_000_007, ..Sums::default() };
            let census = Census { cells: [(Cell::default(), sums)].into(), ..Census::default() };
            let text = serde_json::to_string(&census).unwrap();
            prop_assert_eq!(serde_json::from_str::<Census>(&text).unwrap(), census);
        }
    }
}
