//! What runs beside the data path, in a thread and a runtime of its own: the upload, the admin listener, and the closing of exchanges that
//! have lingered. Whatever they do, and however long a disk takes, no request waits for it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::capture::Capture;
use crate::listeners::Door;
use crate::record::caught;
use crate::upload::{Parcel, Upload, Uploaded};

/// How often exchanges are looked through for those that have lingered.
pub(crate) const SWEEP: Duration = Duration::from_millis(10);

/// A weight of 335 beside 1024 (Linux, `sched_prio_to_weight`).
const NICE: i32 = 5;

/// What the thread does.
pub(crate) struct Background {
    pub(crate) upload: Upload,
    pub(crate) parcels: UnboundedReceiver<Parcel>,
    pub(crate) admin: Option<(Door, Admin)>,
    pub(crate) capture: Arc<Capture>,
    /// Cancelled when the admin listener is another recorder's.
    pub(crate) handed_over: CancellationToken,
    /// Cancelled when nothing is left to be shown.
    pub(crate) end: CancellationToken,
}

/// What the thread says.
pub(crate) struct Reports {
    /// Once nothing more can be stored.
    pub(crate) uploaded: oneshot::Receiver<Uploaded>,
    /// Once everything has ended.
    pub(crate) ended: oneshot::Receiver<()>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(self) -> io::Result<Reports> {
        let (tell_uploaded, uploaded) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("shadow-background".into()).spawn(move || {
            yield_to_requests();
            runtime.block_on(self.run(tell_uploaded));
            // A disk that does not answer must not keep the process.
            runtime.shutdown_background();
            let _ = tell_ended.send(());
        })?;
        Ok(Reports { uploaded, ended })
    }

    async fn run(self, tell_uploaded: oneshot::Sender<Uploaded>) {
        let Self { upload, parcels, admin, capture, handed_over, end } = self;
        let admin = admin.map(|(door, admin)| {
            let (capture, admin) = (Arc::clone(&capture), Arc::new(admin));
            let (handed_over, end) = (handed_over.clone(), end.clone());
            tokio::spawn(async move {
                match door.open() {
                    Ok(door) => {
                        let serve = admin::serve(door, admin, handed_over, end);
                        Arc::clone(&capture.health).watch("admin".into(), serve).await;
                    }
                    Err(_) => capture.health.failed("admin"),
                }
            })
        });
        let sweeper = tokio::spawn(sweep(capture, end.clone()));
        if let Ok(uploaded) = tokio::spawn(upload.run(parcels)).await {
            // Nobody listens where the run was given up.
            let _ = tell_uploaded.send(uploaded);
        }
        end.cancelled().await;
        let _ = sweeper.await;
        if let Some(admin) = admin {
            let _ = admin.await;
        }
    }
}

/// Lets the thread that carries requests go first where both want the same core. It still gets a quarter of that core, which is more than
/// recording everything needs.
pub(crate) fn yield_to_requests() {
    // Where it is not allowed the threads are equals, as ever.
    let _ = setpriority_process(Some(gettid()), NICE);
}

async fn sweep(capture: Arc<Capture>, end: CancellationToken) {
    while !end.is_cancelled() {
        // A panic must not end the closing of exchanges.
        let _ = caught(|| capture.sweep(Instant::now()));
        tokio::time::sleep(SWEEP).await;
    }
}
