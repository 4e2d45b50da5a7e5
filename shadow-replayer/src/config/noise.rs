//! What of `[replay]` tells the candidate's differences from others: the control, and what is compared beside the ledger mapping.

use std::net::SocketAddr;

use shadow_recorder::config::Table;
use shadow_recorder::config::upstream::{Origin, Upstream};
use shadow_recorder::ledger::{Mapping, Route};

use super::{Config, stub};
use crate::run::Settings;
use crate::structure::{Ignored, Rules, Selection};

/// Production's own build, replayed beside the candidate, or the candidate asked twice.
#[derive(Clone, Debug)]
pub struct Control {
    /// Where it listens.
    pub url: Option<Origin>,
    /// Whether each exchange is sent to the candidate twice.
    pub twice: bool,
    /// The upstreams with the addresses of the control's own stub; those that `[replay.control_stub]` does not name have none.
    pub upstreams: Vec<Upstream>,
    /// The listeners for all upstreams of the control.
    pub stub: stub::Stub,
}

impl Control {
    /// Adds to what is asked of a run what is asked of every run.
    pub fn asked(&self, settings: &Settings) -> Settings {
        let url = self.url.as_ref().map(ToString::to_string);
        let settings = settings.clone();
        Settings {
            control: settings.control.or(url),
            twice: settings.twice || self.twice,
            ..settings
        }
    }

    /// Returns the configuration in which the control takes the candidate's place.
    pub fn as_candidate(&self, config: &Config) -> Config {
        Config { upstreams: self.upstreams.clone(), stub: self.stub.clone(), ..config.clone() }
    }

    /// Returns an upstream that the control has no address for.
    pub fn without_stub(&self) -> Option<&str> {
        let serves_all = self.stub.by_host.is_some() || self.stub.proxy.is_some();
        let without = self.upstreams.iter().find(|upstream| upstream.listen.is_none());
        without.filter(|_| !serves_all && !self.stub.own_upstreams).map(|upstream| &*upstream.name)
    }
}

/// Takes `control`, `twice` and `[replay.control_stub]`, whose addresses are none of the candidate's.
pub(super) fn control(
    table: &mut Table<'_, '_>,
    upstreams: &[Upstream],
    candidate: &stub::Stub,
) -> Control {
    let url = table.parsed("control", Origin::parse);
    let twice = table.flag("twice").unwrap_or(false);
    let shared = [candidate.by_host, candidate.proxy];
    let known = upstreams.iter().map(|upstream| upstream.listen).chain(shared);
    let known: Vec<SocketAddr> = known.flatten().collect();
    let mut own = table.table("control_stub");
    let mut address = |key: &str| {
        let table = own.as_mut()?;
        let address = table.address(key)?;
        if known.contains(&address) {
            table.mistake(&format!(
                "{address} is the candidate's: the control needs an address of its own for {key}"
            ));
        }
        Some(address)
    };
    let mut upstreams = upstreams.to_vec();
    for upstream in &mut upstreams {
        upstream.listen = address(&upstream.name);
    }
    let (by_host, proxy) = (address("by_host"), address("proxy"));
    if let Some(own) = own {
        let names = upstreams.iter().map(|upstream| &*upstream.name);
        own.finish(&["by_host", "proxy"].into_iter().chain(names).collect::<Vec<_>>());
    }
    let stub = stub::Stub { by_host, proxy, ..candidate.clone() };
    Control { url, twice, upstreams, stub }
}

/// Takes `compare_headers`, `[[replay.ignore]]` and `[[replay.unordered]]`.
pub(super) fn structure(table: &mut Table<'_, '_>, mapping: &Mapping) -> Rules {
    let headers = table.texts("compare_headers").unwrap_or_default();
    let headers = headers.into_iter().map(|name| name.value.to_ascii_lowercase()).collect();
    let ignored = table.tables("ignore").into_iter().filter_map(ignored).collect();
    let unordered = table.tables("unordered").into_iter().filter_map(unordered).collect();
    Rules::new(headers, ignored, unordered, mapping)
}

fn ignored(mut table: Table<'_, '_>) -> Option<Ignored> {
    let selection = selection(&mut table);
    let reason = table.required("reason").and_then(|reason| {
        if reason.value.trim().is_empty() {
            table.mistake_at(&reason, "`reason` must say why the difference does not matter");
            return None;
        }
        Some(reason.value)
    });
    table.finish(&["route", "path", "reason"]);
    Some(Ignored { selection: selection?, reason: reason? })
}

fn unordered(mut table: Table<'_, '_>) -> Option<Selection> {
    let selection = selection(&mut table);
    table.finish(&["route", "path"]);
    selection
}

fn selection(table: &mut Table<'_, '_>) -> Option<Selection> {
    let route = table.has("route").then(|| table.parsed("route", Route::parse));
    let path = table.required("path")?;
    let made = match route {
        Some(None) => return None,
        route => Selection::new(route.flatten(), &path.value),
    };
    made.map_err(|what| table.mistake_at(&path, &what)).ok()
}
