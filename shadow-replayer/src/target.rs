//! The candidate's address as it was checked: its name is looked up once, and only what was checked is ever connected to.

use std::net::SocketAddr;

use shadow_recorder::config::upstream::Origin;
use tokio::net::lookup_host;

/// A candidate whose addresses a replay may connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it was given.
    pub origin: Origin,
    /// Every address of its name, in the order of the resolver. A name that later resolves to another address changes nothing.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// Looks the name up.
    pub(crate) async fn resolve(origin: &Origin) -> std::io::Result<Self> {
        let (host, port) = origin.host_port();
        let addresses = lookup_host((&*host, port)).await?.collect();
        Ok(Self { origin: origin.clone(), addresses })
    }
}
