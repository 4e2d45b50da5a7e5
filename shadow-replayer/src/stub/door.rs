//! The stub's listeners: the ways by which the service reached the recorder's egress are those by which the candidate reaches the stub.
//!
//! A connection speaks HTTP/1 or HTTP/2 by prior knowledge, as its first bytes say.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use shadow_recorder::config::egress::asked_host;
use shadow_recorder::config::upstream::Upstream;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::state::State;
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
                known.get(&host).ok_or(host)
            }
        }
    }
}

/// A listening socket of the stub.
#[derive(Debug)]
pub(super) struct Door {
    /// Whom it is for, as people read it.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    way: Way,
    listener: TcpListener,
}

/// Binds every listener that the configuration asks for.
pub(super) async fn open(
    upstreams: &[Upstream],
    settings: &Settings,
) -> Result<Vec<Door>, BindError> {
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
        doors.push(Door { name, address, way, listener });
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
        connections.spawn(serve(stream, door.way.clone(), Arc::clone(&state), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

async fn serve(stream: TcpStream, way: Way, state: Arc<State>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: http::Request<Incoming>| {
        let (way, state) = (way.clone(), Arc::clone(&state));
        async move { Ok::<_, Infallible>(state.answer(&way, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().half_close(true).timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    tokio::select! {
        // A connection that breaks is the candidate's affair; the calls it carried are accounted for.
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        () = stop.cancelled() => {}
    }
}
