//! The listening sockets: bound here, or passed by whoever started the recorder and keeps them open while it is restarted.
//!
//! A supervisor passes them by systemd's protocol (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). A socket named `clients`, `admin`, `by_host`, `proxy` or
//! `upstream.<name>` is that listener's, whatever its address; any other one is the listener's whose configured address it has.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::sidecar::Config;
use crate::hand_over::Giver;

/// Connections that wait to be accepted; the system's own limit (`net.core.somaxconn`) is 4096 as well.
const BACKLOG: i32 = 4096;
/// Handshakes that have begun when a listener closes get this long: several round trips within a zone.
const HANDSHAKE: Duration = Duration::from_millis(50);

/// Why the listeners cannot be opened. Each is a matter of the configuration, or of whoever passes sockets.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: set `{key}` to an address that is free")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The key that says so.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// What was passed is no TCP socket that listens.
    #[error("the socket passed as {place} is no listening TCP socket")]
    NoListener {
        /// Its name or number.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// A passed socket belongs to no listener.
    #[error(
        "the socket passed for {address} belongs to no listener of the configuration: name it one of {known}, or bind it to their address"
    )]
    Unknown {
        /// Where it listens.
        address: SocketAddr,
        /// The names of the configured listeners.
        known: String,
    },
    /// The service's own calls must not be open to others.
    #[error(
        "the socket passed as `{name}` listens on {address}: it must be a loopback address, because anyone who reaches it reaches the upstream"
    )]
    NotLoopback {
        /// The listener.
        name: String,
        /// Where the socket listens.
        address: SocketAddr,
    },
}

/// A socket that was listening before this process began.
#[derive(Debug)]
pub(crate) struct PassedSocket {
    pub(crate) name: String,
    pub(crate) listener: TcpListener,
    /// Whether somebody else keeps it open after this process.
    pub(crate) kept: bool,
}

impl PassedSocket {
    fn is_at(&self, address: SocketAddr) -> bool {
        self.listener.local_addr().is_ok_and(|at| at == address)
    }
}

/// The sockets that a recorder starts with.
#[derive(Debug, Default)]
pub struct Passed {
    pub(crate) sockets: Vec<PassedSocket>,
    /// Who gave them, to be told when they are served.
    pub(crate) giver: Option<Giver>,
}

impl Passed {
    /// Takes the sockets that the process was started with. To be called once, before there are threads and other files.
    pub fn from_environment() -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut sockets = Vec::new();
        for number in 0..fds.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let no_listener = |source| ListenError::NoListener {
                place: format!("number {} (`{name}`)", number + 1),
                source,
            };
            let listener = fds.take_tcp_listener(number).map_err(no_listener)?;
            let listener = listener.ok_or(io::ErrorKind::NotFound.into()).map_err(no_listener)?;
            if !SockRef::from(&listener).is_listener().map_err(no_listener)? {
                return Err(no_listener(io::ErrorKind::NotConnected.into()));
            }
            sockets.push(PassedSocket { name, listener, kept: true });
        }
        Ok(Self { sockets, giver: None })
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Takes the socket of a name. A recorder's must have the configured address, too: it may have had another configuration.
    fn take_named(&mut self, place: &Place, taken_over: bool) -> Option<PassedSocket> {
        self.take(|socket| {
            let is_there = || place.address.port() == 0 || socket.is_at(place.address);
            socket.name == place.name && (!taken_over || is_there())
        })
    }

    fn take(&mut self, matches: impl Fn(&PassedSocket) -> bool) -> Option<PassedSocket> {
        let found = self.sockets.iter().position(matches)?;
        Some(self.sockets.remove(found))
    }
}

/// What comes in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Requests of clients.
    Clients,
    /// Calls to the upstream at this place of the configuration.
    Upstream(usize),
    /// Calls to any upstream, told apart by `Host`.
    ByHost,
    /// Calls to anything, as through a forward proxy.
    Proxy,
    /// Questions of the operator.
    Admin,
}

/// What the configuration says of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) way: Way,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) address: SocketAddr,
}

/// Returns every listener of a configuration: that of the clients, those of the service's calls, that of the admin.
pub(crate) fn places(config: &Config) -> Vec<Place> {
    let place = |way, name: &str, key: &str, address: Option<SocketAddr>| {
        Some(Place { way, name: name.into(), key: key.into(), address: address? })
    };
    let clients = place(Way::Clients, "clients", "[recorder] listen", Some(config.recorder.listen));
    let upstreams = config.upstreams.iter().enumerate().filter_map(|(number, upstream)| {
        let key = format!("[[upstream]] {} listen", upstream.name);
        place(Way::Upstream(number), &format!("upstream.{}", upstream.name), &key, upstream.listen)
    });
    let by_host = place(Way::ByHost, "by_host", "[egress] by_host", config.egress.by_host);
    let proxy = place(Way::Proxy, "proxy", "[egress] proxy", config.egress.proxy);
    let admin = place(Way::Admin, "admin", "[recorder] admin", config.recorder.admin);
    clients.into_iter().chain(upstreams).chain(by_host).chain(proxy).chain(admin).collect()
}

/// The listeners, open and not served yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) clients: Door,
    pub(crate) egress: Vec<Door>,
    pub(crate) admin: Option<Door>,
}

impl Listeners {
    /// Opens the listeners: those that were passed, and the others by binding their address.
    pub(crate) fn open(config: &Config, passed: &mut Passed) -> Result<Self, ListenError> {
        let places = places(config);
        let taken_over = passed.giver.is_some();
        let named: Vec<_> =
            places.iter().map(|place| passed.take_named(place, taken_over)).collect();
        let mut doors = Vec::new();
        for (place, named) in places.iter().zip(named) {
            let at_address = |socket: &PassedSocket| socket.is_at(place.address);
            doors.push(match named.or_else(|| passed.take(at_address)) {
                Some(socket) => Door::passed(place, socket)?,
                None => Door::bind(place)?,
            });
        }
        if taken_over {
            for PassedSocket { name, .. } in passed.sockets.drain(..) {
                tracing::warn!(
                    name,
                    "a listener of the recorder before is not configured here: it ends with it"
                );
            }
        }
        if let Some(unknown) = passed.sockets.first() {
            let known = places.iter().map(|place| &*place.name).collect::<Vec<_>>().join(", ");
            let address = unknown.listener.local_addr().unwrap_or(([0, 0, 0, 0], 0).into());
            return Err(ListenError::Unknown { address, known });
        }
        let admin = config.recorder.admin.and_then(|_| doors.pop());
        let egress = doors.split_off(1);
        let clients = doors.pop().expect("a configuration has a listener for clients");
        Ok(Self { clients, egress, admin })
    }

    /// Returns all of them, in the order of [`places`].
    pub(crate) fn all(&self) -> impl Iterator<Item = &Door> {
        std::iter::once(&self.clients).chain(&self.egress).chain(&self.admin)
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) way: Way,
    pub(crate) name: String,
    pub(crate) listener: TcpListener,
    /// Whether somebody else keeps the socket open, so that nothing that waits in it is lost when this process lets go of it.
    pub(crate) kept: Arc<AtomicBool>,
}

impl Door {
    fn passed(place: &Place, socket: PassedSocket) -> Result<Self, ListenError> {
        let PassedSocket { listener, kept, .. } = socket;
        let name = place.name.clone();
        let no_listener = |source| ListenError::NoListener { place: place.name.clone(), source };
        let address = listener.local_addr().map_err(no_listener)?;
        listener.set_nonblocking(true).map_err(no_listener)?;
        if matches!(place.way, Way::Upstream(_) | Way::ByHost | Way::Proxy)
            && !address.ip().is_loopback()
        {
            return Err(ListenError::NotLoopback { name, address });
        }
        Ok(Self { way: place.way, name, listener, kept: Arc::new(AtomicBool::new(kept)) })
    }

    fn bind(place: &Place) -> Result<Self, ListenError> {
        let listen = || {
            let socket = bind(place.address)?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        let listener = listen().map_err(|source| ListenError::Bind {
            address: place.address,
            key: place.key.clone(),
            source,
        })?;
        Ok(Self { way: place.way, name: place.name.clone(), listener, kept: Arc::default() })
    }

    /// Returns the address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    /// Prepares to accept; within the runtime that will.
    pub(crate) fn open(self) -> io::Result<OpenDoor> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        Ok(OpenDoor { listener, kept: self.kept })
    }
}

/// Binds an address as a server does, and does not listen yet.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier start that are still closing do not stand in the way.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A listening socket that accepts.
#[derive(Debug)]
pub(crate) struct OpenDoor {
    listener: tokio::net::TcpListener,
    kept: Arc<AtomicBool>,
}

impl OpenDoor {
    /// Waits for a connection.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Closes, and passes on what waits: a client whose connection is established is answered.
    pub(crate) async fn close(self, mut take: impl FnMut(TcpStream)) {
        if self.kept.load(Ordering::Relaxed) {
            // What waits is accepted by the next recorder.
            return;
        }
        // Otherwise a connection established between the last look and the close would be reset. Where the system cannot do it
        // that short moment remains.
        if refuse_handshakes(&self.listener).is_ok() {
            let until = Instant::now() + HANDSHAKE;
            while let Ok(accepted) = timeout_at(until, self.accept()).await {
                match accepted {
                    Ok(stream) => take(stream),
                    // As when the process is out of file descriptors: some are closed soon.
                    Err(_) => sleep(HANDSHAKE / 10).await,
                }
            }
        }
        self.take_waiting(take);
    }

    /// Passes on what waits now.
    fn take_waiting(&self, mut take: impl FnMut(TcpStream)) {
        // Not within tokio's budget for one turn: it would seem that nothing waits any more.
        while let Some(Ok(stream)) = unconstrained(self.accept()).now_or_never() {
            take(stream);
        }
    }
}

/// Makes the kernel ignore new handshakes, and let those go on that have begun.
fn refuse_handshakes(listener: &tokio::net::TcpListener) -> io::Result<()> {
    // The flags are the byte at 13 of the TCP header; a handshake begins with SYN (2) and without ACK (16).
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, 13),       // load the byte
        SockFilter::new(0x54, 0, 0, 0x12),     // keep SYN and ACK
        SockFilter::new(0x15, 0, 1, 0x02),     // SYN alone?
        SockFilter::new(0x06, 0, 0, 0),        // then drop it
        SockFilter::new(0x06, 0, 0, u32::MAX), // else pass it on whole
    ])
}

#[cfg(test)]
mod tests;
