//! The recorder as it is deployed: the real binary, real sockets, a real store.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and shows the recorder's log"
)]

mod harness;
// A request through the proxy and what is recorded of it.
mod exchange;
// Which calls belong to which exchange when many are open at once, and what a sample leaves out.
mod correlation;
// Calls that come late, for nobody, to a sink, or while something is over a limit.
mod attribution;
// Clients, services and disks that fail.
mod failure;
// Stopping, being killed, and starting again.
mod stop;
// Configurations that cannot be used.
mod usage;
