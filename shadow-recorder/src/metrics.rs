//! The recorder's metrics, registered into a registry that is passed in.
//!
//! | name | kind | meaning |
//! | --- | --- | --- |
//! | `shadow_recorder_exchanges_observed_total` | counter | exchanges received from clients |
//! | `shadow_recorder_exchanges_recorded_total` | counter | exchanges synced to the spool |
//! | `shadow_recorder_exchanges_sampled_out_total` | counter | exchanges that the sampling left out |
//! | `shadow_recorder_exchanges_dropped_total{reason}` | counter | exchanges that passed unrecorded: `calls_max`, `connections_max`, `disk`, `exchanges_open_max`, `head_bytes_max`, `line_bytes_max`, `memory_bytes_max`, `panic`, `queue_full`, `recording_off`, `shutdown`, `spool_bytes_max` |
//! | `shadow_recorder_recording` | gauge | 1 while what passes is recorded; 0 while that is switched off, or paused by a fault |
//! | `shadow_recorder_exchanges_open` | gauge | exchanges whose answer or upstream calls are still awaited |
//! | `shadow_recorder_queue_exchanges` | gauge | exchanges and ambient calls waiting for the writer |
//! | `shadow_recorder_copied_bytes` | gauge | bytes of copied heads and bodies held in memory |
//! | `shadow_recorder_upstream_calls_total{attribution}` | counter | upstream calls: `attributed`, `ambiguous`, `unattributed`, `late`, or `sampled_out`: of an exchange that is not recorded |
//! | `shadow_recorder_upstream_calls_dropped_total` | counter | upstream calls not recorded, with their exchange or alone |
//! | `shadow_recorder_unseen_dependencies_total{kind}` | counter | requests of the service through the forward proxy that cannot be recorded: `connect`, `unknown_host`, `refused` |
//! | `shadow_recorder_business_keys_unread_total` | counter | exchanges and calls whose business key could not be read, because of their body or because too many waited |
//! | `shadow_recorder_unanswered_total` | counter | requests that the service or an upstream did not answer, so that the proxy did |
//! | `shadow_recorder_requests_refused_total` | counter | malformed requests that were refused and are no exchanges |
//! | `shadow_recorder_bodies_omitted_total{reason}` | counter | bodies not stored: `over_limit`, `unknown_coding`, `binary`, `truncated`, `grpc`, `unknown_schema`, `unredactable` |
//! | `shadow_recorder_spool_bytes` | gauge | bytes of segments on the local disk |
//! | `shadow_recorder_segment_bytes_total` | counter | compressed bytes synced to the spool |
//! | `shadow_recorder_segments_sealed_total` | counter | segments closed |
//! | `shadow_recorder_segments_committed_total` | counter | segments committed to the store by their manifest |
//! | `shadow_recorder_segments_damaged_total` | counter | spool files of an earlier start that were torn or unreadable, or whose name in the store is taken by another content |
//! | `shadow_recorder_upload_failures_total` | counter | failed attempts to put a segment into the store |
//! | `shadow_recorder_upload_refusals_total` | counter | those of them that the bucket refused for the credentials or what they allow: a person has to mend that |

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::account::Reason;
use crate::exchange::{Attribution, Omission};

// A label's value always comes from an enum's own name.
type Label = [(&'static str, &'static str); 1];

/// The recorder's metrics; the table is the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) exchanges_observed: Counter,
    pub(crate) exchanges_recorded: Counter,
    pub(crate) exchanges_sampled_out: Counter,
    exchanges_dropped: Family<Label, Counter>,
    pub(crate) recording: Gauge,
    pub(crate) exchanges_open: Gauge,
    pub(crate) queue_exchanges: Gauge,
    pub(crate) copied_bytes: Gauge,
    upstream_calls: Family<Label, Counter>,
    // One of the family, looked up once: it is counted where nothing else is done for a call.
    pub(crate) calls_sampled_out: Counter,
    pub(crate) upstream_calls_dropped: Counter,
    unseen_dependencies: Family<Label, Counter>,
    pub(crate) business_keys_unread: Counter,
    pub(crate) unanswered: Counter,
    pub(crate) requests_refused: Counter,
    bodies_omitted: Family<Label, Counter>,
    pub(crate) spool_bytes: Gauge,
    pub(crate) segment_bytes: Counter,
    pub(crate) segments_sealed: Counter,
    pub(crate) segments_committed: Counter,
    pub(crate) segments_damaged: Counter,
    pub(crate) upload_failures: Counter,
    pub(crate) upload_refusals: Counter,
}

/// Why a request of the service through the forward proxy is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// It asked for a connection, and nobody sees what passes there.
    Connect,
    /// It went to a system that is no configured upstream.
    UnknownHost,
    /// It was refused, because nothing unknown is to be called.
    Refused,
}

impl Metrics {
    /// Registers every metric.
    #[rustfmt::skip]
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let mut metrics = Self::default();
        metrics.calls_sampled_out = metrics.upstream_calls.get_or_create_owned(&[("attribution", "sampled_out")]);
        let m = metrics.clone();
        let registry = registry.sub_registry_with_prefix("shadow_recorder");
        registry.register("exchanges_observed", "Exchanges received from clients", m.exchanges_observed);
        registry.register("exchanges_recorded", "Exchanges synced to the spool", m.exchanges_recorded);
        registry.register("exchanges_sampled_out", "Exchanges that the sampling left out", m.exchanges_sampled_out);
        registry.register("exchanges_dropped", "Exchanges that passed unrecorded", m.exchanges_dropped);
        registry.register("recording", "Whether what passes is recorded", m.recording);
        registry.register("exchanges_open", "Exchanges whose answer or upstream calls are still awaited", m.exchanges_open);
        registry.register("queue_exchanges", "Exchanges and ambient calls waiting for the writer", m.queue_exchanges);
        registry.register("copied_bytes", "Bytes of copied heads and bodies held in memory", m.copied_bytes);
        registry.register("upstream_calls", "Upstream calls by what was known of their exchange", m.upstream_calls);
        registry.register("upstream_calls_dropped", "Upstream calls not recorded, with their exchange or alone", m.upstream_calls_dropped);
        registry.register("unseen_dependencies", "Requests of the service through the forward proxy that cannot be recorded", m.unseen_dependencies);
        registry.register("business_keys_unread", "Exchanges and calls whose business key could not be read", m.business_keys_unread);
        registry.register("unanswered", "Requests that the service or an upstream did not answer, so that the proxy did", m.unanswered);
        registry.register("requests_refused", "Malformed requests that were refused", m.requests_refused);
        registry.register("bodies_omitted", "Bodies not stored", m.bodies_omitted);
        registry.register("spool_bytes", "Bytes of segments on the local disk", m.spool_bytes);
        registry.register("segment_bytes", "Compressed bytes synced to the spool", m.segment_bytes);
        registry.register("segments_sealed", "Segments closed", m.segments_sealed);
        registry.register("segments_committed", "Segments committed to the store by their manifest", m.segments_committed);
        registry.register("segments_damaged", "Spool files of an earlier start that were torn or unreadable", m.segments_damaged);
        registry.register("upload_failures", "Failed attempts to put a segment into the store", m.upload_failures);
        registry.register("upload_refusals", "Attempts to put a segment into the store that the bucket refused", m.upload_refusals);
        metrics
    }

    /// Returns the counter of exchanges dropped for a reason.
    pub(crate) fn dropped(&self, reason: Reason) -> Counter {
        self.exchanges_dropped.get_or_create_owned(&[("reason", reason.as_str())])
    }

    /// Returns the counter of upstream calls with an attribution.
    pub(crate) fn calls(&self, attribution: Attribution) -> Counter {
        let name = match attribution {
            Attribution::Attributed => "attributed",
            Attribution::Ambiguous => "ambiguous",
            Attribution::Unattributed => "unattributed",
            Attribution::Late => "late",
        };
        self.upstream_calls.get_or_create_owned(&[("attribution", name)])
    }

    /// Returns the counter of calls that cannot be recorded.
    pub(crate) fn unseen(&self, kind: Unseen) -> Counter {
        let name = match kind {
            Unseen::Connect => "connect",
            Unseen::UnknownHost => "unknown_host",
            Unseen::Refused => "refused",
        };
        self.unseen_dependencies.get_or_create_owned(&[("kind", name)])
    }

    /// Returns the counter of bodies omitted for a reason.
    pub(crate) fn omitted(&self, why: Omission) -> Counter {
        let name = match why {
            Omission::OverLimit => "over_limit",
            Omission::UnknownCoding => "unknown_coding",
            Omission::Binary => "binary",
            Omission::Truncated => "truncated",
            Omission::Grpc => "grpc",
            Omission::UnknownSchema => "unknown_schema",
            Omission::Unredactable => "unredactable",
        };
        self.bodies_omitted.get_or_create_owned(&[("reason", name)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;
    use serde_json::Value;

    fn exposition() -> String {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.dropped(Reason::Disk).inc();
        metrics.calls(Attribution::Late).inc();
        metrics.omitted(Omission::Binary).inc();
        metrics.unseen(Unseen::Connect).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn names_in(text: &str) -> std::collections::BTreeSet<String> {
        let name = Regex::new("shadow_recorder_[a-z_]+").unwrap();
        name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
    }

    /// Sample names: those before a value, not those of `# HELP` and `# TYPE`.
    fn exposed() -> std::collections::BTreeSet<String> {
        let text = exposition();
        text.lines().filter(|line| !line.starts_with('#')).flat_map(names_in).collect()
    }

    #[test]
    fn the_table_lists_exactly_the_registered_metrics() {
        let source = include_str!("metrics.rs");
        let table: String = source.lines().take_while(|line| line.starts_with("//!")).collect();
        assert_eq!(names_in(&table), exposed());
    }

    #[test]
    fn the_dashboard_names_only_registered_metrics() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/recorder.json");
        let dashboard: Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let exposed = exposed();
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            assert!(title.ends_with('?'), "`{title}` is no question");
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                let named = names_in(expression);
                assert!(!named.is_empty() && named.is_subset(&exposed), "{title}: {expression}");
            }
        }
        assert!(panels.len() >= 5);
    }
}
