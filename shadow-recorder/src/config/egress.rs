//! `[egress]`: how the service's calls come to the recorder beside a listener for each upstream.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::Request;
use http::header::HOST;
use http::uri::{Authority, Scheme};

use super::upstream::{Upstream, host_name};
use super::{Document, Table};

/// `[egress]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// One listener for all upstreams: the `Host` of a call says which is meant.
    pub by_host: Option<SocketAddr>,
    /// A forward proxy, for a service that has one set by `HTTP_PROXY`.
    pub proxy: Option<SocketAddr>,
    /// What happens to calls through the forward proxy that go elsewhere, and to those that it cannot look into.
    pub unknown: Unknown,
}

/// What happens to calls to systems that are no configured upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// They pass, unrecorded and counted: refusing them would break production.
    #[default]
    Tunnel,
    /// They are refused.
    Refuse,
}

/// Takes `[egress]`, once the upstreams are known.
pub fn egress(document: &Document<'_>, upstreams: &[Upstream]) -> Egress {
    let mut table = document.section("egress");
    let by_host = loopback(&mut table, "by_host");
    let proxy = loopback(&mut table, "proxy");
    let unknown = match table.text("unknown") {
        None => Unknown::default(),
        Some(text) => match &*text.value {
            "tunnel" => Unknown::Tunnel,
            "refuse" => Unknown::Refuse,
            other => {
                let what = format!("`unknown` is `{other}`: write \"tunnel\" or \"refuse\"");
                table.mistake_at(&text, &what);
                Unknown::default()
            }
        },
    };
    if by_host.is_some() || proxy.is_some() {
        let mut known = BTreeSet::new();
        for host in upstreams.iter().flat_map(|upstream| &upstream.hosts) {
            if !known.insert(host) {
                table.mistake(&format!(
                    "`{host}` is a host of two upstreams: a call to it would belong to neither"
                ));
            }
        }
    }
    table.finish(&["by_host", "proxy", "unknown"]);
    let egress = Egress { by_host, proxy, unknown };
    for upstream in upstreams.iter().filter(|upstream| upstream.listen.is_none()) {
        if egress.by_host.or(egress.proxy).is_none() {
            document.mistake_of_all(format!(
                "[[upstream]] {}: `listen` is missing: set it, or [egress] by_host or proxy",
                upstream.name
            ));
        }
    }
    egress
}

fn loopback(table: &mut Table<'_, '_>, key: &str) -> Option<SocketAddr> {
    let address = table.address(key)?;
    if !address.ip().is_loopback() {
        table.mistake(&format!(
            "`{key}` must be a loopback address: whoever reaches it could call upstreams as the service"
        ));
    }
    Some(address)
}

/// Returns the name that a call asks for: of its target, else of its `Host`.
pub fn asked_host<B>(request: &Request<B>) -> Option<String> {
    let of_field = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let name = request.uri().authority().map(Authority::as_str).or_else(of_field)?;
    // Names are logged, and a user with a password is no part of one.
    let name = name.rsplit_once('@').map_or(name, |(_, host)| host);
    Some(host_name(name, request.uri().scheme() == Some(&Scheme::HTTPS)))
}
