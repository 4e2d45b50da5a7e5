//! The recordings that the benchmark makes: segments as the recorder seals them, with their manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{
    Body, End, Exchange, ExchangeId, PI_ONE, Request, Response, Sample, UpstreamCall,
};
use shadow_recorder::manifest::{self, Manifest, SegmentKey};
use shadow_recorder::segment::{
    self, Accounting, Calls, Header, Line, Redaction, Sampling, Tally, write_frame,
};

use crate::candidate::{ANSWER, RATE};

/// Exchanges of one segment, which at 10,000 a second is a quarter of a minute.
const SEGMENT: u64 = 150_000;
/// Exchanges of one frame.
const FRAME: u64 = 2_000;
/// Microseconds between two exchanges.
const PAUSE_US: u64 = 100;

/// The recorded hour.
pub(crate) fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(494_000)
}

/// Writes so many exchanges with so many upstream calls each into a store.
pub(crate) fn write(store: &Path, exchanges: u64, calls: usize) -> Result<()> {
    let segments = exchanges.div_ceil(SEGMENT);
    for n in 0..segments {
        let all = n * SEGMENT..exchanges.min((n + 1) * SEGMENT);
        segment(store, n + 1, n + 1 == segments, &all, calls)?;
    }
    Ok(())
}

fn at(n: u64) -> Timestamp {
    start() + SignedDuration::from_micros(i64::try_from(n * PAUSE_US).unwrap_or(i64::MAX))
}

fn segment(
    store: &Path,
    sequence: u64,
    last: bool,
    all: &std::ops::Range<u64>,
    calls: usize,
) -> Result<()> {
    let (opened_at, newest) = (at(all.start), at(all.end - 1));
    // The last one says that the recorder stopped, an hour and more after the range.
    let sealed_at = if last { start() + SignedDuration::from_hours(2) } else { at(all.end) };
    let key = SegmentKey {
        service: "books".into(),
        first_us: opened_at.as_microsecond(),
        last_us: newest.as_microsecond(),
        instance: "pod".into(),
        boot: "b1".into(),
        sequence,
    };
    let mut bytes = Vec::new();
    write_frame(&mut bytes, &[Line::Header(header(&key, opened_at))])?;
    for first in all.clone().step_by(usize::try_from(FRAME)?) {
        let frame = first..all.end.min(first + FRAME);
        let recorded = frame.end - frame.start;
        let exchanges = frame.map(|n| Line::Exchange(Box::new(exchange(n, calls))));
        let accounting = Accounting {
            at: opened_at,
            last: false,
            sealed_through: opened_at,
            strata: strata(recorded),
            calls: Calls::default(),
            census: None,
        };
        let lines: Vec<Line> = exchanges.chain([Line::Accounting(accounting)]).collect();
        write_frame(&mut bytes, &lines)?;
    }
    let exchanges = all.end - all.start;
    let manifest = Manifest {
        format: manifest::FORMAT.into(),
        version: segment::VERSION,
        service: key.service.clone(),
        build: "p1".into(),
        instance: key.instance.clone(),
        boot: key.boot.clone(),
        sequence,
        segment: key.segment(),
        bytes: bytes.len() as u64,
        sha256: sha256(&bytes),
        opened_at,
        sealed_at,
        sealed_through: sealed_at,
        first_received_at: Some(opened_at),
        last_received_at: Some(newest),
        last,
        torn: false,
        exchanges,
        ambient: 0,
        strata: strata(exchanges),
        calls: Calls::default(),
        census: None,
    };
    put(store, &key.segment(), &bytes)?;
    put(store, &key.manifest(), &serde_json::to_vec(&manifest)?)
}

fn put(store: &Path, key: &str, bytes: &[u8]) -> Result<()> {
    let path = store.join(key);
    fs::create_dir_all(path.parent().unwrap_or(store))?;
    Ok(fs::write(path, bytes)?)
}

fn strata(recorded: u64) -> BTreeMap<String, Tally> {
    let tally = Tally { observed: recorded, recorded, sampled_out: 0, dropped: BTreeMap::new() };
    BTreeMap::from([("all".into(), tally)])
}

fn header(key: &SegmentKey, opened_at: Timestamp) -> Header {
    Header {
        format: segment::FORMAT.into(),
        version: segment::VERSION,
        service: key.service.clone(),
        build: "p1".into(),
        instance: key.instance.clone(),
        boot: key.boot.clone(),
        sequence: key.sequence,
        opened_at,
        sealed_through: opened_at,
        host: None,
        service_address: "10.0.0.1:8081".into(),
        upstream_addresses: BTreeMap::new(),
        sampling: Sampling {
            rule: "everything".into(),
            rate: "1".into(),
            pi: PI_ONE,
            strata: vec![],
            census: false,
        },
        redaction: Box::new(Redaction::default()),
    }
}

fn exchange(n: u64, calls: usize) -> Exchange {
    let body = format!(
        r#"{{"booking":{n},"trip":"8f14e45f-ceea-467f-9538-{n:012x}","fare":{{"amount":12.50,"currency":"USD"}},"city":"sf"}}"#
    );
    Exchange {
        id: ExchangeId(format!("0196a000-0000-7000-8000-{n:012x}")),
        trace_id: format!("{n:032x}"),
        received_at: at(n),
        sequence: n + 1,
        duration_us: 1_500,
        service: "books".into(),
        build: "p1".into(),
        order_key: None,
        request: request("POST", &format!("/bookings/{n}"), &body),
        response: Some(response(ANSWER)),
        end: End::Complete,
        upstream: (0..calls).map(call).collect(),
        sample: Sample::everything(),
    }
}

fn call(n: usize) -> UpstreamCall {
    UpstreamCall {
        name: "fx".into(),
        offset_us: 100,
        duration_us: 500,
        request: request("GET", &format!("/rate/{n}"), ""),
        response: Some(response(RATE)),
        end: End::Complete,
    }
}

fn request(method: &str, target: &str, body: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers: vec![
            ("host".into(), "books.internal".into()),
            ("content-type".into(), "application/json".into()),
            ("user-agent".into(), "rides/8.1".into()),
            ("x-request-id".into(), "5f2c1d0a".into()),
        ],
        body: Body::of_text(body),
        trailers: vec![],
        principal: None,
    }
}

fn response(body: &str) -> Response {
    Response {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Body::of_text(body),
        trailers: vec![],
    }
}
