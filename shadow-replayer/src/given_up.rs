//! Why a worker gives a run up before its end: going on would waste hours on what cannot be evidence.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

/// Whether, and why, a run is given up. The first reason counts.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    why: OnceLock<String>,
    given_up: CancellationToken,
}

impl GivenUp {
    pub(crate) fn give_up(&self, why: String) {
        let _ = self.why.set(why);
        self.given_up.cancel();
    }

    /// Waits until the run is given up, which may be for ever; returns why.
    pub(crate) async fn why(&self) -> String {
        self.given_up.cancelled().await;
        self.why.get().cloned().unwrap_or_default()
    }
}
