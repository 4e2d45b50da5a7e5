//! Logging to standard error, which never fails and never waits: a thread of its own writes the lines. Where standard error is closed,
//! full or slow, lines are lost and counted; nothing else is.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::Environment;

/// Lines that wait for standard error; more are lost, counted.
const LINES_MAX: usize = 4096;
/// How long the end of the process waits for the last lines.
const FLUSH_WAIT: Duration = Duration::from_secs(1);
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// What the thread receives.
enum Entry {
    Line(Vec<u8>),
    /// Everything before it is written when the sender within is dropped.
    Flush(Sender<()>),
}

/// The way to the thread that writes.
#[derive(Clone)]
pub struct Log {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// Starts logging: the level by `SHADOW_LOG` (default `info`), JSON where `SHADOW_LOG_FORMAT` is `json`. Panics are logged as well.
pub fn init(environment: Environment) -> Log {
    let (entries, received) = sync_channel(LINES_MAX);
    let log = Log { entries, lost: Arc::default() };
    let lost = Arc::clone(&log.lost);
    let json = environment("SHADOW_LOG_FORMAT").as_deref() == Some("json");
    // Without the thread there are no lines, which is no reason to stand in the way of traffic.
    let _ = thread::Builder::new()
        .name("shadow-log".into())
        .spawn(move || write_lines(&received, &lost, json, &mut io::stderr()));
    let level = environment("SHADOW_LOG").unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = quiet().fold(filter, EnvFilter::add_directive);
    let lines = log.clone();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines.clone());
    // Fails only where a test has started logging before.
    let _ = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    log_panics();
    log
}

/// What the libraries of HTTP say below `info` may show what passes, and the AWS SDK shows session tokens: not logged at any level.
fn quiet() -> impl Iterator<Item = Directive> {
    let libraries = ["aws", "h2", "hyper", "hyper_util", "rustls", "tokio_util", "tower"];
    libraries
        .into_iter()
        .map(|library| format!("{library}=info"))
        .filter_map(|directive| directive.parse().ok())
}

impl Log {
    /// Writes a line as it is.
    pub fn say(&self, line: &str) {
        self.send(format!("{line}\n").into_bytes());
    }

    /// Waits until what was logged is written, but not for long.
    pub fn flush(&self) {
        let until = Instant::now() + FLUSH_WAIT;
        let (done, written) = channel();
        let mut entry = Entry::Flush(done);
        while let Err(TrySendError::Full(again)) = self.entries.try_send(entry) {
            if Instant::now() >= until {
                return;
            }
            entry = again;
            thread::sleep(FULL_PAUSE);
        }
        // Nothing is ever sent: the wait is over when the thread drops its end.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn send(&self, line: Vec<u8>) {
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One call is one line: the subscriber formats an event first and writes it whole.
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(entries: &Receiver<Entry>, lost: &AtomicU64, json: bool, to: &mut impl Write) {
    while let Ok(entry) = entries.recv() {
        // A failure to log has nowhere to be told.
        match entry {
            Entry::Line(line) => drop(to.write_all(&line)),
            Entry::Flush(done) => drop(done),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let what = format!("{lost} log lines were lost: nobody read them in time");
            let _ = if json {
                writeln!(to, r#"{{"level":"WARN","fields":{{"message":"{what}"}}}}"#)
            } else {
                writeln!(to, "WARN {what}")
            };
        }
    }
}

/// Logs the first panic at each place of the code; `dropped{reason="panic"}` counts all of them.
fn log_panics() {
    let places = Mutex::new(BTreeSet::new());
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "unknown".into(), ToString::to_string);
        if !places.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone()) {
            return;
        }
        // Only what stands in the code: a message made at run time could hold what a body held.
        let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
        tracing::error!(
            place,
            message,
            thread = thread::current().name(),
            "a part of the recorder failed; traffic passes on, and this place is not logged again"
        );
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A standard error that nobody reads until the test does.
    #[derive(Clone, Default)]
    struct Stuck(Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_standard_error_that_is_stuck_and_what_is_lost_is_told() {
        let (entries, received) = sync_channel(2);
        let log = Log { entries, lost: Arc::default() };
        let stuck = Stuck::default();
        let (mut to, lost) = (stuck.clone(), Arc::clone(&log.lost));
        let held = stuck.0.lock().unwrap();
        let thread = thread::spawn(move || write_lines(&received, &lost, false, &mut to));
        // One is with the thread, two wait, the rest is lost; when the thread takes the first is its own affair.
        let (said, waited) = (log.clone(), channel());
        thread::spawn(move || {
            (0..10).for_each(|n| said.say(&n.to_string()));
            waited.0.send(()).unwrap();
        });
        waited.1.recv_timeout(Duration::from_secs(10)).expect("nobody waits");
        let lost = log.lost.load(Ordering::Relaxed);
        assert!((7..=8).contains(&lost), "{lost}");
        drop(held);
        log.flush();
        drop(log);
        thread.join().unwrap();
        let text = String::from_utf8(stuck.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("0\n"), "{text}");
        assert!(text.contains(&format!("WARN {lost} log lines were lost")), "{text}");
    }
}
