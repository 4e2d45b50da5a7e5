//! The proxy held to RFC 9110, 9112 and 9113 by raw sockets against the real binary. Every case says its section, what the client
//! and the origin send byte for byte, and what is expected: mostly, that the recorder makes no difference.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and shows the recorder's log"
)]

#[path = "../record/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of recording, which use more of it")]
mod harness;
// One end of a connection, read strictly.
mod wire;
// What both sides do in a case, and what they saw.
mod script;
// Cases that share a recorder, played directly and through it.
mod group;
// Requests that two parsers might read differently, and the origin that sees what became of them.
mod attack;
// Lengths, chunks, bodies and their absence.
mod framing;
// How messages follow each other on a connection, and how it ends.
mod connection;
// 100, 103 and answers that come early.
mod interim;
// 101 and what flows after it.
mod upgrade;
// Targets and fields that pass as they are.
mod fields;
// Fields that stay on their side.
mod hop_by_hop;
// Request smuggling, by length, by coding, by chunk and by the form of the head.
mod smuggling;
mod smuggling_chunks;
mod smuggling_head;
// Answers that are no answers.
mod bad_answers;
// Well-behaved HTTP/2 peers.
mod h2_peer;
// HTTP/2 passes as it is: messages, then streams and their ends.
mod h2_transparency;
mod h2_streams;
mod h2_interim;
mod h2_resets;
// HTTP/2 frames made by hand, and what no peer may accept of them.
mod frames;
mod h2_attacks;
mod h2_protocol;
mod h2_bad_answers;
// Clients that take their time.
mod slow;
// Peers that send without end.
mod flood;
