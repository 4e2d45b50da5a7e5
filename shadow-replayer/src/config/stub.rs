//! `[replay.stub]`: where the stub listens, and for whom.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use shadow_recorder::config::egress::egress;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::config::{Document, Table};

use super::assume::assumptions;
use crate::assume::Assumption;

/// `[replay.stub]`, and `[egress]` as it is in a replay. Where the stub listens for one upstream is that upstream's `listen`.
#[derive(Clone, Debug, Default)]
pub struct Stub {
    /// One listener for all upstreams: the `Host` of a call says which is meant.
    pub by_host: Option<SocketAddr>,
    /// The listener for a candidate that has a forward proxy set by `HTTP_PROXY`.
    pub proxy: Option<SocketAddr>,
    /// The name by which the candidate reaches this host, where that is no address of a listener.
    pub advertise: Option<String>,
    /// By what it speaks TLS; where absent it does not.
    pub certificate: Option<Certificate>,
    /// By how much recorded durations of upstream calls are multiplied before an answer is given; nothing: it is given at once.
    pub latency: Option<f64>,
    /// Answered exchanges with recorded upstream calls after which a run ends whose candidate never called the stub.
    pub unused_exchanges_max: u64,
    /// Bytes of the recorded calls that belong to no exchange, all of which are in memory.
    pub ambient_bytes_max: usize,
    /// Whether the candidate calls upstreams of its own, and there is no stub.
    pub own_upstreams: bool,
    /// Declared calls that production did not make.
    pub assume: Vec<Assumption>,
}

/// By what the stub speaks TLS, beside plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// By this one.
    Files {
        /// The certificate and those that lead to its authority, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// By one made for the run, which is written to this file, PEM.
    SelfSigned(PathBuf),
}

/// An upstream of such a name has its address in its own `listen`.
const KEYS: [&str; 11] = [
    "listen",
    "advertise",
    "by_host",
    "proxy",
    "latency",
    "latency_factor",
    "unused_exchanges_max",
    "ambient_bytes_max",
    "certificate",
    "key",
    "self_signed",
];

/// Takes `[replay.stub]`, `[[replay.assume]]` and `[egress]`; sets where the stub listens for each upstream.
pub(super) fn stub(
    document: &Document<'_>,
    replay: &mut Table<'_, '_>,
    upstreams: &mut [Upstream],
) -> Stub {
    let mut table = replay.table("stub");
    let host = table.as_mut().and_then(host);
    let mut place = |key: &str, recorded: Option<SocketAddr>| {
        let own = table.as_mut().and_then(|table| address(table, key, host));
        own.or_else(|| recorded.map(|recorded| at(host, recorded)))
    };
    for upstream in upstreams.iter_mut() {
        let key = if KEYS.contains(&&*upstream.name) { "" } else { &upstream.name };
        upstream.listen = place(key, upstream.listen);
    }
    let egress = egress(document, upstreams);
    let (by_host, proxy) = (place("by_host", egress.by_host), place("proxy", egress.proxy));
    let advertise = table.as_mut().and_then(|table| table.parsed("advertise", named));
    let latency = table.as_mut().and_then(latency);
    let certificate = table.as_mut().and_then(certificate);
    let mut number =
        |key, default| table.as_mut().and_then(|table| table.integer(key, 1)).unwrap_or(default);
    let unused_exchanges_max = number("unused_exchanges_max", 20);
    let ambient_bytes_max = usize::try_from(number("ambient_bytes_max", 1 << 26));
    if let Some(table) = table {
        let names = upstreams.iter().map(|upstream| &*upstream.name);
        table.finish(&KEYS.into_iter().chain(names).collect::<Vec<_>>());
    }
    Stub {
        by_host,
        proxy,
        advertise,
        certificate,
        latency,
        unused_exchanges_max,
        ambient_bytes_max: ambient_bytes_max.unwrap_or(usize::MAX),
        own_upstreams: own_upstreams(replay, upstreams),
        assume: assumptions(replay, upstreams),
    }
}

fn certificate(table: &mut Table<'_, '_>) -> Option<Certificate> {
    let mut path = |key| table.text(key).map(|path| table.document().resolve(&path.value));
    match (path("certificate"), path("key"), path("self_signed")) {
        (None, None, None) => None,
        (Some(certificate), Some(key), None) => Some(Certificate::Files { certificate, key }),
        (None, None, Some(path)) => Some(Certificate::SelfSigned(path)),
        _ => {
            table.mistake("write `certificate` and `key`, or `self_signed` alone");
            None
        }
    }
}

fn latency(table: &mut Table<'_, '_>) -> Option<f64> {
    let recorded = table.parsed("latency", |text| match text {
        "skip" => Ok(false),
        "recorded" => Ok(true),
        other => Err(format!("`latency` is `{other}`: write \"skip\" or \"recorded\"")),
    });
    let factor = table.parsed("latency_factor", |text| {
        let factor = text.parse().ok().filter(|factor: &f64| (0.0..=100.0).contains(factor));
        factor.ok_or_else(|| {
            format!("`{text}` is not a factor: write a number up to 100, for example \"0.5\"")
        })
    });
    (recorded == Some(true)).then(|| factor.unwrap_or(1.0))
}

/// Takes `upstreams` of `[replay]`.
fn own_upstreams(replay: &mut Table<'_, '_>, upstreams: &[Upstream]) -> bool {
    let Some(text) = replay.text("upstreams") else { return false };
    match &*text.value {
        "recorded" => false,
        "own" => {
            for sink in upstreams.iter().filter(|upstream| upstream.sink) {
                let what = format!(
                    "`upstreams = \"own\"` leaves what the candidate posts to sink {} unseen: a sink needs the stub",
                    sink.name
                );
                replay.mistake_at(&text, &what);
            }
            true
        }
        other => {
            let what = format!("`upstreams` is `{other}`: write \"recorded\" or \"own\"");
            replay.mistake_at(&text, &what);
            false
        }
    }
}

/// Takes `listen`, by which the stub serves other hosts than this.
fn host(table: &mut Table<'_, '_>) -> Option<IpAddr> {
    table.parsed("listen", |text| {
        text.parse()
            .map_err(|_| format!("`{text}` is not an IP address: write one, for example 0.0.0.0"))
    })
}

fn at(host: Option<IpAddr>, recorded: SocketAddr) -> SocketAddr {
    host.map_or(recorded, |host| SocketAddr::new(host, recorded.port()))
}

fn address(table: &mut Table<'_, '_>, key: &str, host: Option<IpAddr>) -> Option<SocketAddr> {
    let address = table.address(key)?;
    if host.is_none() && !address.ip().is_loopback() {
        table.mistake(&format!(
            "`{key}` is no loopback address, and recorded answers would be open to others: set `listen` to its IP address if that is meant"
        ));
    }
    Some(address)
}

fn named(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a host's name or IP address");
    let host: http::uri::Authority = text.parse().map_err(|_| wrong())?;
    if host.as_str() == host.host() { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn taken(toml: &str) -> (Stub, Option<SocketAddr>, String) {
        let toml = format!("[[upstream]]\nname = \"fx\"\nforward_to = \"http://fx\"\n{toml}");
        let document = Document::parse(Path::new("shadow.toml"), &toml, |_| None).unwrap();
        let mut upstreams = shadow_recorder::config::upstream::upstreams(&document);
        let stub = stub(&document, &mut document.section("replay"), &mut upstreams);
        let said = document.finish().err().map_or_else(String::new, |error| error.to_string());
        (stub, upstreams[0].listen, said)
    }

    #[test]
    fn the_stub_listens_where_the_recorder_did_unless_it_is_told_otherwise() {
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let (stub, listen, said) =
            taken("listen = \"127.0.0.1:9\"\n[egress]\nproxy = \"127.0.0.1:8\"");
        assert_eq!(
            (stub.proxy, listen, &*said),
            (address("127.0.0.1:8"), address("127.0.0.1:9"), "")
        );
        let (stub, listen, said) = taken(
            "listen = \"127.0.0.1:9\"\n[egress]\nby_host = \"127.0.0.1:8\"\n[replay.stub]\nby_host = \"127.0.0.1:7\"\nlisten = \"0.0.0.0\"\nadvertise = \"ci-7\"",
        );
        assert_eq!(
            (stub.by_host, listen, &*said),
            (address("127.0.0.1:7"), address("0.0.0.0:9"), "")
        );
        assert_eq!(stub.advertise.as_deref(), Some("ci-7"));
    }

    #[test]
    fn answers_are_open_to_others_only_where_that_is_said() {
        let said = taken("[replay.stub]\nfx = \"10.0.0.1:9\"").2;
        assert!(said.contains("set `listen` to its IP address"), "{said}");
        let said = taken("[replay.stub]\nlisten = \"10.0.0.1\"\nfx = \"10.0.0.1:9\"").2;
        assert_eq!(said, "");
        let said = taken("[replay.stub]\nadvertise = \"http://ci\"\nlisten = \"here\"\nfy = 1").2;
        for part in ["not a host's name", "not an IP address", "unknown key `fy`"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let said = taken("listen = \"127.0.0.1:9\"\nsink = true\n[replay]\nupstreams = \"own\"\n[replay.stub]\nkey = \"k\"\nlatency = \"slow\"\nlatency_factor = \"x\"").2;
        for part in [
            "a sink needs the stub",
            "or `self_signed` alone",
            "write \"skip\" or \"recorded\"",
            "not a factor",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let said = taken("").2;
        assert!(said.contains("fx: `listen` is missing: set it, or [egress]"), "{said}");
    }
}
