//! The stub's listeners: the ways by which the service reached the recorder's egress are those by which the candidate reaches the stub.
//!
//! A connection speaks HTTP/1 or HTTP/2 by prior knowledge, as its first bytes say; or TLS first, where the stub has a certificate, and
//! what was agreed on in it. By that a tunnel through the proxy ends here as well.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use http::uri::Authority;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use shadow_recorder::config::egress::asked_host;
use shadow_recorder::config::upstream::Upstream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::state::State;
use super::{StubError, certificate, reply};
use crate::config::stub::Stub as Settings;

/// A listener of the stub cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stub for {name} cannot listen at {listen}: stop what listens there (a recorder or another replay?) or set [replay.stub] {key} to another address"
)]
pub struct BindError {
    name: String,
    key: String,
    listen: SocketAddr,
    source: std::io::Error,
}

/// Which upstream a call at a listener is for.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// This one.
    To(Arc<Upstream>),
    /// The one that the call asks for.
    ByHost(Arc<HashMap<String, Arc<Upstream>>>),
}

impl Way {
    /// Returns the upstream of a request, or the host that it asks for in vain.
    pub(super) fn upstream<B>(&self, request: &http::Request<B>) -> Result<&Arc<Upstream>, String> {
        match self {
            Self::To(upstream) => Ok(upstream),
            Self::ByHost(known) => {
                let host = asked_host(request).unwrap_or_default();
                // A tunnel's target and a `Host` within it do not say which port goes without saying.
                let plain = host.strip_suffix(":443").unwrap_or(&host);
                known.get(&host).or_else(|| known.get(plain)).ok_or(host)
            }
        }
    }

    fn is_known<B>(&self, request: &http::Request<B>) -> bool {
        self.upstream(request).is_ok()
    }
}

/// A listening socket of the stub.
pub(super) struct Door {
    /// Whom it is for, as people read it.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    way: Way,
    tls: Option<TlsAcceptor>,
    listener: TcpListener,
}

/// Binds every listener that the configuration asks for.
pub(super) async fn open(
    upstreams: &[Upstream],
    settings: &Settings,
) -> Result<Vec<Door>, StubError> {
    let upstreams: Vec<Arc<Upstream>> = upstreams.iter().cloned().map(Arc::new).collect();
    let hosts = upstreams.iter().flat_map(|upstream| {
        upstream.hosts.iter().map(|host| (host.clone(), Arc::clone(upstream)))
    });
    let by_host = Way::ByHost(Arc::new(hosts.collect()));
    let own = upstreams.iter().filter_map(|upstream| {
        let way = Way::To(Arc::clone(upstream));
        Some((format!("upstream {}", upstream.name), &*upstream.name, way, upstream.listen?))
    });
    let shared = [
        ("all upstreams by their host", "by_host", settings.by_host),
        ("all upstreams as a proxy", "proxy", settings.proxy),
    ];
    let shared = shared
        .into_iter()
        .filter_map(|(name, key, address)| Some((name.to_owned(), key, by_host.clone(), address?)));
    let tls = settings.certificate.as_ref().map(|configured| {
        let hosts = names(&upstreams, settings.advertise.as_deref());
        certificate::acceptor(configured, hosts)
    });
    let tls = tls.transpose()?;
    let mut doors = Vec::new();
    for (name, key, way, listen) in own.chain(shared) {
        let bound = TcpListener::bind(listen).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| BindError {
            name: name.clone(),
            key: key.into(),
            listen,
            source,
        })?;
        doors.push(Door { name, address, way, tls: tls.clone(), listener });
    }
    Ok(doors)
}

/// Accepts connections until it is stopped.
pub(super) async fn accept(door: Door, state: Arc<State>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = door.listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, listener = door.name, "the stub cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (way, tls) = (door.way.clone(), door.tls.clone());
        connections.spawn(serve(stream, way, tls, Arc::clone(&state), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

/// Returns every name under which the candidate may ask for an upstream.
fn names(upstreams: &[Arc<Upstream>], advertise: Option<&str>) -> Vec<String> {
    let hosts = upstreams.iter().flat_map(|upstream| &upstream.hosts);
    let hosts = hosts.filter_map(|host| host.parse::<Authority>().ok());
    let hosts = hosts.map(|host| host.host().trim_matches(['[', ']']).to_owned());
    let own = ["localhost", "127.0.0.1", "::1"].into_iter().chain(advertise).map(str::to_owned);
    hosts.chain(own).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The first byte of a connection that begins with TLS.
const HANDSHAKE: u8 = 0x16;

async fn serve(
    stream: TcpStream,
    way: Way,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let serving = async {
        let mut first = [0];
        match tls {
            Some(tls) if stream.peek(&mut first).await.is_ok() && first == [HANDSHAKE] => {
                if let Ok(stream) = tls.accept(stream).await {
                    converse(stream, way, None, state).await;
                }
            }
            tls => converse(stream, way, tls, state).await,
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.cancelled() => {}
    }
}

/// Answers what comes on a connection. Where there is `tls`, a tunnel ends here.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    way: Way,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
) {
    let tunnels = tls.is_some();
    let service = service_fn(|request: http::Request<Incoming>| {
        let (way, tls, state) = (way.clone(), tls.clone(), Arc::clone(&state));
        async move {
            Ok::<_, Infallible>(match tls {
                Some(tls) if request.method() == Method::CONNECT && way.is_known(&request) => {
                    tokio::spawn(tunnel(request, way, tls, state));
                    reply::opened()
                }
                _ => state.answer(&way, request).await,
            })
        }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().half_close(true).timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    // A connection that breaks is the candidate's affair; the calls it carried are accounted for.
    if tunnels {
        let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    } else {
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// Answers what comes through a tunnel to an upstream. Boxed, because there are connections in it again.
fn tunnel(
    request: http::Request<Incoming>,
    way: Way,
    tls: TlsAcceptor,
    state: Arc<State>,
) -> BoxFuture<'static, ()> {
    async move {
        let Ok(stream) = hyper::upgrade::on(request).await else { return };
        if let Ok(stream) = tls.accept(TokioIo::new(stream)).await {
            converse(stream, way, None, state).await;
        }
    }
    .boxed()
}
