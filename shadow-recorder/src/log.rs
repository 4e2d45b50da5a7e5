//! Logging to standard error, which never fails: a closed or full standard error costs log lines and nothing else.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::config::Environment;

/// Starts logging: the level by `SHADOW_LOG` (default `info`), JSON where `SHADOW_LOG_FORMAT` is `json`.
pub fn init(environment: Environment) {
    let level = environment("SHADOW_LOG").unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Forgiving);
    // Fails only where a test has started logging before.
    let _ = match environment("SHADOW_LOG_FORMAT").as_deref() {
        Some("json") => builder.json().try_init(),
        _ => builder.with_ansi(false).try_init(),
    };
}

/// Writes to standard error and ignores its failures. tracing-subscriber would report them by a macro that panics.
struct Forgiving;

impl Write for Forgiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
