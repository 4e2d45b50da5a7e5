//! The three forms of the same exchanges.

use std::io::{self, Write};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::SignedDuration;
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{Exchange, Request, Response};
use shadow_recorder::har;
use shadow_recorder::segment::{Accounting, Calls, Line, Tally, write_frame};

/// Segments as the writer makes them: one frame a second, which ends with its accounting line.
pub(crate) fn segment(exchanges: &[Exchange], per_second: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for second in exchanges.chunks(per_second) {
        let mut lines: Vec<Line> =
            second.iter().map(|exchange| Line::Exchange(Box::new(exchange.clone()))).collect();
        lines.extend(second.last().map(|exchange| Line::Accounting(accounting(second, exchange))));
        write_frame(&mut bytes, &lines)?;
    }
    Ok(bytes)
}

fn accounting(second: &[Exchange], last: &Exchange) -> Accounting {
    let recorded = second.len() as u64;
    let tally = Tally { observed: recorded, recorded, ..Tally::default() };
    let attributed = second.iter().map(|exchange| exchange.upstream.len() as u64).sum();
    Accounting {
        at: last.received_at,
        sealed_through: last.received_at,
        last: false,
        strata: [(last.sample.stratum.clone(), tally)].into(),
        calls: Calls { attributed, ..Calls::default() },
        census: None,
    }
}

/// What `gor --output-file requests.gz` writes: a line of meta data, the raw message, a separator; flushed every second.
pub(crate) fn goreplay(exchanges: &[Exchange], per_second: usize) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for second in exchanges.chunks(per_second) {
        for exchange in second {
            let began = i64::try_from(exchange.received_at.as_nanosecond())?;
            let took = exchange.duration_us;
            let (request, response) = (&exchange.request, exchange.response.as_ref());
            pair(&mut gzip, &exchange.id.0, (began, took), request, response)?;
            for (n, call) in exchange.upstream.iter().enumerate() {
                let offset = SignedDuration::from_micros(i64::try_from(call.offset_us)?);
                let began =
                    i64::try_from(exchange.received_at.checked_add(offset)?.as_nanosecond())?;
                let id = format!("{} {n}", exchange.id);
                let (request, response) = (&call.request, call.response.as_ref());
                pair(&mut gzip, &id, (began, call.duration_us), request, response)?;
            }
        }
        gzip.flush()?;
    }
    Ok(gzip.finish()?)
}

fn pair(
    out: &mut impl Write,
    id: &str,
    (began_ns, took_us): (i64, u64),
    request: &Request,
    response: Option<&Response>,
) -> io::Result<()> {
    // Its ids are 24 hexadecimal digits, the same for a request and its answer.
    let id = &sha256(id)[..24];
    writeln!(out, "1 {id} {began_ns} 0")?;
    write!(out, "{} {} HTTP/1.1\r\n", request.method, request.target)?;
    message(out, &request.headers, request.body.text.as_deref())?;
    if let Some(response) = response {
        let ended = began_ns + i64::try_from(took_us).unwrap_or(0) * 1_000;
        writeln!(out, "2 {id} {ended} {}", took_us * 1_000)?;
        let reason = http::StatusCode::from_u16(response.status).ok();
        let reason = reason.and_then(|status| status.canonical_reason()).unwrap_or_default();
        write!(out, "HTTP/1.1 {} {reason}\r\n", response.status)?;
        message(out, &response.headers, response.body.text.as_deref())?;
    }
    Ok(())
}

fn message(
    out: &mut impl Write,
    fields: &[(String, String)],
    body: Option<&str>,
) -> io::Result<()> {
    for (name, value) in fields {
        write!(out, "{name}: {value}\r\n")?;
    }
    write!(out, "\r\n{}\n🐵🙈🙉\n", body.unwrap_or_default())
}

/// One HAR, compressed as a whole.
pub(crate) fn har(exchanges: &[Exchange]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(har::head().as_bytes())?;
    for (n, entry) in exchanges.iter().flat_map(har::entries).enumerate() {
        write!(gzip, "{}{entry}", if n == 0 { "" } else { "," })?;
    }
    gzip.write_all(har::TAIL.as_bytes())?;
    Ok(gzip.finish()?)
}
