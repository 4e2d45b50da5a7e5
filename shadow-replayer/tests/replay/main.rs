//! The replayer's program, run as its users run it, against recordings that the tests write and candidates that they play.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod candidate;
mod recording;
mod upstream;
mod world;

mod filters;
mod authentication;
mod carry;
mod isolation;
mod latest;
mod noise;
mod order;
mod pace;
mod progress;
mod run;
mod durable;
mod kill;
mod kubernetes;
mod segments;
mod sent;
mod state;
mod stub;
mod trial;
