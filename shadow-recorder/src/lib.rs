//! Records production exchanges of a service that books money.

pub mod config;
pub mod exchange;
pub mod segment;
pub mod manifest;
pub mod store;
pub mod amount;
pub mod ledger;
