//! The real binary between real sockets: an origin and upstreams that a test scripts, a client, and the store read back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, getrlimit, setrlimit};
use sha2::{Digest, Sha256};
use shadow_recorder::exchange::{Ambient, Exchange};
use shadow_recorder::manifest::Manifest;
use shadow_recorder::segment::{Calls, Line, Reader, Tally};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing in these tests takes this long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The egress addresses, known to the origin once the recorder runs.
pub(crate) type Egress = Arc<OnceLock<BTreeMap<String, SocketAddr>>>;

/// A recorder as its own process.
pub(crate) struct Sidecar {
    pub(crate) child: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) egress: BTreeMap<String, SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: PathBuf,
    /// What it logged.
    pub(crate) log: Arc<Mutex<String>>,
}

impl Sidecar {
    /// Starts a recorder in `folder`, in front of `origin`, with the upstreams; `more` is added to `[recorder]`.
    pub(crate) async fn start(
        folder: &Path,
        origin: SocketAddr,
        upstreams: &[(&str, SocketAddr)],
        more: &str,
    ) -> Self {
        write_config(folder, origin, upstreams, more);
        let binary = env!("CARGO_BIN_EXE_shadow-recorder");
        Self::run(folder, Command::new(binary)).await
    }

    /// Starts by a command that runs the recorder.
    pub(crate) async fn run(folder: &Path, mut command: Command) -> Self {
        let mut child = command
            .arg("--config")
            .arg(folder.join("shadow.toml"))
            .env("SHADOW_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut listening, mut log) = (BTreeMap::new(), String::new());
        while listening.is_empty() {
            let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
            let line = line.expect("the recorder ended");
            log += &line;
            let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
            if let Some(text) = line["fields"]["listening"].as_str() {
                let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
                listening = pairs.map(|(n, at)| (n.to_owned(), at.parse().unwrap())).collect();
            }
        }
        let log = Arc::new(Mutex::new(log));
        let logged = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                println!("{line}");
                let mut log = logged.lock().unwrap();
                *log += &line;
                log.push('\n');
            }
        });
        let (clients, admin) =
            (listening.remove("[clients]").unwrap(), listening.remove("[admin]").unwrap());
        Self { child, clients, egress: listening, admin, folder: folder.to_owned(), log }
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.expect("the recorder stops").unwrap()
    }

    /// Stops it and reads what it stored.
    pub(crate) async fn stop(mut self) -> Stored {
        self.signal("-TERM").await;
        let status = self.ended().await;
        assert!(status.success(), "{status}");
        Stored::read(&self.folder)
    }

    /// Waits until what is stored is as expected.
    pub(crate) async fn until_stored(&self, mut holds: impl FnMut(&Stored) -> bool) {
        until("the store has it", async || holds(&Stored::read(&self.folder))).await;
    }

    /// Asks the admin listener; returns the status and the text.
    pub(crate) async fn admin(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let answer = send(self.admin, request).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// Waits until it has logged a text.
    pub(crate) async fn until_logged(&self, text: &str) {
        until(text, async || self.log.lock().unwrap().contains(text)).await;
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, metric: &str, value: u64) {
        self.until_metric(metric, |found| found == value).await;
    }

    /// Waits until a metric's value is as expected.
    pub(crate) async fn until_metric(&self, metric: &str, holds: impl Fn(u64) -> bool) {
        until(metric, async || {
            let text = self.admin(get("/metrics")).await.1;
            let of = |line: &str| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok();
            text.lines().find_map(of).is_some_and(&holds)
        })
        .await;
    }
}

/// Polls until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(DEADLINE, poll).await.is_ok(), "never: {what}");
}

pub(crate) fn write_config(
    folder: &Path,
    origin: SocketAddr,
    upstreams: &[(&str, SocketAddr)],
    more: &str,
) {
    let mut text = format!(
        "[service]\nname = \"ledger\"\nbuild = \"p1\"\n[store]\ndirectory = \"store\"\n[recorder]\n\
         listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nforward_to = \"http://{origin}\"\n\
         spool = \"spool\"\ninstance = \"pod-1\"\nfsync_interval = \"50ms\"\n"
    );
    if !more.contains("linger") {
        text += "linger = \"50ms\"\n";
    }
    // It may begin further sections.
    writeln!(text, "{more}").unwrap();
    for (name, at) in upstreams {
        writeln!(
            text,
            "[[upstream]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nforward_to = \"http://{at}\""
        )
        .unwrap();
    }
    std::fs::write(folder.join("shadow.toml"), text).unwrap();
}

/// What lies in the store: every segment committed by a manifest, checked against it.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) ambient: Vec<Ambient>,
    pub(crate) tally: Tally,
    /// All segments, uncompressed, to be searched for what must not be there.
    pub(crate) text: String,
}

impl Stored {
    pub(crate) fn read(folder: &Path) -> Self {
        let store = folder.join("store");
        let mut stored = Self::default();
        // Of a recorder that runs, objects may be on their way.
        let is_manifest = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".json") && !name.starts_with(".writing-")
        };
        for path in files(&store).into_iter().filter(is_manifest) {
            let manifest: Manifest = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let bytes = std::fs::read(store.join(&manifest.segment)).unwrap();
            let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            assert_eq!((bytes.len() as u64, digest), (manifest.bytes, manifest.sha256.clone()));
            stored.add(&bytes, manifest);
        }
        stored.exchanges.sort_by_key(|exchange| exchange.sequence);
        stored
    }

    fn add(&mut self, bytes: &[u8], manifest: Manifest) {
        let mut reader = Reader::<Line>::new(bytes);
        let (mut tally, mut exchanges, mut ambient) = (Tally::default(), 0, 0);
        while let Some(lines) = reader.next_frame() {
            for line in lines {
                self.text += &serde_json::to_string(&line).unwrap();
                match line {
                    Line::Header(header) => assert_eq!(header.sequence, manifest.sequence),
                    Line::Exchange(exchange) => {
                        exchanges += 1;
                        self.exchanges.push(*exchange);
                    }
                    Line::Ambient(call) => {
                        ambient += 1;
                        self.ambient.push(*call);
                    }
                    Line::Accounting(line) => {
                        for stratum in line.strata.values() {
                            assert!(stratum.balances(), "{stratum:?}");
                            tally.add(stratum);
                        }
                    }
                }
            }
        }
        assert!(tally.balances(), "{tally:?}");
        assert_eq!((exchanges, ambient), (manifest.exchanges, manifest.ambient));
        assert_eq!(tally.recorded, exchanges);
        let described = manifest.strata.values().fold(Tally::default(), |mut sum, stratum| {
            sum.add(stratum);
            sum
        });
        assert_eq!(described, tally);
        self.tally.add(&tally);
        self.manifests.push(manifest);
    }

    /// Returns what the manifests say of upstream calls.
    pub(crate) fn calls(&self) -> Calls {
        self.manifests.iter().fold(Calls::default(), |mut sum, manifest| {
            sum.add(&manifest.calls);
            sum
        })
    }

    /// Returns the one exchange.
    pub(crate) fn only(&self) -> &Exchange {
        assert_eq!(self.exchanges.len(), 1, "{:?}", self.tally);
        &self.exchanges[0]
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Serves HTTP by a function until the test ends.
pub(crate) async fn server<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Bytes>) -> A + Send + Sync + Clone + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    serve(async |stream| Ok(stream), answer).await
}

/// Serves HTTP inside of what `open` makes of a connection: the `Host` and the target of a request.
pub(crate) async fn server_over<O, S, P>(open: O) -> SocketAddr
where
    O: Fn(TcpStream) -> P + Send + Sync + Clone + 'static,
    P: Future<Output = std::io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    serve(open, async |request: Request<Bytes>| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        text(format!("{host} {}", request.uri()))
    })
    .await
}

async fn serve<O, S, P, F, A>(open: O, answer: F) -> SocketAddr
where
    O: Fn(TcpStream) -> P + Send + Sync + Clone + 'static,
    P: Future<Output = std::io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<Bytes>) -> A + Send + Sync + Clone + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (open, answer) = (open.clone(), answer.clone());
            tokio::spawn(async move {
                // One that the other side refuses is no server's failure.
                let Ok(stream) = open(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(answer(Request::from_parts(head, body)).await)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Serves raw bytes: reads a request's head, writes the parts of the answer, and closes.
pub(crate) async fn raw_server(parts: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                for part in parts {
                    stream.write_all(part).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    address
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(to: SocketAddr, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
    let target = request.uri().path_and_query().unwrap().clone();
    *request.uri_mut() = format!("http://{to}{target}").parse().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = timeout(DEADLINE, client.request(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, timeout(DEADLINE, body.collect()).await.unwrap().unwrap().to_bytes())
}

/// Sends bytes on a connection of their own and reads until its end.
pub(crate) async fn send_raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(stream).await
}

/// Sends bytes, ends its half of the connection, and reads until the other half ends.
pub(crate) async fn send_half_closed(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(stream).await
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends the answer as a close does; what arrived counts.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Answers with a text.
pub(crate) fn text(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::from(text.into()))
}

pub(crate) fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).body(Full::default()).unwrap()
}

pub(crate) fn post(target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(target).body(Full::from(body.into())).unwrap()
}

/// Returns a `traceparent`.
pub(crate) fn parent(trace: usize) -> String {
    // Zero is no trace.
    format!("00-{:032x}-00f067aa0ba902b7-01", trace + 1)
}

/// Calls an upstream with the trace context of the request that it is made for.
pub(crate) async fn call(
    egress: &Egress,
    name: &str,
    mut call: Request<Full<Bytes>>,
    made_for: &Request<Bytes>,
    fields: &[&str],
) -> Response<Bytes> {
    for field in fields {
        if let Some(value) = made_for.headers().get(*field) {
            call.headers_mut()
                .insert(http::HeaderName::from_bytes(field.as_bytes()).unwrap(), value.clone());
        }
    }
    send(egress.get().unwrap()[name], call).await
}

/// Lets this process, and those that it starts, open as many files as the system grants.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
