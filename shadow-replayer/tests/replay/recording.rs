//! Recordings as the recorder would have written them: exchanges, segments and manifests.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{
    Body, End, Exchange, ExchangeId, Request, Response, Sample, UpstreamCall,
};
use shadow_recorder::host::Host;
use shadow_recorder::manifest::{self, Manifest, SegmentKey};
use shadow_recorder::segment::{
    self, Accounting, Calls, Header, Line, Redaction, Sampling, Tally, write_frame,
};

/// The instant at which every recording begins; an hour of its own.
pub(crate) fn start() -> Timestamp {
    "2026-05-01T10:00:00Z".parse().unwrap()
}

/// Returns the instant so many milliseconds after [`start`].
pub(crate) fn at(ms: i64) -> Timestamp {
    start() + SignedDuration::from_millis(ms)
}

/// The answer to a booking: one transaction of 10 USD in `lob`, credited to `account`.
pub(crate) fn booked(lob: &str, account: &str) -> String {
    format!(
        r#"{{"transactions":[{{"id":"t","lob":"{lob}","entries":[{{"account":"1100","debit":10.00,"credit":0}},{{"account":"{account}","debit":0,"credit":10.00}}]}}]}}"#
    )
}

pub(crate) fn request(method: &str, target: &str, body: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers: vec![
            ("host".into(), "books.internal".into()),
            ("content-type".into(), "application/json".into()),
        ],
        body: Body::of_text(body),
        trailers: vec![],
        principal: None,
    }
}

pub(crate) fn response(status: u16, body: impl Into<String>) -> Response {
    Response {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Body::of_text(body),
        trailers: vec![],
    }
}

/// The `n`-th exchange: `POST /bookings/<n>`, received `n` milliseconds after the start, which booked 10 USD in Rides.
pub(crate) fn exchange(n: u32) -> Exchange {
    Exchange {
        id: ExchangeId(format!("0196a000-0000-7000-8000-{n:012x}")),
        trace_id: format!("{n:032x}"),
        received_at: at(i64::from(n)),
        sequence: u64::from(n),
        duration_us: 1_500,
        service: "books".into(),
        build: "p1".into(),
        order_key: None,
        request: request("POST", &format!("/bookings/{n}"), &format!(r#"{{"n":{n}}}"#)),
        response: Some(response(200, booked("Rides", "4000"))),
        end: End::Complete,
        upstream: vec![],
        sample: Sample::everything(),
    }
}

/// A call to upstream `name` that was answered.
pub(crate) fn call(name: &str, target: &str, answer: &str) -> UpstreamCall {
    UpstreamCall {
        name: name.into(),
        offset_us: 100,
        duration_us: 500,
        request: request("GET", target, ""),
        response: Some(response(200, answer)),
        end: End::Complete,
    }
}

/// Segments of one boot, which is sealed in the end.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) name: String,
    pub(crate) redaction: Redaction,
    pub(crate) service_address: String,
    /// Where the recorder ran.
    pub(crate) host: Option<Host>,
    /// Whether the boot ended; one that did not may still run.
    pub(crate) ended: bool,
    /// When it began; an hour of segments follows.
    pub(crate) begins: Timestamp,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            name: "b1".into(),
            redaction: Redaction::default(),
            service_address: "10.0.0.1:8081".into(),
            host: None,
            ended: true,
            begins: start(),
        }
    }
}

impl Boot {
    /// Writes each list of exchanges as a segment into a store's directory; together they cover an hour.
    pub(crate) fn write(&self, store: &Path, segments: &[Vec<Exchange>]) {
        for (n, exchanges) in segments.iter().enumerate() {
            let times = || exchanges.iter().map(|exchange| exchange.received_at);
            let (first, last) = (times().min(), times().max());
            let opened_at = if n == 0 { self.begins } else { first.unwrap_or(self.begins) };
            let is_last = n + 1 == segments.len();
            let hour = SignedDuration::from_hours(1);
            let sealed_at = if is_last { self.begins + hour } else { last.unwrap_or(opened_at) };
            let key = SegmentKey {
                service: "books".into(),
                first_us: first.unwrap_or(opened_at).as_microsecond(),
                last_us: last.unwrap_or(opened_at).as_microsecond(),
                instance: "pod".into(),
                boot: self.name.clone(),
                sequence: n as u64 + 1,
            };
            let bytes = self.segment(&key, opened_at, exchanges);
            let manifest = Manifest {
                format: manifest::FORMAT.into(),
                version: segment::VERSION,
                service: key.service.clone(),
                build: "p1".into(),
                instance: key.instance.clone(),
                boot: key.boot.clone(),
                sequence: key.sequence,
                segment: key.segment(),
                bytes: bytes.len() as u64,
                sha256: sha256(&bytes),
                opened_at,
                sealed_at,
                sealed_through: sealed_at,
                first_received_at: first,
                last_received_at: last,
                last: is_last && self.ended,
                torn: false,
                exchanges: exchanges.len() as u64,
                ambient: 0,
                strata: BTreeMap::from([("all".into(), tally(exchanges.len()))]),
                calls: Calls::default(),
                census: None,
            };
            put(store, &key.segment(), &bytes);
            put(store, &key.manifest(), &serde_json::to_vec(&manifest).unwrap());
        }
    }

    fn segment(&self, key: &SegmentKey, opened_at: Timestamp, exchanges: &[Exchange]) -> Vec<u8> {
        let header = Header {
            format: segment::FORMAT.into(),
            version: segment::VERSION,
            service: key.service.clone(),
            build: "p1".into(),
            instance: key.instance.clone(),
            boot: key.boot.clone(),
            sequence: key.sequence,
            opened_at,
            sealed_through: opened_at,
            service_address: self.service_address.clone(),
            upstream_addresses: BTreeMap::new(),
            host: self.host.clone().map(Box::new),
            sampling: Sampling {
                rule: "everything".into(),
                rate: "1".into(),
                pi: shadow_recorder::exchange::PI_ONE,
                strata: vec![],
                census: false,
            },
            redaction: Box::new(self.redaction.clone()),
        };
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &[Line::Header(header)]).unwrap();
        for some in exchanges.chunks(100) {
            let accounting = Accounting {
                at: opened_at,
                last: false,
                sealed_through: opened_at,
                strata: BTreeMap::from([("all".into(), tally(some.len()))]),
                calls: Calls::default(),
                census: None,
            };
            let exchanges = some.iter().cloned().map(|exchange| Line::Exchange(exchange.into()));
            let lines: Vec<Line> = exchanges.chain([Line::Accounting(accounting)]).collect();
            write_frame(&mut bytes, &lines).unwrap();
        }
        bytes
    }
}

fn tally(recorded: usize) -> Tally {
    let recorded = recorded as u64;
    Tally { observed: recorded, recorded, sampled_out: 0, dropped: BTreeMap::new() }
}

fn put(store: &Path, key: &str, bytes: &[u8]) {
    let path = store.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
