//! What a segment holds, added up line by line: by the writer as it writes, and by the recovery as it reads.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::census::Census;
use crate::digest::sha256;
use crate::manifest::{self, Manifest, SegmentKey};
use crate::segment::{Accounting, Calls, Header, Line, Tally};

/// The sums of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) exchanges: u64,
    pub(crate) ambient: u64,
    pub(crate) received: Option<(Timestamp, Timestamp)>,
    strata: BTreeMap<String, Tally>,
    calls: Calls,
    census: Option<Census>,
    /// The time, the watermark and the final mark of the last accounting line.
    accounted: Option<(Timestamp, Timestamp, bool)>,
}

impl Totals {
    /// Adds a line.
    pub(crate) fn add(&mut self, line: &Line) {
        match line {
            Line::Header(_) => {}
            Line::Exchange(exchange) => self.add_exchange(exchange.received_at),
            Line::Ambient(_) => self.ambient += 1,
            Line::Accounting(accounting) => self.add_accounting(accounting),
        }
    }

    pub(crate) fn add_exchange(&mut self, received_at: Timestamp) {
        self.exchanges += 1;
        self.received = Some(spanning(self.received, received_at));
    }

    pub(crate) fn add_accounting(&mut self, accounting: &Accounting) {
        for (stratum, tally) in &accounting.strata {
            self.strata.entry(stratum.clone()).or_default().add(tally);
        }
        self.calls.add(&accounting.calls);
        if let Some(census) = &accounting.census {
            self.census.get_or_insert_default().add(census);
        }
        self.accounted = Some((accounting.at, accounting.sealed_through, accounting.last));
    }

    /// Returns whether an accounting line is among the lines.
    pub(crate) fn is_accounted(&self) -> bool {
        self.accounted.is_some()
    }

    /// Returns the names under which the segment is committed.
    pub(crate) fn key(&self, header: &Header) -> SegmentKey {
        let (first, last) = self.received.unwrap_or((header.opened_at, header.opened_at));
        SegmentKey {
            service: header.service.clone(),
            first_us: first.as_microsecond(),
            last_us: last.as_microsecond(),
            instance: header.instance.clone(),
            boot: header.boot.clone(),
            sequence: header.sequence,
        }
    }

    /// Describes the segment. The same content gives the same manifest, so that committing twice changes nothing.
    /// `ends_boot` says that no other segment of the boot follows, whether or not it stopped cleanly.
    pub(crate) fn manifest(&self, header: &Header, bytes: &[u8], ends_boot: bool) -> Manifest {
        let unaccounted = (header.opened_at, header.opened_at, false);
        let (sealed_at, sealed_through, last) = self.accounted.unwrap_or(unaccounted);
        Manifest {
            format: manifest::FORMAT.into(),
            version: header.version,
            service: header.service.clone(),
            build: header.build.clone(),
            instance: header.instance.clone(),
            boot: header.boot.clone(),
            sequence: header.sequence,
            segment: self.key(header).segment(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
            opened_at: header.opened_at,
            sealed_at,
            sealed_through,
            first_received_at: self.received.map(|(first, _)| first),
            last_received_at: self.received.map(|(_, last)| last),
            last: last || ends_boot,
            torn: ends_boot && !last,
            exchanges: self.exchanges,
            ambient: self.ambient,
            strata: self.strata.clone(),
            calls: self.calls.clone(),
            census: self.census.clone(),
        }
    }
}

/// Returns the span extended by an instant.
pub(crate) fn spanning(
    span: Option<(Timestamp, Timestamp)>,
    at: Timestamp,
) -> (Timestamp, Timestamp) {
    span.map_or((at, at), |(first, last)| (first.min(at), last.max(at)))
}
