//! `expire` and `hold`: how long captures are kept.

use std::io;
use std::time::Duration;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Failure, INTERNAL, Place, USAGE, internal, print, say, usage};
use crate::clock;
use crate::config::parse_duration;
use crate::expiry::{Expired, expire};
use crate::hold::{self, FORMAT, HoldError, Release, VERSION};
use crate::table::{Align, table};

const DAY: Duration = Duration::from_hours(24);

/// Which captures go.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Expire {
    /// The age, for example 14d.
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    older_than: Duration,
    /// Really delete.
    #[arg(long)]
    delete: bool,
    /// Print the bucket's own rule for this age instead: JSON for put-bucket-lifecycle-configuration.
    #[arg(long, conflicts_with = "delete")]
    lifecycle_rule: bool,
}

impl Expire {
    pub(super) async fn run(self, place: &Place) -> Result<u8, Failure> {
        if self.lifecycle_rule {
            let rule = lifecycle_rule(place, self.older_than)?;
            say(
                "a lifecycle rule knows no holds, and removes a manifest and its segment in any order; it replaces the rules that the bucket has",
            );
            print(&mut io::stdout().lock(), &format!("{rule:#}\n"))?;
            return Ok(0);
        }
        let age = SignedDuration::try_from(self.older_than).map_err(internal)?;
        let before = clock::now().checked_sub(age).map_err(usage)?;
        let expired = expire(&place.store, &place.service, before, self.delete).await;
        let expired = expired.map_err(internal)?;
        print(&mut io::stdout().lock(), &summary(&expired, before, self.delete))?;
        for unknown in &expired.unknown {
            say(format!("left as it is: {unknown}"));
        }
        Ok(if expired.unknown.is_empty() { 0 } else { INTERNAL })
    }
}

fn summary(expired: &Expired, before: Timestamp, deleted: bool) -> String {
    let Expired { segments, bytes, exchanges, uncommitted, held, unknown } = expired;
    let went = if deleted { "removed" } else { "would be removed" };
    let mut text = format!(
        "{segments} segments from before {before} {went}, with {exchanges} exchanges in {bytes} bytes; {uncommitted} of them were never committed\n{held} are kept by a hold, {} could not be judged and stay\n",
        unknown.len()
    );
    if !deleted && *segments > 0 {
        text += "next: the same with --delete\n";
    }
    text
}

/// Returns the rule for the captures' prefix, and the one for uploads that nobody finished.
fn lifecycle_rule(place: &Place, age: Duration) -> Result<Value, Failure> {
    let days = age.as_secs() / DAY.as_secs();
    if DAY.as_secs() * days != age.as_secs() || days == 0 {
        return Err(usage("--older-than of a lifecycle rule is whole days, for example 14d"));
    }
    let service = &place.service;
    let prefix = place.store.prefix().ok_or_else(|| {
        usage("[store] is a directory, and a lifecycle rule is a bucket's: run `expire --delete` from time to time")
    })?;
    Ok(json!({ "Rules": [
        {
            "ID": format!("shadow-captures-{service}"),
            "Status": "Enabled",
            "Filter": { "Prefix": format!("{prefix}captures/{service}/") },
            "Expiration": { "Days": days },
        },
        {
            "ID": format!("shadow-unfinished-{service}"),
            "Status": "Enabled",
            "Filter": { "Prefix": prefix },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 1 },
        },
    ] }))
}

/// Legal holds.
#[derive(Debug, Subcommand)]
pub enum Hold {
    /// Keep a time range of the service's captures.
    Place {
        /// The hold's name, for example the matter's.
        name: String,
        /// The first instant, for example 2026-11-20T07:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Timestamp,
        /// The instant after the last.
        #[arg(long, value_name = "TIME")]
        to: Timestamp,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who places it.
        #[arg(long, value_name = "NAME", env = "USER")]
        by: String,
    },
    /// Keep it no longer. The hold stays on record as released.
    Release {
        /// The hold's name.
        name: String,
        /// Who releases it.
        #[arg(long, value_name = "NAME", env = "USER")]
        by: String,
    },
    /// Show the holds, released ones too.
    List {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

impl Hold {
    pub(super) async fn run(self, place: &Place) -> Result<u8, Failure> {
        let failed = |error: HoldError| {
            (if error.is_usage() { USAGE } else { INTERNAL }, anyhow::Error::from(error))
        };
        let (store, service, now) = (&place.store, &place.service, clock::now());
        let text = match self {
            Self::Place { name, from, to, reason, by } => {
                let hold = hold::Hold {
                    format: FORMAT.into(),
                    version: VERSION,
                    name,
                    from,
                    to,
                    reason,
                    placed_by: by,
                    placed_at: now,
                    released: None,
                };
                hold::place(store, service, &hold).await.map_err(failed)?;
                format!("held: {} to {} of service {service}\n", hold.from, hold.to)
            }
            Self::Release { name, by } => {
                let release = Release { by, at: now };
                hold::release(store, service, &name, release).await.map_err(failed)?;
                format!("released: {name}\n")
            }
            Self::List { json } => {
                let holds = hold::all(store, service).await.map_err(failed)?;
                if json { format!("{:#}\n", json!(holds)) } else { drawn(&holds) }
            }
        };
        print(&mut io::stdout().lock(), &text)?;
        Ok(0)
    }
}

fn drawn(holds: &[hold::Hold]) -> String {
    if holds.is_empty() {
        return "there are no holds\n".into();
    }
    let columns = ["NAME", "FROM", "TO", "PLACED BY", "PLACED AT", "RELEASED", "REASON"];
    let row = |hold: &hold::Hold| {
        let released = hold.released.as_ref();
        vec![
            hold.name.clone(),
            hold.from.to_string(),
            hold.to.to_string(),
            hold.placed_by.clone(),
            hold.placed_at.to_string(),
            released.map_or("no".into(), |release| format!("{} by {}", release.at, release.by)),
            hold.reason.clone(),
        ]
    };
    table(&columns.map(|name| (name, Align::Left)), &holds.iter().map(row).collect::<Vec<_>>())
}
