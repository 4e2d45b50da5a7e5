//! `segments` and `show`: looking at what was recorded.

use std::io::{self, BufWriter, Write};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{Failure, INTERNAL, Place, internal, print, say, usage};
use crate::catalog::{self, Range};
use crate::digest::sha256;
use crate::exchange::Exchange;
use crate::har;
use crate::inventory::{boots, drawn};
use crate::manifest::Manifest;
use crate::segment::{Line, Reader};

/// A time range of which each end may be open.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Between {
    /// The first instant, for example 2026-11-20T07:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The instant after the last.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

impl Between {
    fn range(self) -> Result<Range, Failure> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                Err(usage(format!("the range is empty: --from {from} is not before --to {to}")))
            }
            (from, to) => Ok(Range { from, to }),
        }
    }
}

/// What has been stored.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Segments {
    #[command(flatten)]
    between: Between,
    /// One JSON document instead of a table, with every segment.
    #[arg(long)]
    json: bool,
}

impl Segments {
    pub(super) async fn run(self, place: &Place) -> Result<u8, Failure> {
        let (manifests, code) = manifests(place, self.between.range()?).await?;
        let boots = boots(&manifests);
        let text = if self.json {
            let document =
                json!({ "service": place.service, "boots": boots, "segments": manifests });
            format!("{document:#}\n")
        } else if boots.is_empty() {
            let at = place.store.location(&format!("captures/{}", place.service));
            format!("nothing was recorded in this range under {at}\n")
        } else {
            drawn(&boots)
        };
        print(&mut io::stdout().lock(), &text)?;
        Ok(code)
    }
}

/// Reads the manifests of a range. What cannot be read is said, and makes the exit code.
async fn manifests(place: &Place, range: Range) -> Result<(Vec<Manifest>, u8), Failure> {
    let read = catalog::manifests(&place.store, &place.service, range).await.map_err(internal)?;
    let mut code = 0;
    let mut manifests = Vec::new();
    for manifest in read {
        match manifest {
            Ok(manifest) => manifests.push(manifest),
            Err(unreadable) => {
                say(unreadable);
                code = INTERNAL;
            }
        }
    }
    Ok((manifests, code))
}

/// Which exchanges to show.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    between: Between,
    /// One exchange, by its id.
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    id: Option<Uuid>,
    /// HAR 1.2, for browsers and other tools, instead of JSON lines.
    #[arg(long)]
    har: bool,
}

impl Show {
    pub(super) async fn run(self, place: &Place) -> Result<u8, Failure> {
        let range = match self.id {
            Some(id) => around(id)?,
            None => self.between.range()?,
        };
        let (manifests, mut code) = manifests(place, range).await?;
        let mut out = Printer::new(BufWriter::new(io::stdout().lock()), self.har);
        out.begin()?;
        for manifest in manifests.iter().filter(|manifest| manifest.exchanges > 0) {
            let exchanges = match exchanges(place, manifest).await {
                Ok((exchanges, None)) => exchanges,
                Ok((exchanges, Some(damage))) => {
                    say(damage);
                    code = INTERNAL;
                    exchanges
                }
                Err(error) => {
                    say(format!("{error:#}"));
                    code = INTERNAL;
                    continue;
                }
            };
            let id = self.id.map(|id| id.to_string());
            for exchange in exchanges {
                let is_asked = id.as_ref().is_none_or(|id| *id == exchange.id.0);
                if is_asked && range.contains(exchange.received_at) && !out.exchange(&exchange)? {
                    return Ok(code);
                }
            }
        }
        if let Some(id) = self.id.filter(|_| out.shown == 0) {
            return Err(usage(format!(
                "there is no exchange {id}: check it, and [store] and [service] name"
            )));
        }
        out.end()?;
        Ok(code)
    }
}

/// An id begins with its exchange's milliseconds.
fn around(id: Uuid) -> Result<Range, Failure> {
    let (seconds, nanos) = id
        .get_timestamp()
        .ok_or_else(|| usage(format!("{id} is not the id of an exchange")))?
        .to_unix();
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).ok());
    let at = at.ok_or_else(|| usage(format!("{id} is not the id of an exchange")))?;
    let after = at.saturating_add(SignedDuration::from_millis(1)).unwrap_or(at);
    Ok(Range { from: Some(at), to: Some(after) })
}

/// Reads the exchanges of a segment, and what is wrong with it.
async fn exchanges(
    place: &Place,
    manifest: &Manifest,
) -> anyhow::Result<(Vec<Exchange>, Option<String>)> {
    let bytes = place.store.get(&manifest.segment).await?;
    let mut reader = Reader::<Line>::new(&bytes);
    let mut exchanges = Vec::new();
    for line in reader.lines() {
        if let Line::Exchange(exchange) = line {
            exchanges.push(*exchange);
        }
    }
    let damaged = reader.damage().any() || sha256(&bytes) != manifest.sha256;
    let damage = damaged.then(|| {
        format!(
            "segment {} is not what its manifest describes: {} of {} exchanges could be read",
            manifest.segment,
            exchanges.len(),
            manifest.exchanges
        )
    });
    Ok((exchanges, damage))
}

/// Writes exchanges in one of two forms.
struct Printer<W> {
    out: W,
    har: bool,
    shown: u64,
}

impl<W: Write> Printer<W> {
    fn new(out: W, har: bool) -> Self {
        Self { out, har, shown: 0 }
    }

    fn begin(&mut self) -> Result<bool, Failure> {
        if self.har { print(&mut self.out, &har::head()) } else { Ok(true) }
    }

    fn exchange(&mut self, exchange: &Exchange) -> Result<bool, Failure> {
        if !self.har {
            self.shown += 1;
            let line = serde_json::to_string(exchange).map_err(internal)?;
            return print(&mut self.out, &(line + "\n"));
        }
        for entry in har::entries(exchange) {
            let comma = if self.shown == 0 { "\n" } else { ",\n" };
            self.shown += 1;
            if !print(&mut self.out, &format!("{comma}{entry}"))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.har && !print(&mut self.out, &format!("\n{}\n", har::TAIL))? {
            return Ok(());
        }
        match self.out.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(internal(error)),
            _ => Ok(()),
        }
    }
}
