//! FORMAT: a manifest, the small file that commits a segment and describes it; and the keys of both.
//!
//! ```text
//! captures/<service>/<YYYY>/<MM>/<DD>/<HH>/<first µs>-<last µs>-<instance>-<boot>-<sequence>.ndjson.zst
//! captures/<service>/<YYYY>/<MM>/<DD>/<HH>/<first µs>-<last µs>-<instance>-<boot>-<sequence>.manifest.json
//! ```
//!
//! The hour is that of the first exchange (of the opening, where the segment is empty), so that a time range is found by
//! listing. A segment without its manifest does not exist. Sequence numbers are gapless per boot, so that a missing
//! segment is noticed.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::census::Census;
use crate::segment::{Calls, Tally, VERSION};

/// The name in a manifest.
pub const FORMAT: &str = "shadow-manifest";

/// Describes a committed segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The segment format's version.
    pub version: u32,
    /// The service's name.
    pub service: String,
    /// The production build.
    pub build: String,
    /// The sidecar's instance name.
    pub instance: String,
    /// The start of the instance.
    pub boot: String,
    /// Gapless per boot, from 1.
    pub sequence: u64,
    /// The segment's key in the store.
    pub segment: String,
    /// The segment's size.
    pub bytes: u64,
    /// The segment's SHA-256, hexadecimal.
    pub sha256: String,
    /// When the segment was opened.
    pub opened_at: Timestamp,
    /// When the segment was sealed.
    pub sealed_at: Timestamp,
    /// Every exchange received before this instant is in this segment or an earlier one of the boot.
    pub sealed_through: Timestamp,
    /// The first exchange's `received_at`; absent in an empty segment.
    pub first_received_at: Option<Timestamp>,
    /// The last exchange's `received_at`; absent in an empty segment.
    pub last_received_at: Option<Timestamp>,
    /// Whether no further segment of this boot follows.
    pub last: bool,
    /// Whether the boot ended without a clean stop: what it received since `sealed_through` is lost. Written by the next boot,
    /// which recovers what was synced.
    pub torn: bool,
    /// Exchanges in the segment.
    pub exchanges: u64,
    /// Ambient calls in the segment.
    pub ambient: u64,
    /// The segment's accounting, per stratum.
    pub strata: BTreeMap<String, Tally>,
    /// The segment's upstream calls.
    pub calls: Calls,
    /// Money of all observed exchanges; absent without `census = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
}

impl Manifest {
    /// Reads a manifest; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(manifest) if manifest.format == FORMAT && manifest.version <= VERSION => {
                Ok(manifest)
            }
            Ok(manifest) => {
                Err(format!("it is of format {} {}", manifest.format, manifest.version))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Names a segment within the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentKey {
    /// The service's name.
    pub service: String,
    /// `received_at` of the first exchange, µs since 1970 UTC.
    pub first_us: i64,
    /// `received_at` of the last exchange, µs since 1970 UTC.
    pub last_us: i64,
    /// The sidecar's instance name.
    pub instance: String,
    /// The start of the instance.
    pub boot: String,
    /// Gapless per boot, from 1.
    pub sequence: u64,
}

const SEGMENT_SUFFIX: &str = ".ndjson.zst";
/// How a manifest's key ends.
pub const MANIFEST_SUFFIX: &str = ".manifest.json";

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, first_us, last_us, instance, boot, sequence } = self;
        write!(
            f,
            "{}{first_us}-{last_us}-{instance}-{boot}-{sequence}",
            hour_prefix(service, *first_us)
        )
    }
}

impl SegmentKey {
    /// Returns the key of the segment.
    pub fn segment(&self) -> String {
        format!("{self}{SEGMENT_SUFFIX}")
    }

    /// Returns the key of the manifest.
    pub fn manifest(&self) -> String {
        format!("{self}{MANIFEST_SUFFIX}")
    }

    /// Reads the key of a segment or a manifest back; `None` for any other file.
    pub fn parse(key: &str) -> Option<Self> {
        let stem =
            key.strip_suffix(SEGMENT_SUFFIX).or_else(|| key.strip_suffix(MANIFEST_SUFFIX))?;
        let mut folders = stem.rsplitn(6, '/');
        let name = folders.next()?;
        let service = folders.nth(4)?.strip_prefix("captures/")?.to_owned();
        // The instance may contain hyphens, so its neighbours are taken off from both ends.
        let (first, rest) = name.split_once('-')?;
        let (last, rest) = rest.split_once('-')?;
        let mut from_right = rest.rsplitn(3, '-');
        let sequence = from_right.next()?.parse().ok()?;
        let boot = from_right.next()?.to_owned();
        let instance = from_right.next()?.to_owned();
        Some(Self {
            service,
            first_us: first.parse().ok()?,
            last_us: last.parse().ok()?,
            instance,
            boot,
            sequence,
        })
    }
}

/// Returns the folder of the hour in which `us` lies.
pub fn hour_prefix(service: &str, us: i64) -> String {
    let time =
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    format!(
        "captures/{service}/{:04}/{:02}/{:02}/{:02}/",
        time.year(),
        time.month(),
        time.day(),
        time.hour()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        let key = SegmentKey {
            service: "ledger".into(),
            first_us: 1_781_000_000_000_000,
            last_us: 1_781_000_060_000_001,
            instance: "pod-7-a".into(),
            boot: "0197".into(),
            sequence: 12,
        };
        assert_eq!(
            key.segment(),
            "captures/ledger/2026/06/09/10/1781000000000000-1781000060000001-pod-7-a-0197-12.ndjson.zst"
        );
        assert_eq!(SegmentKey::parse(&key.segment()), Some(key.clone()));
        assert_eq!(SegmentKey::parse(&key.manifest()), Some(key));
        assert_eq!(SegmentKey::parse("captures/ledger/2026/06/09/10/readme.txt"), None);
    }
}
