//! Records production exchanges of a service that books money: a sidecar between clients, the service and its upstreams.
//!
//! # The data path
//!
//! A client's connection is accepted by `proxy` from one of the `listeners` and driven by `connection`: one task for it and for the
//! connection to the service that belongs to it alone (`pinned`), whose halves meet in a `link`. Each request passes four layers:
//! `front` refuses what no recipient may accept; `record` asks [`sampling`] whether the exchange is recorded, copies the head, names the
//! exchange in the trace context and tees the body; `hop_by_hop` removes what belongs to the connection; `forward` sends it to the
//! service. The answer comes back the same way, streaming; interim answers pass beside it, and an upgraded connection becomes a tunnel.
//! HTTP/1 is hyper's on both sides, HTTP/2 h2's own: `http2_server` gives each stream a task, in which `http2_client` sends it on, and
//! where one side's stream is reset, the other's is with the same code.
//! The service's own calls enter by a listener per upstream, or by one for all (`egress`), and pass the same layers; there `record` asks
//! `attribution` which open exchange the call belongs to. When both bodies have ended the `observation` reports to `capture`, which
//! waits for late calls, closes the exchange and puts it into the writer's queue. The `writer`, a thread of its own, decodes bodies
//! ([`grpc`] ones by their descriptors), redacts what the rules select ([`redact`]), writes lines, and syncs one frame per interval to
//! the `spool`. A full or old segment is sealed and handed to `upload`, which puts it into the [`store`], then its [`manifest`], then
//! removes the spool file.
//!
//! `proxy` and its layers run on the runtime of whoever calls [`Recorder::run`], by default one thread. The `writer` and the `log` have a
//! thread each; `upload`, the `admin` listener and the closing of exchanges share another (`background`).
//!
//! # Stopping and restarting
//!
//! SIGTERM: [`listeners`](ListenError) close after what waits in them, answers say `connection: close`, what has begun is finished within
//! `grace` (`traffic`), the queue is written, the last segment sealed and stored. A second signal ends all that at once and leaves the rest
//! in the spool. Where sockets are passed to the recorder, or handed over to the next one, the port is never closed. Each start has
//! its own files in the spool and a lock on them, so that two starts overlap without touching each other's.
//!
//! # Invariants
//!
//! - Nothing of the recording is awaited on the way of a request: locks are short, the queue is tried and never waited for, and files
//!   are written by another thread.
//! - Bodies stream; a copy is bounded per body and over all bodies, and giving it up leaves the original alone.
//! - A request is changed by nothing but the removal of hop-by-hop fields, `traceparent`, `tracestate` and, on egress, `Host`.
//! - Credentials are removed where a head is copied, before anything is queued; what the rules select, before anything is written.
//! - Every exchange received is recorded, counted as sampled out or counted as dropped with its reason, exactly once; every frame on
//!   disk balances.
//! - A call is attributed with certainty or kept as ambient; nothing is guessed. Calls of exchanges that are not recorded are counted.
//! - A segment exists when its manifest does; committing it twice changes nothing.
//! - A panic while recording costs the capture that panicked.
//! - No thread that carries requests waits for a file or a log line.
//! - Time, ids and randomness come from [`clock`] alone.

pub mod config;
mod listeners;
mod hand_over;
pub mod log;
pub mod clock;
mod proxy;
mod lifetime;
mod connection;
mod relay;
mod client_io;
mod patience;
mod front;
mod egress;
mod record;
pub mod sampling;
mod switch;
mod hop_by_hop;
mod forward;
mod sent;
mod pinned;
mod received;
mod http2;
mod http2_server;
mod http2_client;
mod tls;
mod service_io;
mod link;
pub mod trace_context;
mod tee;
mod head;
pub mod redact;
mod observation;
mod capture;
mod attribution;
pub mod business_key;
pub mod census;
mod key_reader;
mod registry;
mod keys;
mod account;
pub mod body;
pub mod grpc;
mod batch;
mod writer;
mod spool;
mod lock;
mod totals;
mod upload;
mod metrics;
mod health;
mod admin;
mod background;
mod traffic;
mod recorder;
mod summary;
mod signal;
mod check;
pub mod host;
pub mod exchange;
pub mod segment;
pub mod manifest;
pub mod store;
pub mod catalog;
pub mod inventory;
pub mod hold;
pub mod expiry;
pub mod har;
pub mod table;
pub mod cli;
pub mod digest;
pub mod amount;
pub mod ledger;

pub use check::check;
pub use config::sidecar::Config;
pub use hand_over::TakeOverError;
pub use listeners::{ListenError, Passed};
pub use recorder::{BindError, Recorder, RunError, runtime};
pub use signal::{Shutdown, stop_on_signal};
pub use spool::SpoolError;
pub use summary::{StopError, Summary};
pub use tls::TlsError;
