//! How a person or a pod asks the recorder to stop.
//!
//! SIGTERM or SIGINT: nothing new is accepted, what has begun is finished within `grace`. A second one: what is in progress is cut off,
//! what is recorded is synced to the spool, and the next start stores it. SIGHUP, SIGUSR1 and SIGUSR2 change nothing, instead of ending
//! the process as they would by themselves: the configuration is read at the start alone.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// When a recorder stops.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Nothing new is accepted, and what has begun is finished.
    pub stop: CancellationToken,
    /// What has begun is cut off.
    pub now: CancellationToken,
}

impl From<CancellationToken> for Shutdown {
    fn from(stop: CancellationToken) -> Self {
        Self { stop, now: CancellationToken::new() }
    }
}

/// Returns what the first and the second SIGTERM or SIGINT cancel.
pub fn stop_on_signal() -> io::Result<Shutdown> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    for (name, kind) in [
        ("SIGHUP", SignalKind::hangup()),
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGUSR2", SignalKind::user_defined2()),
    ] {
        tokio::spawn(ignore(name, signal(kind)?));
    }
    let shutdown = Shutdown::default();
    let cancelled = shutdown.clone();
    tokio::spawn(async move {
        for token in [cancelled.stop, cancelled.now] {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            token.cancel();
        }
    });
    Ok(shutdown)
}

async fn ignore(name: &'static str, mut signal: Signal) {
    while signal.recv().await.is_some() {
        tracing::info!(
            signal = name,
            "a signal without a meaning: a changed configuration is read at a restart"
        );
    }
}
