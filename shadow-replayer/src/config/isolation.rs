//! `[replay.isolation]`: the probe on the candidate's side, and what it tries to reach.

use std::net::SocketAddr;

use shadow_recorder::config::upstream::{Origin, Upstream};
use shadow_recorder::config::{At, Table};

/// The probe on the candidate's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Where it answers; absent where there is none.
    pub listen: Option<SocketAddr>,
    /// What it tries to reach, beside the default gateway.
    pub outside: Vec<Origin>,
}

/// Public addresses that are there for everybody; a rule for IPv4 alone leaves the last one open.
const PUBLIC: [&str; 3] = ["1.1.1.1:443", "8.8.8.8:53", "[2606:4700:4700::1111]:443"];

/// Takes `isolation` from `[replay]`. Production's upstreams are tried, whatever else is.
pub(super) fn take(replay: &mut Table<'_, '_>, upstreams: &[Upstream]) -> Isolation {
    let mut table = replay.table("isolation");
    let listen = table.as_mut().and_then(|table| {
        let listen = table.address("listen")?;
        if !listen.ip().is_loopback() || listen.port() == 0 {
            table.mistake("`listen` must be a loopback address with a port: what is asked there must share the replayer's network");
        }
        Some(listen)
    });
    let given = table.as_mut().and_then(|table| {
        let given = table.texts("probe")?;
        Some(given.iter().filter_map(|text| address(table, text)).collect())
    });
    if let Some(table) = table {
        table.finish(&["listen", "probe"]);
    }
    let public = || PUBLIC.iter().filter_map(|text| parsed(text).ok()).collect();
    let mut outside: Vec<Origin> = given.unwrap_or_else(public);
    outside.extend(upstreams.iter().map(|upstream| upstream.forward_to.clone()));
    Isolation { listen, outside }
}

fn address(table: &Table<'_, '_>, text: &At<String>) -> Option<Origin> {
    parsed(&text.value).map_err(|what| table.mistake_at(text, &what)).ok()
}

fn parsed(text: &str) -> Result<Origin, String> {
    let origin = Origin::parse(&format!("http://{text}")).ok();
    let origin = origin.filter(|origin| origin.authority.port_u16().is_some());
    origin.ok_or_else(|| format!("`{text}` is no address to probe: write HOST:PORT"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shadow_recorder::config::{Document, upstream};

    use super::*;

    fn taken(toml: &str) -> (Isolation, String) {
        let toml = format!(
            "[[upstream]]\nname = \"fx\"\nforward_to = \"https://fx\"\nlisten = \"127.0.0.1:9\"\n{toml}"
        );
        let document = Document::parse(Path::new("shadow.toml"), &toml, |_| None).unwrap();
        let upstreams = upstream::upstreams(&document);
        let isolation = take(&mut document.section("replay"), &upstreams);
        let said = document.finish().err().map_or_else(String::new, |error| error.to_string());
        (isolation, said)
    }

    fn outside(isolation: &Isolation) -> Vec<String> {
        isolation.outside.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_upstreams_are_tried_beside_what_is_given() {
        let (isolation, said) = taken("");
        assert_eq!((isolation.listen, &*said), (None, ""));
        assert_eq!(
            outside(&isolation),
            [
                "http://1.1.1.1:443",
                "http://8.8.8.8:53",
                "http://[2606:4700:4700::1111]:443",
                "https://fx"
            ]
        );
        let (isolation, said) = taken(
            "[replay.isolation]\nlisten = \"127.0.0.1:9190\"\nprobe = [\"db.internal:5432\"]",
        );
        assert_eq!((isolation.listen.map(|at| at.port()), &*said), (Some(9_190), ""));
        assert_eq!(outside(&isolation), ["http://db.internal:5432", "https://fx"]);
    }

    #[test]
    fn mistakes_are_told_with_what_to_write() {
        let said = taken(
            "[replay.isolation]\nlisten = \"0.0.0.0:9190\"\nprobe = [\"db.internal\", \"a b:1\"]\nport = 1",
        )
        .1;
        for part in [
            "must be a loopback address",
            "`db.internal` is no address to probe: write HOST:PORT",
            "`a b:1` is no address",
            "unknown key `port`",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
