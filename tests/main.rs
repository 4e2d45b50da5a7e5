//! The programs from end to end: real processes, real sockets, real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// Little HTTP, shared with the example.
#[path = "../shadow-analyzer/examples/quickstart/http.rs"]
#[expect(dead_code, reason = "the example needs more of it")]
mod http;
/// Processes, ports and folders.
mod harness;
/// The quickstart does what the README shows.
mod quickstart;
/// Record → replay → certify → report, and what lies between.
mod pipeline;
/// The same with the store in a bucket.
mod bucket;
/// What the mapping reads of a range, whole, damaged or empty.
mod map;
/// Entries read from what the service sends to a sink.
mod sink;
/// Entries that are brought instead of replayed.
mod supplied;
/// An accounting server that nobody here wrote.
mod hledger;
/// What must not be written is found nowhere, and its recording still certifies.
mod redaction;
/// Bad input: a clear error, nothing lost, never certified.
mod bad_input;
/// The questions to the journal, asked of a real database.
mod sql;
/// The repository keeps its own rules.
mod tidy;
