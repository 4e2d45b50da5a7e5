//! Which machine and network a process is on: loopback addresses mean something only there.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The machine and network of a recorder, and where clients reach it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The machine since its last start.
    pub machine: String,
    /// The network namespace: processes of one machine share loopback addresses only within it.
    pub network: String,
    /// Where the recorder listens in front of the service.
    pub listen: SocketAddr,
}

/// Returns the machine and network of this process; none where the system does not say.
pub fn own(listen: SocketAddr) -> Option<Host> {
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    let network = network.to_string_lossy().into_owned();
    Some(Host { machine: machine.trim().to_owned(), network, listen })
}

impl Host {
    /// Returns whether a process on this host, where it is known, reaches the same loopback addresses.
    pub fn shares_loopback_with(&self, other: &Self) -> bool {
        (&self.machine, &self.network) == (&other.machine, &other.network)
    }
}
