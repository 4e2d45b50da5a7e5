//! All that a recorder runs by.

use std::path::Path;
use std::sync::Arc;

use super::egress::{Egress, egress};
use super::recorder::{self, Recorder};
use super::redaction::{Redaction, redaction, require_key};
use super::upstream::{Upstream, upstreams};
use super::{ConfigError, Document, Environment};
use crate::ledger::{Mapping, config::mapping};
use crate::redact::Redactor;
use crate::store::Store;

/// The checked configuration of a recorder.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service's name.
    pub service: String,
    /// The production build behind the recorder.
    pub build: String,
    /// Where segments go.
    pub store: Store,
    /// The sidecar itself.
    pub recorder: Recorder,
    /// The systems that the service calls through it.
    pub upstreams: Vec<Upstream>,
    /// The other ways by which its calls come.
    pub egress: Egress,
    /// How money is read; checked here, so that a mistake is found before a replay needs it.
    pub mapping: Mapping,
    /// What is removed before anything is written.
    pub redaction: Redaction,
    /// The same, ready to be applied.
    pub redactor: Arc<Redactor>,
}

impl Config {
    /// Reads and checks the configuration; every mistake is reported.
    pub fn load(path: &Path, environment: Environment) -> Result<Self, ConfigError> {
        let text = super::read(path)?;
        let document = Document::parse(path, &text, environment)?;
        let service = recorder::service_in_production(&document);
        let store = super::store::store(&document);
        let sidecar = recorder::recorder(&document, &host_name(environment));
        let upstreams = upstreams(&document);
        let egress = egress(&document, &upstreams);
        let mapping = mapping(&document, &upstreams);
        let redaction = redaction(&document, &upstreams, &mapping);
        require_key(&document, &redaction);
        check_business_keys(&document, sidecar.as_ref(), &upstreams);
        let reads = sidecar.as_ref().is_some_and(|sidecar| sidecar.sampling.needs_reading());
        if reads && mapping.rules.is_empty() {
            document.mistake_of_all(
                "`census`, `line_of_business` and `interval` need [[ledger]], which says what an answer books".into(),
            );
        }
        document.finish()?;
        // Whatever is absent here was reported above.
        let absent = || ConfigError::Mistakes(vec!["  a section is incomplete".into()]);
        let (service, build) = service.ok_or_else(absent)?;
        Ok(Self {
            service,
            build,
            store: store.ok_or_else(absent)?,
            recorder: sidecar.ok_or_else(absent)?,
            upstreams,
            egress,
            mapping,
            redactor: redaction.redactor().ok_or_else(absent)?,
            redaction,
        })
    }
}

/// A key on one side only attributes nothing.
fn check_business_keys(
    document: &Document<'_>,
    recorder: Option<&Recorder>,
    upstreams: &[Upstream],
) {
    let of_exchanges = recorder.is_none_or(|recorder| recorder.business_key.is_some());
    let of_calls = upstreams.iter().find(|upstream| upstream.business_key.is_some());
    match (of_exchanges, of_calls) {
        (false, Some(upstream)) => document.mistake_of_all(format!(
            "[[upstream]] {}: `business_key` needs [recorder.business_key], which says where the exchange has the key",
            upstream.name
        )),
        (true, None) if recorder.is_some() => document.mistake_of_all(
            "[recorder.business_key] needs the `business_key` of an [[upstream]], which says where a call has the key".into(),
        ),
        _ => {}
    }
}

fn host_name(environment: Environment) -> String {
    environment("HOSTNAME")
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "recorder".into())
}
