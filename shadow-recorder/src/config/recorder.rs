//! `[service]` and `[recorder]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::business_key::business_key;
use super::sampling::{order_key, sampling};
use super::upstream::Origin;
use super::{At, Document, Table};
use crate::business_key::BusinessKey;
use crate::grpc::Descriptors;
use crate::sampling::Sampling;

/// More threads than any machine's sidecar can use: most likely a slip of the pen.
const THREADS_MAX: usize = 64;

/// `[service]`: the service whose build is certified.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The production build behind the recorder.
    pub build: Option<String>,
}

/// `[recorder]`: the sidecar.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The service itself.
    pub forward_to: Origin,
    /// Where the metrics are; absent, there are none.
    pub admin: Option<SocketAddr>,
    /// Where unfinished segments are kept.
    pub spool: PathBuf,
    /// Names this sidecar among its siblings.
    pub instance: String,
    /// Which exchanges are recorded.
    pub sampling: Sampling,
    /// Where an exchange has the key by which it is replayed in order.
    pub order_key: Option<Arc<BusinessKey>>,
    /// Where an exchange has its business key.
    pub business_key: Option<BusinessKey>,
    /// How long an exchange stays open after its answer, for late upstream calls.
    pub linger: Duration,
    /// Where another recorder can take the listeners over; absent, it cannot.
    pub hand_over: Option<PathBuf>,
    /// Threads that carry requests.
    pub threads: usize,
    /// How long accepted requests may take after SIGTERM.
    pub grace: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a client may neither send the body that it announced nor take the answer that it asked for.
    pub stall_timeout: Duration,
    /// How long connecting to the service or an upstream may take.
    pub connect_timeout: Duration,
    /// Bytes kept of one head. Exchanges with a larger one, or with a call that has one, are dropped from the recording.
    pub head_bytes_max: usize,
    /// Connections at once of clients, and of the service, whose requests are recorded; more pass unrecorded.
    pub connections_max: usize,
    /// Fields of one head; more are refused with 431, as most services do.
    pub head_fields_max: usize,
    /// Bytes kept of one body, on the wire and decoded. Longer bodies pass, and are omitted from the recording.
    pub body_bytes_max: usize,
    /// Bytes of copied heads and bodies held at once, over all exchanges; exchanges beyond are dropped from the recording.
    pub memory_bytes_max: usize,
    /// Bytes of segments kept on the local disk while the store cannot be reached; exchanges beyond are dropped.
    pub spool_bytes_max: u64,
    /// Upstream calls kept of one exchange. Exchanges with more are dropped from the recording.
    pub calls_max: usize,
    /// Exchanges open at once that are recorded; more pass unrecorded.
    pub exchanges_open_max: usize,
    /// Exchanges waiting for the writer; more are dropped.
    pub queue_exchanges_max: usize,
    /// The loss window: how often the segment is synced to disk.
    pub fsync_interval: Duration,
    /// A segment is sealed at this age, even empty.
    pub segment_age_max: Duration,
    /// A segment is sealed at this size, compressed.
    pub segment_bytes_max: u64,
    /// The longest time between the first and the last exchange of a segment.
    pub segment_span_max: Duration,
    /// How gRPC messages are read; absent, gRPC bodies are omitted from the recording.
    pub grpc_descriptors: Option<Descriptors>,
}

/// Takes `[service]`.
pub fn service(document: &Document<'_>) -> Option<Service> {
    let mut table = document.section("service");
    let name = table.required("name").and_then(|name| checked_name(&table, name));
    let build = table.text("build").map(|build| build.value);
    table.finish(&["name", "build"]);
    Some(Service { name: name?, build })
}

/// Takes `[service]` where its `build` is required: the name and the build.
pub fn service_in_production(document: &Document<'_>) -> Option<(String, String)> {
    let mut table = document.section("service");
    let name = table.required("name").and_then(|name| checked_name(&table, name));
    let build = table.text("build").map(|build| build.value).filter(|build| !build.is_empty());
    if build.is_none() {
        table.mistake(
            "`build` is missing: set it, or SHADOW_SERVICE_BUILD, to the production build behind the recorder",
        );
    }
    table.finish(&["name", "build"]);
    name.zip(build)
}

/// The keys of `[recorder]`.
const KNOWN: [&str; 33] = [
    "listen",
    "forward_to",
    "admin",
    "spool",
    "instance",
    "hand_over",
    "threads",
    "sampling_rate",
    "sampling_key",
    "sampling_unit",
    "order_key",
    "census",
    "size",
    "business_key",
    "linger",
    "grace",
    "head_timeout",
    "stall_timeout",
    "connect_timeout",
    "head_bytes_max",
    "connections_max",
    "head_fields_max",
    "body_bytes_max",
    "memory_bytes_max",
    "spool_bytes_max",
    "calls_max",
    "exchanges_open_max",
    "queue_exchanges_max",
    "fsync_interval",
    "segment_age_max",
    "segment_bytes_max",
    "segment_span_max",
    "grpc_descriptors",
];

/// Takes `[recorder]`. `instance` is the name where none is configured: the host's.
pub fn recorder(document: &Document<'_>, instance: &str) -> Option<Recorder> {
    let mut table = document.section("recorder");
    let listen = required_address(&mut table, "listen");
    let forward_to = required_origin(&mut table, "forward_to", Origin::parse);
    let spool = table.required("spool").map(|path| document.resolve(&path.value));
    let instance = match table.text("instance") {
        Some(name) => checked_name(&table, name),
        None => Some(sanitised(instance)),
    };
    let seconds = Duration::from_secs;
    let order_key = order_key(&mut table);
    let bytes = |table: &mut Table<'_, '_>, key, default| table.integer(key, 1).unwrap_or(default);
    let recorder = Recorder {
        admin: table.address("admin"),
        sampling: sampling(document, &mut table, order_key.as_ref()),
        order_key,
        business_key: business_key(&mut table),
        hand_over: table.text("hand_over").map(|path| document.resolve(&path.value)),
        threads: threads(&mut table),
        linger: table.duration("linger").unwrap_or(Duration::from_millis(200)),
        grace: table.duration("grace").unwrap_or(seconds(25)),
        head_timeout: table.duration("head_timeout").unwrap_or(seconds(10)),
        stall_timeout: table.duration("stall_timeout").unwrap_or(seconds(120)),
        connect_timeout: table.duration("connect_timeout").unwrap_or(seconds(5)),
        head_bytes_max: usize_of(bytes(&mut table, "head_bytes_max", 64 << 10)),
        connections_max: usize_of(bytes(&mut table, "connections_max", 10_000)),
        head_fields_max: usize_of(bytes(&mut table, "head_fields_max", 100)),
        body_bytes_max: usize_of(bytes(&mut table, "body_bytes_max", 1 << 20)),
        memory_bytes_max: usize_of(bytes(&mut table, "memory_bytes_max", 256 << 20)),
        spool_bytes_max: bytes(&mut table, "spool_bytes_max", 1 << 30),
        calls_max: usize_of(bytes(&mut table, "calls_max", 1_000)),
        exchanges_open_max: usize_of(bytes(&mut table, "exchanges_open_max", 20_000)),
        queue_exchanges_max: usize_of(bytes(&mut table, "queue_exchanges_max", 10_000)),
        fsync_interval: table.duration("fsync_interval").unwrap_or(seconds(1)),
        segment_age_max: table.duration("segment_age_max").unwrap_or(seconds(60)),
        segment_bytes_max: bytes(&mut table, "segment_bytes_max", 64 << 20),
        segment_span_max: table.duration("segment_span_max").unwrap_or(seconds(3_600)),
        grpc_descriptors: grpc_descriptors(&mut table),
        listen: listen.unwrap_or(([127, 0, 0, 1], 0).into()),
        forward_to: forward_to.clone().unwrap_or(Origin {
            tls: false,
            authority: http::uri::Authority::from_static("invalid"),
        }),
        spool: spool.clone().unwrap_or_default(),
        instance: instance.clone().unwrap_or_default(),
    };
    if forward_to.as_ref().is_some_and(|to| listen.is_some_and(|at| loops(to, at))) {
        table.mistake("`forward_to` is the recorder's own `listen`: requests would go in circles");
    }
    table.finish(&KNOWN);
    // The placeholders above never leave: their absence was reported.
    (listen.is_some() && forward_to.is_some() && spool.is_some() && instance.is_some())
        .then_some(recorder)
}

fn threads(table: &mut Table<'_, '_>) -> usize {
    let threads = table.integer("threads", 1).map_or(1, usize_of);
    if threads > THREADS_MAX {
        table.mistake(&format!("`threads` is at most {THREADS_MAX}"));
    }
    threads
}

fn grpc_descriptors(table: &mut Table<'_, '_>) -> Option<Descriptors> {
    let file = table.text("grpc_descriptors")?;
    match Descriptors::load(&table.document().resolve(&file.value)) {
        Ok(descriptors) => Some(descriptors),
        Err(error) => {
            table.mistake_at(&file, &format!("`grpc_descriptors`: {error}"));
            None
        }
    }
}

fn loops(forward_to: &Origin, listen: SocketAddr) -> bool {
    let (host, port) = forward_to.host_port();
    let same_host = host.parse().is_ok_and(|ip: std::net::IpAddr| {
        ip == listen.ip() || listen.ip().is_unspecified() && ip.is_loopback()
    });
    port == listen.port() && (same_host || host == "localhost")
}

fn required_address(table: &mut Table<'_, '_>, key: &str) -> Option<SocketAddr> {
    if !table.has(key) {
        let overridden = table.address(key);
        if overridden.is_none() {
            table.missing(key);
        }
        return overridden;
    }
    table.address(key)
}

pub(super) fn required_origin(
    table: &mut Table<'_, '_>,
    key: &str,
    parse: fn(&str) -> Result<Origin, String>,
) -> Option<Origin> {
    let text = table.required(key)?;
    match parse(&text.value) {
        Ok(origin) => Some(origin),
        Err(what) => {
            table.mistake_at(&text, &format!("`{key}` {what}"));
            None
        }
    }
}

/// Names become parts of keys in the store.
pub(super) fn checked_name(table: &Table<'_, '_>, name: At<String>) -> Option<String> {
    if name.value == sanitised(&name.value)
        && !name.value.is_empty()
        && !name.value.starts_with('.')
    {
        return Some(name.value);
    }
    table.mistake_at(
        &name,
        "a name is 1 to 63 letters, digits, `.`, `_` and `-`, and does not begin with `.`",
    );
    None
}

fn sanitised(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().take(63).map(safe).collect()
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
