//! `[[upstream]]`: the systems that the service calls.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json_path::JsonPath;

use super::business_key::business_key;
use super::recorder::{checked_name, required_origin};
use super::{At, Document, Table};
use crate::business_key::BusinessKey;
use crate::redact::is_credential;

/// `[[upstream]]`: a system that the service calls.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in recordings.
    pub name: String,
    /// Where the service reaches it: the recorder listens here in production, the stub in a replay. Absent where the service reaches it
    /// by a listener for all.
    pub listen: Option<SocketAddr>,
    /// Where it really is, `http://HOST:PORT` or `https://HOST:PORT`.
    pub forward_to: Origin,
    /// The names under which the service asks for it at a listener for all, lower-case; with a port where it is not the scheme's own.
    pub hosts: Vec<String>,
    /// Whom to trust to be it, by `https`: PEM certificates instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the service posts its journal entries to it.
    pub sink: bool,
    /// How old a recorded ambient answer may be in a replay; absent where calls outside an exchange are never answered.
    pub ambient_age_max: Option<Duration>,
    /// Fields that must match as well, lower-case.
    pub match_headers: Vec<String>,
    /// Paths of the JSON body that differ from call to call and are left out of the match.
    pub volatile: Vec<JsonPath>,
    /// Where a call has the business key of its exchange.
    pub business_key: Option<BusinessKey>,
}

/// An origin `http://HOST:PORT` or `https://HOST:PORT`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is reached by TLS.
    pub tls: bool,
    /// `HOST:PORT`, as it stands in a `Host` field.
    pub authority: http::uri::Authority,
}

impl Origin {
    /// Reads an origin without TLS; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origin = Self::parse_any(text)?;
        if origin.tls {
            return Err(format!(
                "`{text}` uses TLS, which is for upstreams only: write http://HOST:PORT"
            ));
        }
        Ok(origin)
    }

    /// Reads an origin; the error says what to write instead.
    pub fn parse_any(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("`{text}` {what}: write http://HOST:PORT"));
        let Ok(uri) = text.parse::<http::Uri>() else { return wrong("is not an address") };
        let tls = uri.scheme_str() == Some("https");
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_))
                if uri.path() != "/" && !uri.path().is_empty() || uri.query().is_some() =>
            {
                wrong("has a path")
            }
            (Some("http" | "https"), Some(authority)) if !port_is_sound(authority) => {
                wrong("has no port from 1 to 65535")
            }
            (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => {
                Ok(Self { tls, authority: authority.clone() })
            }
            _ => wrong("is not an origin"),
        }
    }

    /// Returns the host and the port, the scheme's own where none is written.
    pub fn host_port(&self) -> (String, u16) {
        let host = self.authority.host().trim_matches(['[', ']']);
        let port = if self.tls { 443 } else { 80 };
        (host.to_owned(), self.authority.port_u16().unwrap_or(port))
    }
}

/// A port that is no number would silently be taken for 80.
fn port_is_sound(authority: &http::uri::Authority) -> bool {
    let host_alone = authority.as_str().len() == authority.host().len();
    host_alone || authority.port_u16().is_some_and(|port| port > 0)
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Takes `[[upstream]]`.
pub fn upstreams(document: &Document<'_>) -> Vec<Upstream> {
    let mut names = BTreeSet::new();
    let mut listens = BTreeSet::new();
    let mut upstreams = Vec::new();
    for mut table in document.sections("upstream") {
        let name = table.required("name").and_then(|name| checked_name(&table, name));
        let listen = table.address("listen");
        let upstream = upstream(&mut table, name.clone(), listen);
        if name.is_some_and(|name| !names.insert(name)) {
            table.mistake("another upstream has this name");
        }
        if listen.is_some_and(|listen| listen.port() != 0 && !listens.insert(listen)) {
            table.mistake("another upstream listens at this address: each needs its own");
        }
        if listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            table.mistake(
                "`listen` must be a loopback address: anyone who reaches it reaches the upstream",
            );
        }
        table.finish(&[
            "name",
            "listen",
            "forward_to",
            "hosts",
            "ca_file",
            "sink",
            "ambient_age_max",
            "match_headers",
            "volatile",
            "business_key",
        ]);
        upstreams.extend(upstream);
    }
    upstreams
}

fn upstream(
    table: &mut Table<'_, '_>,
    name: Option<String>,
    listen: Option<SocketAddr>,
) -> Option<Upstream> {
    let forward_to = required_origin(table, "forward_to", Origin::parse_any);
    let own = |origin: &Origin| host_name(origin.authority.as_str(), origin.tls);
    let hosts = match table.texts("hosts") {
        Some(hosts) => hosts.into_iter().filter_map(|host| checked_host(table, &host)).collect(),
        None => forward_to.iter().map(own).collect(),
    };
    let ca_file = table.text("ca_file").map(|path| table.document().resolve(&path.value));
    let sink = table.flag("sink").unwrap_or(false);
    let ambient_age_max = table.duration("ambient_age_max");
    let headers = table.texts("match_headers").unwrap_or_default();
    for header in &headers {
        if is_credential(&header.value.to_ascii_lowercase()) {
            let what = format!(
                "`{}` is a credential, which is not recorded and so matches nothing",
                header.value
            );
            table.mistake_at(header, &what);
        }
    }
    let mut volatile = Vec::new();
    for path in table.texts("volatile").unwrap_or_default() {
        match JsonPath::parse(&path.value) {
            Ok(parsed) => volatile.push(parsed),
            Err(error) => {
                table.mistake_at(&path, &format!("`{}` is not a JSONPath: {error}", path.value));
            }
        }
    }
    let business_key = business_key(table);
    Some(Upstream {
        name: name?,
        listen,
        forward_to: forward_to?,
        hosts,
        ca_file,
        sink,
        ambient_age_max,
        match_headers: headers
            .into_iter()
            .map(|header| header.value.to_ascii_lowercase())
            .collect(),
        volatile,
        business_key,
    })
}

/// Returns a host as a `Host` field has it: in lower case, without a port that goes without saying.
pub(super) fn host_name(host: &str, tls: bool) -> String {
    let name = host.to_ascii_lowercase();
    name.strip_suffix(if tls { ":443" } else { ":80" }).unwrap_or(&name).to_owned()
}

/// A name as a `Host` field has it, without a port that goes without saying.
fn checked_host(table: &Table<'_, '_>, host: &At<String>) -> Option<String> {
    if Origin::parse(&format!("http://{}", host.value)).is_ok() {
        return Some(host_name(&host.value, false));
    }
    table.mistake_at(host, &format!("`{}` is not a host: write HOST or HOST:PORT", host.value));
    None
}
