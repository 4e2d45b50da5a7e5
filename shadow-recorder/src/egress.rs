//! The listeners that serve all upstreams: each call is given to the stack of the upstream that it asks for.
//!
//! A listener by `Host` serves configured upstreams and nothing else. A forward proxy is asked for everything that the service calls: what is no
//! configured upstream, and what it cannot look into (CONNECT), passes unrecorded and counted, because refusing it would break
//! production; `unknown = "refuse"` does refuse it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use tokio::net::TcpStream;
use tower::Service;

use crate::account::Reason;
use crate::config::egress::{Unknown, asked_host};
use crate::forward::{Answer, Forward, Host, own_answer};
use crate::hop_by_hop::HopByHop;
use crate::link::{End, Tunnel};
use crate::metrics::{Metrics, Unseen};
use crate::pinned::{HeadFields, NoAnswer, Peer, Pinned};
use crate::proxy::{Pair, Route, Stack};
use crate::received::Received;
use crate::tee::Tee;

/// Unknown systems to which one connection of the service stays connected.
const UNKNOWN_MAX: usize = 8;
/// Unknown systems that are named in the log, each once.
const NAMED_MAX: usize = 100;

/// What all connections of a listener share.
pub(crate) struct Routes {
    /// By the name that a call asks for, lower-case, without a port that goes without saying.
    pub(crate) by_host: HashMap<String, Route>,
    /// What happens to other names; none where the listener is no forward proxy.
    pub(crate) unknown: Option<Unknown>,
    pub(crate) connect_timeout: Duration,
    pub(crate) head_fields: HeadFields,
    /// Where the recorder itself listens.
    pub(crate) own: Vec<SocketAddr>,
    pub(crate) metrics: Metrics,
    pub(crate) named: Mutex<HashSet<String>>,
}

/// Serves one connection of the service.
pub(crate) struct Egress {
    routes: Arc<Routes>,
    pair: Pair,
    unrecorded: Option<Reason>,
    targets: HashMap<String, Target>,
}

enum Target {
    Upstream(Stack),
    Unknown(HopByHop<Forward>),
}

type Answering = BoxFuture<'static, Result<Response<Tee<Answer>>, NoAnswer>>;

impl Egress {
    pub(crate) fn new(routes: Arc<Routes>, pair: Pair, unrecorded: Option<Reason>) -> Self {
        Self { routes, pair, unrecorded, targets: HashMap::new() }
    }

    fn target(&mut self, name: &str) -> Option<&mut Target> {
        if self.targets.contains_key(name) {
            return self.targets.get_mut(name);
        }
        let target = match self.routes.by_host.get(name) {
            Some(route) => Target::Upstream(route.stack(&self.pair, self.unrecorded)),
            None => Target::Unknown(self.unknown_target(name)?),
        };
        // Rarely reached; the connections that this ends are idle or finish what they have begun.
        if self.targets.len() >= UNKNOWN_MAX + self.routes.by_host.len() {
            self.targets.clear();
        }
        Some(self.targets.entry(name.to_owned()).or_insert(target))
    }

    fn unknown_target(&self, name: &str) -> Option<HopByHop<Forward>> {
        let authority: Authority = name.parse().ok()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(80);
        let peer = Peer {
            host,
            port,
            tls: None,
            connect_timeout: self.routes.connect_timeout,
            head_fields: self.routes.head_fields,
        };
        let pinned = Pinned::new(peer, self.pair.clone());
        Some(HopByHop { inner: Forward::new(pinned, Arc::clone(&self.pair.link), Host::Kept) })
    }

    fn route(&mut self, request: Request<Received>) -> Answering {
        let Some(name) = asked_host(&request) else { return own(StatusCode::BAD_REQUEST) };
        let is_proxy = request.uri().authority().is_some();
        let is_known = self.routes.by_host.contains_key(&name);
        match (self.routes.unknown, is_known) {
            (None, false) => {
                tracing::debug!(host = name, "no upstream has this host");
                return own(StatusCode::MISDIRECTED_REQUEST);
            }
            (Some(unknown), false) => {
                if let Some(status) = self.admit(&name, unknown, Unseen::UnknownHost) {
                    return own(status);
                }
                if request.uri().scheme() == Some(&Scheme::HTTPS) || !is_proxy {
                    return own(StatusCode::NOT_IMPLEMENTED);
                }
            }
            (_, true) => {}
        }
        match self.target(&name) {
            Some(Target::Upstream(stack)) => stack.call(request).boxed(),
            Some(Target::Unknown(forward)) => {
                let answer = forward.call(request.map(Tee::uncopied));
                async move { Ok(answer.await?.map(Tee::uncopied)) }.boxed()
            }
            None => own(StatusCode::BAD_REQUEST),
        }
    }

    /// Opens a tunnel: nothing of what passes can be seen.
    fn tunnel(&self, mut request: Request<Received>) -> Answering {
        let Some(unknown) = self.routes.unknown else {
            return own(StatusCode::NOT_IMPLEMENTED);
        };
        let Some(authority) = request.uri().authority().cloned() else {
            return own(StatusCode::BAD_REQUEST);
        };
        let Some(port) = authority.port_u16() else { return own(StatusCode::BAD_REQUEST) };
        let named = format!("{}:{port}", authority.host());
        if let Some(status) = self.admit(&named, unknown, Unseen::Connect) {
            return own(status);
        }
        let (host, link) =
            (authority.host().trim_matches(['[', ']']).to_owned(), Arc::clone(&self.pair.link));
        let connect_timeout = self.routes.connect_timeout;
        async move {
            let connecting = TcpStream::connect((host.as_str(), port));
            Ok(match tokio::time::timeout(connect_timeout, connecting).await {
                Ok(Ok(stream)) => {
                    let client = hyper::upgrade::on(&mut request);
                    link.upgrade(Tunnel { client, service: End::Connected(stream) });
                    Response::new(Tee::uncopied(Either::Right(Full::default())))
                }
                Ok(Err(_)) => refused(StatusCode::BAD_GATEWAY),
                Err(_) => refused(StatusCode::GATEWAY_TIMEOUT),
            })
        }
        .boxed()
    }

    /// Counts a call to an unknown system; returns the status by which it is refused.
    fn admit(&self, name: &str, unknown: Unknown, kind: Unseen) -> Option<StatusCode> {
        if self.is_own(name) {
            return Some(StatusCode::LOOP_DETECTED);
        }
        let metrics = &self.routes.metrics;
        let mut known = self.routes.named.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < NAMED_MAX && known.insert(name.to_owned());
        drop(known);
        match unknown {
            Unknown::Tunnel => {
                metrics.unseen(kind).inc();
                if is_new {
                    tracing::warn!(
                        to = name,
                        "the service's calls to it are not recorded: a replay cannot answer them"
                    );
                }
                None
            }
            Unknown::Refuse => {
                metrics.unseen(Unseen::Refused).inc();
                if is_new {
                    tracing::warn!(
                        to = name,
                        "the service's calls to it are refused: it is no configured upstream"
                    );
                }
                Some(StatusCode::FORBIDDEN)
            }
        }
    }

    /// A call to the recorder itself would go in circles.
    fn is_own(&self, name: &str) -> bool {
        let Ok(authority) = name.parse::<Authority>() else { return false };
        let host = authority.host().trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        let port = authority.port_u16().unwrap_or(80);
        self.routes.own.iter().any(|own| {
            let same = address == Some(own.ip())
                || own.ip().is_unspecified() && address.is_some_and(|ip| ip.is_loopback());
            own.port() == port && (same || host == "localhost")
        })
    }
}

impl Service<Request<Received>> for Egress {
    type Response = Response<Tee<Answer>>;
    type Error = NoAnswer;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAnswer>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Received>) -> Answering {
        if request.method() == Method::CONNECT { self.tunnel(request) } else { self.route(request) }
    }
}

fn own(status: StatusCode) -> Answering {
    async move { Ok(refused(status)) }.boxed()
}

/// An answer of the proxy's own. What follows a request for a tunnel on the connection is no request.
fn refused(status: StatusCode) -> Response<Tee<Answer>> {
    let mut response = own_answer(status).map(Tee::uncopied);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
