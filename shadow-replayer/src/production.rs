//! A replay books money: it never goes where production or its upstreams are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use shadow_recorder::config::upstream::Origin;
use shadow_recorder::manifest::Manifest;
use shadow_recorder::segment::{Header, Line, Reader};
use tokio::net::lookup_host;

use crate::RunError;
use crate::config::Config;
use crate::plan::Found;

/// Refuses a candidate that is an address of production: configured as an upstream, or written in the recordings' headers.
pub(crate) async fn refuse(
    config: &Config,
    candidate: &Origin,
    found: &Found,
) -> Result<(), RunError> {
    let mut production: Vec<(String, String)> = Vec::new();
    for upstream in &config.upstreams {
        production.push((
            format!("upstream {}", upstream.name),
            upstream.forward_to.authority.to_string(),
        ));
    }
    for newest in newest_per_instance(found) {
        let Some(header) = header(config, newest).await else { continue };
        // A loopback address is the recorded host's own: it is production's only while that recorder still runs here.
        let runs = !newest.last;
        let recorded = [("the service".to_owned(), header.service_address)].into_iter();
        let upstreams = header.upstream_addresses.into_iter();
        let recorded =
            recorded.chain(upstreams.map(|(name, address)| (format!("upstream {name}"), address)));
        production.extend(recorded.filter(|(_, address)| runs || !is_loopback(address)));
    }
    let candidates = addresses(candidate.authority.as_str()).await;
    for (what, address) in production {
        let same_name = address.eq_ignore_ascii_case(candidate.authority.as_str());
        if same_name || addresses(&address).await.iter().any(|address| candidates.contains(address))
        {
            return Err(RunError::Usage(format!(
                "--candidate {candidate} is {what} in production, and a replay books money: give the address of the release candidate"
            )));
        }
    }
    Ok(())
}

fn newest_per_instance(found: &Found) -> impl Iterator<Item = &Manifest> {
    let mut newest: BTreeMap<&str, &Manifest> = BTreeMap::new();
    for manifest in &found.manifests {
        let known = newest.entry(&manifest.instance).or_insert(manifest);
        if manifest.sealed_at > known.sealed_at {
            *known = manifest;
        }
    }
    newest.into_values()
}

/// Reads the header of a segment, where it can be read; where not, the replay reports the segment as a loss.
pub(crate) async fn header(config: &Config, manifest: &Manifest) -> Option<Header> {
    let bytes = config.store.get(&manifest.segment).await.ok()?;
    let lines = Reader::<Line>::new(&bytes).next_frame()?;
    lines
        .into_iter()
        .find_map(|line| if let Line::Header(header) = line { Some(header) } else { None })
}

/// Returns every socket address of `HOST[:PORT]`; none where the name is not known here.
async fn addresses(authority: &str) -> Vec<SocketAddr> {
    let Ok(origin) = Origin::parse(&format!("http://{authority}")) else { return Vec::new() };
    let (host, port) = origin.host_port();
    lookup_host((&*host, port)).await.map(Iterator::collect).unwrap_or_default()
}

fn is_loopback(authority: &str) -> bool {
    let host = Origin::parse(&format!("http://{authority}")).map(|origin| origin.host_port().0);
    host.is_ok_and(|host| {
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    })
}
