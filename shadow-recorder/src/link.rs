//! What the two connections of a pair tell each other: the client's, and the one to the service that belongs to it alone.
//!
//! Both are polled by one task, so that plain stores suffice; atomics and locks are there because the task may move between threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::net::TcpStream;

/// Interim answers that wait for a client that does not read; more are dropped, as RFC 9110 allows for all but 101.
pub(crate) const INTERIM_BYTES_MAX: usize = 64 << 10;

/// The state of a pair of connections.
#[derive(Debug, Default)]
pub(crate) struct Link {
    requests_begun: AtomicU64,
    requests_ended: AtomicU64,
    /// Bytes read from the client.
    pub(crate) read: AtomicU64,
    /// Bytes read when the last request was over: more are the head of the next.
    read_at_rest: AtomicU64,
    /// Bytes written to the client.
    pub(crate) written: AtomicU64,
    /// Requests or bodies are awaited from the client.
    pub(crate) read_blocked: AtomicBool,
    /// The client does not take what is sent.
    pub(crate) write_blocked: AtomicBool,
    /// Bytes of the client wait while nobody reads.
    pub(crate) data_waits: AtomicBool,
    /// The client ended its half of the connection while its request was in progress.
    pub(crate) client_ended: AtomicBool,
    /// The client reset its connection.
    pub(crate) client_gone: AtomicBool,
    /// The end of the request in progress was handed to the connection to the service.
    pub(crate) request_ended: AtomicBool,
    /// The request before did not end, so that the connection to the service cannot be used again.
    pub(crate) request_broke_off: AtomicBool,
    /// Something of the request in progress was written to the service.
    pub(crate) request_written: AtomicBool,
    /// The service reset its connection: the client's is to be reset as well.
    pub(crate) reset: AtomicBool,
    /// Answers from now on are the last of their connection, and say so.
    pub(crate) is_closing: AtomicBool,
    has_interim: AtomicBool,
    interim: Mutex<BytesMut>,
    tunnel: Mutex<Option<Tunnel>>,
}

/// Both ends of an upgraded connection.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) service: End,
}

/// The end of a tunnel that is not the client's.
#[derive(Debug)]
pub(crate) enum End {
    /// The service agreed to another protocol.
    Upgraded(OnUpgrade),
    /// The client asked for a connection.
    Connected(TcpStream),
}

impl Link {
    /// A request's head was read; it ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InProgress {
        let before = self.requests_begun.fetch_add(1, Relaxed);
        let ended = self.request_ended.swap(false, Relaxed);
        self.request_broke_off.store(before > 0 && !ended, Relaxed);
        self.request_written.store(false, Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Returns the number of requests whose heads were read.
    pub(crate) fn begun(&self) -> u64 {
        self.requests_begun.load(Relaxed)
    }

    /// Returns whether bytes of a request's head came that is not whole yet.
    pub(crate) fn is_in_head(&self) -> bool {
        self.read.load(Relaxed) != self.read_at_rest.load(Relaxed)
    }

    /// Returns whether a request is in progress.
    pub(crate) fn is_busy(&self) -> bool {
        self.begun() != self.requests_ended.load(Relaxed)
    }

    /// Queues an interim answer (RFC 9110, section 15.2) for the client.
    pub(crate) fn push_interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut queued = self.queued();
        let reason = status.canonical_reason().unwrap_or("");
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        if queued.len() + text.len() <= INTERIM_BYTES_MAX {
            queued.put_slice(&text);
            self.has_interim.store(true, Relaxed);
        }
    }

    /// Returns whether an interim answer waits.
    pub(crate) fn has_interim(&self) -> bool {
        self.has_interim.load(Relaxed)
    }

    /// Writes what waits by `write`, which says how many bytes it took.
    pub(crate) fn write_interim<E>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let mut queued = self.queued();
        while !queued.is_empty() {
            let taken = write(&queued)?;
            queued.advance(taken);
        }
        self.has_interim.store(false, Relaxed);
        Ok(())
    }

    /// Keeps the two ends of a connection that both sides agreed to upgrade.
    pub(crate) fn upgrade(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// Takes the upgraded ends.
    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn queued(&self) -> MutexGuard<'_, BytesMut> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct InProgress(pub(crate) Arc<Link>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.requests_ended.fetch_add(1, Relaxed);
        self.0.read_at_rest.store(self.0.read.load(Relaxed), Relaxed);
    }
}
