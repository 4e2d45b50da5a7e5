//! Handing the listening sockets over to the next recorder, where no supervisor keeps them: no connection is refused, and none waits.
//!
//! A recorder with `hand_over = "PATH"` listens on that Unix socket. `shadow-recorder --take-over` connects to it, receives the
//! listening sockets (`SCM_RIGHTS`), serves them, and says so; only then does the first one stop accepting, and drains. Whoever can open
//! the path can take the port, so only the recorder's own user can.
//!
//! ```text
//! first → next   "shadow-recorder hand-over 1\n", then a line `<name> bound|kept` per socket, and the sockets in that order
//! next → first   "served"; the end of the connection without it changes nothing
//! ```

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;

use crate::config::sidecar::Config;
use crate::listeners::{Door, Listeners, Passed, PassedSocket};

const GREETING: &str = "shadow-recorder hand-over 1";
const SERVED: &[u8] = b"served";
/// What the kernel passes at once.
const SOCKETS_MAX: usize = 253;
/// A name is at most 63 characters, its prefix 9, and the rest of its line 6.
const MESSAGE_BYTES_MAX: usize = 32 << 10;
/// The next recorder may take this long to open what it was not given and to begin.
const SERVED_WAIT: Duration = Duration::from_secs(30);
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Why the sockets cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// There is no path.
    #[error("set `hand_over` in [recorder] to the path where recorders hand over")]
    NoPath,
    /// There is a recorder, and it does not hand over.
    #[error("cannot take the listening sockets over from the recorder at {path}")]
    Failed {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a recorder offers to the next.
#[derive(Debug)]
pub(crate) struct Offer {
    path: PathBuf,
    sockets: Vec<(String, TcpListener, Arc<AtomicBool>)>,
}

impl Offer {
    /// Prepares to offer the listeners at a path.
    pub(crate) fn new(path: &Path, listeners: &Listeners) -> io::Result<Self> {
        let copy = |door: &Door| {
            Ok((door.name.clone(), door.listener.try_clone()?, Arc::clone(&door.kept)))
        };
        let sockets: Vec<_> = listeners.all().map(copy).collect::<io::Result<_>>()?;
        if sockets.len() > SOCKETS_MAX {
            return Err(io::Error::other("there are more listeners than can be handed over"));
        }
        Ok(Self { path: path.to_owned(), sockets })
    }

    // Only now, because the recorder that is being followed offers them at this path until then.
    fn open(&self) -> io::Result<UnixListener> {
        // Under another name at first: the place of an earlier recorder's socket is taken whole and with its permissions.
        let unfinished = self.path.with_added_extension(std::process::id().to_string());
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        fs::rename(&unfinished, &self.path)?;
        Ok(listener)
    }

    /// Offers the listeners, until another recorder serves them.
    pub(crate) async fn taken(self) -> io::Result<()> {
        let listener = self.open()?;
        loop {
            let given = match listener.accept().await {
                Ok((next, _)) => self.give(next).await,
                Err(error) => Err(error),
            };
            match given {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "the listening sockets were not taken over"),
            }
            tokio::time::sleep(crate::proxy::ACCEPT_PAUSE).await;
        }
        for (_, _, kept) in &self.sockets {
            kept.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn give(&self, mut next: tokio::net::UnixStream) -> io::Result<()> {
        let lines = self.sockets.iter().map(|(name, _, kept)| {
            let kept = if kept.load(Ordering::Relaxed) { "kept" } else { "bound" };
            format!("{name} {kept}\n")
        });
        let message: String = std::iter::once(format!("{GREETING}\n")).chain(lines).collect();
        next.writable().await?;
        let fds: Vec<_> = self.sockets.iter().map(|(_, listener, _)| listener.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Into an empty buffer, so that it takes the whole.
        sendmsg(&next, &[IoSlice::new(message.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
        let mut answer = [0; SERVED.len()];
        tokio::time::timeout(SERVED_WAIT, next.read_exact(&mut answer)).await??;
        if answer == SERVED { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// The recorder that gave its sockets and still serves them.
#[derive(Debug)]
pub(crate) struct Giver(UnixStream);

impl Giver {
    /// Says that the sockets are served here.
    pub(crate) fn served(mut self) -> io::Result<()> {
        self.0.write_all(SERVED)
    }
}

impl Passed {
    /// Takes the sockets of the recorder that offers them; none where there is no such recorder.
    pub fn take_over(config: &Config) -> Result<Self, TakeOverError> {
        let path = config.recorder.hand_over.as_ref().ok_or(TakeOverError::NoPath)?;
        let failed = |source| TakeOverError::Failed { path: path.clone(), source };
        match UnixStream::connect(path) {
            Ok(stream) => receive(stream).map_err(failed),
            Err(error) if is_nobody(&error) => Ok(Self::default()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn receive(stream: UnixStream) -> io::Result<Passed> {
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [IoSliceMut::new(&mut message)];
    let received = recvmsg(&stream, &mut buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        // It stops already, and closes its listeners.
        return Ok(Passed::default());
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all sockets came"));
    }
    let mut listeners = Vec::new();
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = received {
            listeners.extend(fds.map(TcpListener::from));
        }
    }
    let text = std::str::from_utf8(&message[..received.bytes]).map_err(io::Error::other)?;
    let mut lines = text.lines();
    if lines.next() != Some(GREETING) {
        return Err(io::Error::other("it is another version"));
    }
    let named: Option<Vec<_>> = lines.map(|line| line.rsplit_once(' ')).collect();
    let named = named.filter(|named| named.len() == listeners.len());
    let named = named.ok_or_else(|| io::Error::other("the sockets are not those announced"))?;
    let sockets = named.into_iter().zip(listeners).map(|((name, kept), listener)| PassedSocket {
        name: name.to_owned(),
        listener,
        kept: kept == "kept",
    });
    Ok(Passed { sockets: sockets.collect(), giver: Some(Giver(stream)) })
}
