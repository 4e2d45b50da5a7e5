//! The recorder as it is deployed: the real binary, real sockets, a real store.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and shows the recorder's log"
)]

mod harness;
// The descriptors and messages of a service that speaks gRPC.
mod protobuf;
// The ways of the service's calls.
mod egress;
// A request through the proxy and what is recorded of it.
mod exchange;
// What is recorded of content that is no plain text, and of what follows it.
mod rendering;
// gRPC as it is: over HTTP/2.
mod grpc;
// Which calls belong to which exchange when many are open at once, and what a sample leaves out.
mod correlation;
// Which exchanges are kept, and the money of all.
mod sampling;
// Calls that come late, for nobody, to a sink, or while something is over a limit.
mod attribution;
// Clients, services and disks that fail.
mod failure;
// Clients that never pause.
mod load;
// The admin listener, the switch, the signals.
mod operation;
// A restart that no client notices.
mod restart;
// What networks and servers do between a client and the S3 server.
mod faults;
// A bucket that is asked through them.
mod bucket;
// The recorder whose bucket is away.
mod outage;
// Looking at what was recorded, and how long it is kept.
mod look;
// Stopping, being killed, and starting again.
mod stop;
// Being killed, often.
mod kill;
// Configurations that cannot be used.
mod usage;
