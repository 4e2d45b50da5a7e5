//! Bytes per exchange: Shadow's segments beside `GoReplay`'s file format and HAR, both compressed by gzip, for the same traffic.
//!
//! `cargo bench -p shadow-recorder --bench size` makes exchanges as the quickstart's service has them, with its upstream calls, ids that
//! do not compress and ordinary header fields. `cargo bench -p shadow-recorder --bench size -- FILE…` reads segments instead.
//!
//! All forms hold the same requests, answers and upstream calls. `GoReplay` and Shadow write to disk once a second, which ends a block of
//! the compression; the more exchanges a second has, the better both compress. A HAR is one document, compressed as a whole.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use shadow_recorder::exchange::Exchange;
use shadow_recorder::segment::{Line, Reader};

mod forms;
mod traffic;

const EXCHANGES: usize = 10_000;
const PER_SECOND: [usize; 4] = [1, 10, 100, 1_000];

/// Compares the sizes of recordings.
#[derive(Debug, Parser)]
struct Args {
    /// Segments to read; without any, exchanges are made.
    files: Vec<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let shown = table(&Args::parse())
        .and_then(|text| Ok(io::stdout().lock().write_all(text.as_bytes())?));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn table(args: &Args) -> Result<String> {
    let exchanges = if args.files.is_empty() {
        (0..EXCHANGES).map(traffic::exchange).collect()
    } else {
        read(&args.files)?
    };
    anyhow::ensure!(!exchanges.is_empty(), "there are no exchanges");
    let calls: usize = exchanges.iter().map(|exchange| exchange.upstream.len()).sum();
    let mut text = format!(
        "{} exchanges with {calls} upstream calls; bytes per exchange, compressed\n\n\
         | exchanges a second | Shadow segment | GoReplay, gzip | HAR, gzip | GoReplay ÷ Shadow | HAR ÷ Shadow |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        exchanges.len()
    );
    let har = forms::har(&exchanges)?.len();
    for per_second in PER_SECOND {
        let segment = forms::segment(&exchanges, per_second)?.len();
        let goreplay = forms::goreplay(&exchanges, per_second)?.len();
        let each = |bytes: usize| bytes / exchanges.len();
        writeln!(
            text,
            "| {per_second} | {} | {} | {} | {} | {} |",
            each(segment),
            each(goreplay),
            each(har),
            ratio(goreplay, segment),
            ratio(har, segment)
        )?;
    }
    Ok(text)
}

/// A ratio with two decimals.
fn ratio(a: usize, b: usize) -> String {
    let hundredths = a * 100 / b.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn read(files: &[PathBuf]) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let mut reader = Reader::<Line>::new(&bytes);
        for line in reader.lines() {
            if let Line::Exchange(exchange) = line {
                exchanges.push(*exchange);
            }
        }
        anyhow::ensure!(!reader.damage().any(), "{} is damaged", file.display());
    }
    Ok(exchanges)
}
