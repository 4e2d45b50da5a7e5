//! Whom a replay may connect to: names and networks. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

/// The names and networks that a replay may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Network(IpNet),
    /// This name alone.
    Name(String),
    /// Every name that ends so, with the dot before it.
    Below(String),
}

impl Default for Allow {
    /// The machine itself.
    fn default() -> Self {
        let network = |text: &str| text.parse().ok().map(Entry::Network);
        Self { entries: ["127.0.0.0/8", "::1/128"].into_iter().filter_map(network).collect() }
    }
}

impl Allow {
    /// Reads the entries; the error says what to write instead.
    pub fn parse(entries: &[&str]) -> Result<Self, String> {
        let entries = entries.iter().map(|text| entry(text));
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// Returns the first address that is not allowed under this name.
    pub fn forbidden(&self, host: &str, addresses: &[SocketAddr]) -> Option<IpAddr> {
        let host = host.to_ascii_lowercase();
        let named = self.entries.iter().any(|entry| match entry {
            Entry::Network(_) => false,
            Entry::Name(name) => *name == host,
            Entry::Below(suffix) => host.ends_with(suffix.as_str()),
        });
        let allowed = |address: IpAddr| {
            self.entries.iter().any(|entry| match entry {
                Entry::Network(network) => network.contains(&address),
                Entry::Name(_) | Entry::Below(_) => false,
            })
        };
        if named {
            return None;
        }
        addresses.iter().map(|address| reached(address.ip())).find(|address| !allowed(*address))
    }
}

/// Returns the address that a connection to `address` reaches: the unspecified one is the machine itself, and an IPv4 address can be
/// written as an IPv6 one.
pub fn reached(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address }
}

fn entry(text: &str) -> Result<Entry, String> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(Entry::Network(network));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Entry::Network(address.into()));
    }
    let (suffix, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_name = name.split('.').all(|label| !label.is_empty() && label.chars().all(plain));
    // `10.0.0.0/33` and `10.0.0` are slips of the pen, not names.
    if !is_name || !name.chars().any(|c| c.is_ascii_alphabetic()) {
        return Err(format!(
            "`{text}` is neither a network nor a name: write 10.2.0.0/16, 10.2.0.7, rc.internal or *.staging.internal"
        ));
    }
    let name = name.to_ascii_lowercase();
    Ok(if suffix { Entry::Below(format!(".{name}")) } else { Entry::Name(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect()
    }

    #[test]
    fn by_default_only_the_machine_itself_is_allowed() {
        let allow = Allow::default();
        let own =
            addresses(&["127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"]);
        assert_eq!(allow.forbidden("localhost", &own), None);
        for other in ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "8.8.8.8"] {
            assert!(allow.forbidden("localhost", &addresses(&[other])).is_some(), "{other}");
        }
        // One address outside is enough: which one a connection takes is not known before.
        let mixed = addresses(&["127.0.0.1", "10.0.0.1"]);
        assert_eq!(allow.forbidden("rc", &mixed), Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn networks_addresses_and_names_are_allowed_as_written() {
        let allow = Allow::parse(&["10.2.0.0/16", "10.9.9.9", "rc.internal", "*.Staging.internal"]);
        let allow = allow.unwrap();
        let ok = |host: &str, ip: &str| allow.forbidden(host, &addresses(&[ip])).is_none();
        assert!(ok("x", "10.2.255.1") && ok("x", "10.9.9.9"));
        assert!(ok("RC.internal", "8.8.8.8") && ok("a.staging.internal", "8.8.8.8"));
        assert!(!ok("staging.internal", "8.8.8.8") && !ok("xrc.internal", "8.8.8.8"));
        assert!(!ok("evilstaging.internal", "8.8.8.8") && !ok("x", "127.0.0.1"));
        for wrong in ["10.0.0.0/33", "10.0.0", "", "*.", "*", "a..b", "http://a", "a:80"] {
            assert!(Allow::parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
