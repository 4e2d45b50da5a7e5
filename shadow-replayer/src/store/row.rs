//! From rows and columns to values, and back.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Listed, Result, RunStoreError, Shard, shards};
use crate::run::{Run, RunId, State};

pub(super) fn read_run(row: &AnyRow) -> Result<Run> {
    let failed = |error| RunStoreError::Statement("read the run", error);
    let text = |name| row.try_get::<String, _>(name).map_err(failed);
    let us = |name| row.try_get::<i64, _>(name).map_err(failed);
    let state = run_state(&text("state")?)?;
    let finished_at: Option<i64> = row.try_get("finished_at_us").map_err(failed)?;
    Ok(Run {
        id: RunId::from_str(&text("run_id")?).map_err(|_| RunStoreError::Value("RunID"))?,
        service: text("service")?,
        candidate_build: text("candidate_build")?,
        candidate_url: text("candidate_url")?,
        from: time(us("range_from_us")?)?,
        to: time(us("range_to_us")?)?,
        state,
        failure: row.try_get("failure").map_err(failed)?,
        created_at: time(us("created_at_us")?)?,
        finished_at: finished_at.map(time).transpose()?,
        evidence: parse("evidence", &text("evidence")?)?,
        settings: parse("settings", &text("settings")?)?,
    })
}

/// Reads the word of the store.
pub(super) fn run_state(word: &str) -> Result<State> {
    let state = State::ALL.into_iter().find(|state| state.word() == word);
    state.ok_or(RunStoreError::Value("state of a run"))
}

pub(super) fn read_listed(row: &AnyRow) -> Result<Listed> {
    let failed = |error| RunStoreError::Statement("list the runs", error);
    let text = |name| row.try_get::<String, _>(name).map_err(failed);
    let number = |name| row.try_get::<i64, _>(name).map_err(failed);
    Ok(Listed {
        run_id: RunId::from_str(&text("run_id")?).map_err(|_| RunStoreError::Value("RunID"))?,
        service: text("service")?,
        build: text("candidate_build")?,
        from: time(number("range_from_us")?)?,
        to: time(number("range_to_us")?)?,
        state: run_state(&text("state")?)?,
        created_at: time(number("created_at_us")?)?,
        shards: narrow(number("shards")?)?,
        finished: narrow(number("finished")?)?,
    })
}

pub(super) fn read_shard(row: &AnyRow) -> Result<Shard> {
    let failed = |error| RunStoreError::Statement("read a shard", error);
    let tally: Option<String> = row.try_get("tally").map_err(failed)?;
    let files: Option<String> = row.try_get("files").map_err(failed)?;
    Ok(Shard {
        number: narrow(row.try_get("shard").map_err(failed)?)?,
        segments: parse(
            "list of segments",
            &row.try_get::<String, _>("segments").map_err(failed)?,
        )?,
        state: shards::state(&row.try_get::<String, _>("state").map_err(failed)?)?,
        epoch: row.try_get("lease_epoch").map_err(failed)?,
        owner: row.try_get("lease_owner").map_err(failed)?,
        heartbeat: row.try_get("heartbeat").map_err(failed)?,
        tally: tally.map(|tally| parse("tally", &tally)).transpose()?,
        files: files.map(|files| parse("list of files", &files)).transpose()?.unwrap_or_default(),
    })
}

pub(super) fn document(what: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| RunStoreError::Document(what, error))
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| RunStoreError::Document(what, error))
}

pub(super) fn time(us: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(us).map_err(|_| RunStoreError::Value("time"))
}

pub(super) fn narrow(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| RunStoreError::Value("number"))
}
