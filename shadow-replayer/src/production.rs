//! A replay books money: it never goes where production or its upstreams are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use shadow_recorder::config::upstream::Origin;
use shadow_recorder::host::{self, Host};
use shadow_recorder::manifest::Manifest;
use shadow_recorder::segment::{Header, Line, Reader};

use crate::RunError;
use crate::allow::reached;
use crate::config::Config;
use crate::isolation::is_listened_at;
use crate::plan::Found;
use crate::run::Settings;
use crate::target::Target;

/// Returns the addresses of the candidate that `option` names, all of which are allowed, and none of which is production's: configured
/// as an upstream, or written in the recordings' headers.
pub(crate) async fn checked(
    config: &Config,
    option: &str,
    candidate: &Origin,
    found: &Found,
) -> Result<Target, RunError> {
    let target = Target::resolve(candidate).await.map_err(|error| {
        RunError::Usage(format!(
            "{option} {candidate}: its name is not known here ({error}): give its address"
        ))
    })?;
    // That it is production is the graver mistake, and is said first.
    refuse_production(config, option, &target, found).await?;
    let (host, _) = candidate.host_port();
    let Some(address) = config.replay.candidate.allow.forbidden(&host, &target.addresses) else {
        return Ok(target);
    };
    Err(RunError::Usage(format!(
        "{option} {candidate} is at {address}, where a replay may not go: add it to [replay] allow, by its name or by its network"
    )))
}

/// Returns the addresses of the control, where one is asked for, under the candidate's conditions.
pub(crate) async fn checked_control(
    config: &Config,
    settings: &Settings,
    found: &Found,
) -> Result<Option<Target>, RunError> {
    let Some(url) = &settings.control else { return Ok(None) };
    let origin =
        Origin::parse(url).map_err(|what| RunError::Usage(format!("--control: {what}")))?;
    if let Some(upstream) = config.control.without_stub() {
        return Err(RunError::Usage(format!(
            "the control {url} needs upstreams of its own, so that its calls are not taken for the candidate's: set [replay.control_stub] {upstream} to an address"
        )));
    }
    checked(config, "--control", &origin, found).await.map(Some)
}

async fn refuse_production(
    config: &Config,
    option: &str,
    target: &Target,
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
        let runs = runs_here(newest, header.host.as_deref());
        let front = header.host.filter(|_| runs).map(|host| host.listen.to_string());
        let recorded = [Some(header.service_address), front].into_iter().flatten();
        let recorded = recorded.map(|address| ("the service".to_owned(), address));
        let upstreams = header.upstream_addresses.into_iter();
        let recorded =
            recorded.chain(upstreams.map(|(name, address)| (format!("upstream {name}"), address)));
        production.extend(recorded.filter(|(_, address)| runs || !is_loopback(address)));
    }
    let candidate = &target.origin;
    let same = |a: &SocketAddr, b: &SocketAddr| {
        let (recorded, candidate) = (reached(a.ip()), reached(b.ip()));
        // What listens at a loopback address may listen at the machine's others.
        let own = recorded.is_loopback() && is_own(candidate);
        a.port() == b.port() && (recorded == candidate || own)
    };
    for (what, address) in production {
        let same_name = address.eq_ignore_ascii_case(candidate.authority.as_str());
        let addresses = addresses(&address).await;
        let same_address = addresses.iter().any(|a| target.addresses.iter().any(|b| same(a, b)));
        if same_name || same_address {
            return Err(RunError::Usage(format!(
                "{option} {candidate} is {what} in production, and a replay books money: give the address of a build that serves nobody"
            )));
        }
    }
    Ok(())
}

/// Returns whether the recorder of a segment runs beside this process, so that its loopback addresses are production's here.
///
/// It does where it has not said that it stopped, its machine and network namespace are those of this process, and something listens
/// where it does: a recorder that was killed said nothing. Of an older segment only the first is known.
fn runs_here(newest: &Manifest, recorded: Option<&Host>) -> bool {
    let beside = |recorded: &Host| {
        let own = host::own(recorded.listen);
        own.is_none_or(|own| own.shares_loopback_with(recorded))
            && is_listened_at(recorded.listen).unwrap_or(true)
    };
    !newest.last && recorded.is_none_or(beside)
}

/// Returns whether an address is one of this machine's: only those can be bound.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
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
    Target::resolve(&origin).await.map(|target| target.addresses).unwrap_or_default()
}

fn is_loopback(authority: &str) -> bool {
    let host = Origin::parse(&format!("http://{authority}")).map(|origin| origin.host_port().0);
    host.is_ok_and(|host| {
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    })
}
