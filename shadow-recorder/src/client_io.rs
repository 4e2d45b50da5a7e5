//! The client's side of a pair: the socket under hyper's server connection.
//!
//! hyper does not read while a request is in progress once half-closed clients are allowed, so that a client that leaves would be noticed
//! only at the next write. This socket looks ahead then. It also writes interim answers, for which hyper's server has no way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::link::Link;

/// What hyper's server says to a client that waits for leave as soon as its body is asked for. Only the service can give leave: it is
/// swallowed, and the service's own passes as an interim answer.
const HYPERS_LEAVE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The socket of a client.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: TcpStream,
    link: Arc<Link>,
    /// hyper read since the last flush, and so will notice the client's end itself.
    was_read: bool,
    /// Nothing of a final answer was written since everything before it went out.
    is_flushed: bool,
}

impl ClientIo {
    pub(crate) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream, link, was_read: false, is_flushed: true }
    }

    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.stream;
        let wrote = self.link.write_interim(|bytes| {
            match Pin::new(&mut *stream).poll_write(context, bytes) {
                Poll::Ready(Ok(taken)) => Ok(taken),
                Poll::Ready(Err(error)) => Err(Some(error)),
                Poll::Pending => Err(None),
            }
        });
        match wrote {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Some(error)) => Poll::Ready(Err(error)),
            Err(None) => Poll::Pending,
        }
    }

    /// Looks whether the client sent more, ended or left, without taking anything.
    fn look_ahead(&mut self, context: &mut Context<'_>) {
        let link = &self.link;
        if link.data_waits.load(Relaxed) || link.client_ended.load(Relaxed) {
            return;
        }
        let mut byte = [0];
        match self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0)) => link.client_ended.store(true, Relaxed),
            Poll::Ready(Ok(_)) => link.data_waits.store(true, Relaxed),
            Poll::Ready(Err(_)) => link.client_gone.store(true, Relaxed),
            Poll::Pending => {}
        }
    }

    fn wrote(&mut self, wrote: &Poll<io::Result<usize>>) {
        self.is_flushed = false;
        self.link.write_blocked.store(wrote.is_pending(), Relaxed);
        if let Poll::Ready(Ok(taken)) = wrote {
            self.link.written.fetch_add(*taken as u64, Relaxed);
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.was_read = true;
        self.link.data_waits.store(false, Relaxed);
        self.link.read_blocked.store(read.is_pending(), Relaxed);
        self.link.read.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_flushed && bytes == HYPERS_LEAVE {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.link.has_interim() && self.is_flushed {
            ready!(self.poll_interim(context))?;
        }
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_flushed && slices.first().is_some_and(|slice| **slice == *HYPERS_LEAVE) {
            return Poll::Ready(Ok(HYPERS_LEAVE.len()));
        }
        if self.link.has_interim() && self.is_flushed {
            ready!(self.poll_interim(context))?;
        }
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // hyper calls this in every round, and only when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_flushed = true;
        if !std::mem::take(&mut self.was_read) {
            self.look_ahead(context);
        }
        if self.link.has_interim() {
            ready!(self.poll_interim(context))?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        if self.link.reset.load(Relaxed) {
            // Fails only on a connection that is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}
