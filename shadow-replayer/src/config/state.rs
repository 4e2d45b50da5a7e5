//! `[replay.state]`: what the candidate remembers from one exchange to the next.

use std::path::PathBuf;
use std::time::Duration;

use shadow_recorder::config::Table;
use shadow_recorder::config::upstream::Origin;

use super::authentication::{endpoint_url, program};
use crate::allow::Allow;

/// What the candidate remembers from one exchange to the next.
#[derive(Clone, Debug)]
pub enum State {
    /// Nothing that changes what it books: a claim, which is tried.
    Stateless {
        /// Exchanges that are sent twice, in two orders; zero: the claim is not tried, which is in doubt.
        trial_exchanges: usize,
    },
    /// A store, which is restored before every attempt at a shard.
    Snapshot(Reset),
}

/// How the candidate's store is restored.
#[derive(Clone, Debug)]
pub struct Reset {
    /// What does it.
    pub hook: Hook,
    /// How long it may take.
    pub timeout: Duration,
}

/// What restores the candidate's store.
#[derive(Clone, Debug)]
pub enum Hook {
    /// A program with its arguments, which ends well when the store is restored.
    Command(PathBuf, Vec<String>),
    /// A `POST` that is answered with success when the store is restored.
    Post(Origin, String, Allow),
}

/// Exchanges that are sent twice.
const TRIAL_EXCHANGES: usize = 20;

/// Takes `state` from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>, allow: &Allow) -> State {
    let default = State::Stateless { trial_exchanges: TRIAL_EXCHANGES };
    let Some(mut table) = replay.table("state") else { return default };
    let snapshot = table.parsed("mode", |text| match text {
        "stateless" => Ok(false),
        "snapshot" => Ok(true),
        _ => Err(format!("`{text}` is not a mode: write stateless or snapshot")),
    });
    let trial = table.integer("trial_exchanges", 0);
    let command = table.texts("reset").and_then(|words| program(&table, "reset", words));
    let url = table.parsed("reset_url", endpoint_url);
    let timeout = table.duration("reset_timeout").unwrap_or(Duration::from_mins(1));
    let hook = match (command, url) {
        (Some((program, arguments)), None) => Some(Hook::Command(program, arguments)),
        (None, Some((origin, path))) => Some(Hook::Post(origin, path, allow.clone())),
        _ => None,
    };
    let state = match (snapshot.unwrap_or(false), hook) {
        (true, Some(hook)) => State::Snapshot(Reset { hook, timeout }),
        (true, None) => {
            table.mistake("mode = \"snapshot\" needs one of `reset`, a command, and `reset_url`: what restores the candidate's store");
            default
        }
        (false, Some(_)) => {
            table.mistake("a reset is for mode = \"snapshot\"");
            default
        }
        (false, None) => State::Stateless {
            trial_exchanges: trial
                .map_or(TRIAL_EXCHANGES, |most| usize::try_from(most).unwrap_or(usize::MAX)),
        },
    };
    table.finish(&["mode", "trial_exchanges", "reset", "reset_url", "reset_timeout"]);
    state
}
