//! The run store: every SQL statement there is, on SQLite and PostgreSQL alike.
//!
//! Durability contract: when a method returns, its change is committed. `claim`, `win` and `finish_shard` are
//! compare-and-set on the shard's state and lease epoch, so that a worker that lost its claim changes nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Row, SqlSafeStr};

mod row;

use crate::run::{Event, Run, RunId, State, Tally};
use row::{document, narrow, read_run, read_shard, time};

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum RunStoreError {
    /// The database cannot be opened.
    #[error("cannot open the run store {0}: check [replay] database")]
    Open(String, #[source] sqlx::Error),
    /// The tables cannot be made.
    #[error("cannot bring the run store's tables up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("the run store failed to {0}")]
    Statement(&'static str, #[source] sqlx::Error),
    /// A stored document is not what this version writes.
    #[error("the run store holds a {0} that cannot be read")]
    Document(&'static str, #[source] serde_json::Error),
    /// A stored value is not what this version writes.
    #[error("the run store holds an unknown {0}")]
    Value(&'static str),
    /// The run does not exist, or is not in a state for this.
    #[error("{0}")]
    Run(String),
}

/// The run store. Clones share one pool.
#[derive(Clone, Debug)]
pub struct RunStore {
    pool: AnyPool,
}

/// One journal revision of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// 1 for the replay's own, counting up.
    pub number: u32,
    /// When it was begun.
    pub created_at: Timestamp,
    /// The SHA-256 of the ledger mapping it was compared under.
    pub mapping_sha256: String,
}

/// One shard of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u32,
    /// The keys of its segments.
    pub segments: Vec<String>,
    /// Whether its files are published.
    pub finished: bool,
    /// The lease epoch of its last claim.
    pub epoch: i64,
    /// What the winning attempt counted.
    pub tally: Option<Tally>,
    /// The winning attempt's files.
    pub files: Vec<WonFile>,
}

/// A file of a winning attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WonFile {
    /// Where the attempt wrote it.
    pub attempt: String,
    /// Where it is published.
    pub target: String,
    /// The SHA-256 of both.
    pub sha256: String,
}

/// A verdict to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewVerdict<'a> {
    /// The journal revision it judges.
    pub revision: u32,
    /// When it was reached.
    pub decided_at: Timestamp,
    /// `certified`, `refused` or `inconclusive`.
    pub verdict: &'a str,
    /// The policy's SHA-256.
    pub policy_sha256: &'a str,
    /// verdict.json, whole.
    pub document: &'a str,
}

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "run", include_str!("../../sql/run-store/0001_run.sql")),
        migration(2, "durable", include_str!("../../sql/run-store/0002_durable.sql")),
    ])
}

type Result<T> = std::result::Result<T, RunStoreError>;

impl RunStore {
    /// Opens a store such as `sqlite://shadow.db?mode=rwc` or `postgres://user@host/database`, and creates its tables.
    pub async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            .max_connections(if sqlite { 1 } else { 4 })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        // Readers do not block the writer, and a writer waits for its turn instead of failing.
                        for pragma in [
                            "pragma journal_mode = wal",
                            "pragma busy_timeout = 10000",
                            "pragma foreign_keys = on",
                        ] {
                            sqlx::query(pragma).execute(&mut *connection).await?;
                        }
                    }
                    Ok(())
                })
            })
            .connect(url)
            .await
            .map_err(|error| RunStoreError::Open(without_credentials(url), error))?;
        migrator().run(&pool).await.map_err(RunStoreError::Migrate)?;
        Ok(Self { pool })
    }

    /// Inserts a planned run with its first revision and that revision's shards.
    pub async fn insert(
        &self,
        run: &Run,
        mapping_sha256: &str,
        shards: &[Vec<String>],
    ) -> Result<()> {
        let failed = |error| RunStoreError::Statement("insert the run", error);
        let evidence = document("evidence", &run.evidence)?;
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        sqlx::query(
            "insert into run (run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure,
             created_at_us, finished_at_us, evidence, settings) values ($1, $2, $3, $4, $5, $6, $7, null, $8, null, $9, $10)",
        )
        .bind(run.id.as_str())
        .bind(&run.service)
        .bind(&run.candidate_build)
        .bind(&run.candidate_url)
        .bind(run.from.as_microsecond())
        .bind(run.to.as_microsecond())
        .bind(run.state.word())
        .bind(run.created_at.as_microsecond())
        .bind(evidence)
        .bind(document("settings", &run.settings)?)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        insert_revision(&mut transaction, &run.id, 1, run.created_at, mapping_sha256, shards)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Adds the next journal revision of a run, with the first one's shards; returns its number.
    pub async fn add_revision(
        &self,
        id: &RunId,
        at: Timestamp,
        mapping_sha256: &str,
    ) -> Result<u32> {
        let failed = |error| RunStoreError::Statement("add a revision", error);
        let shards: Vec<_> =
            self.shards(id, 1).await?.into_iter().map(|shard| shard.segments).collect();
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let row = sqlx::query("select max(revision) from revision where run_id = $1")
            .bind(id.as_str())
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let newest: Option<i64> = row.try_get(0).map_err(failed)?;
        let next = narrow(newest.unwrap_or(0) + 1)?;
        insert_revision(&mut transaction, id, next, at, mapping_sha256, &shards)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(next)
    }

    /// Returns a run.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>> {
        let failed = |error| RunStoreError::Statement("read the run", error);
        let row = sqlx::query(
            "select run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure,
             created_at_us, finished_at_us, evidence, settings from run where run_id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        row.map(|row| read_run(&row)).transpose()
    }

    /// Applies an event to a run, durable before it takes effect; a failure carries its reason.
    pub async fn advance(
        &self,
        run: &mut Run,
        event: Event,
        at: Timestamp,
        failure: Option<&str>,
    ) -> Result<()> {
        let next =
            run.state.next(event).map_err(|illegal| RunStoreError::Run(illegal.to_string()))?;
        let finished_at = matches!(next, State::Finished | State::Failed).then_some(at);
        let changed = sqlx::query(
            "update run set state = $1, failure = $2, finished_at_us = $3, evidence = $4 where run_id = $5 and state = $6",
        )
        .bind(next.word())
        .bind(failure)
        .bind(finished_at.map(Timestamp::as_microsecond))
        .bind(document("evidence", &run.evidence)?)
        .bind(run.id.as_str())
        .bind(run.state.word())
        .execute(&self.pool)
        .await
        .map_err(|error| RunStoreError::Statement("advance the run", error))?;
        if changed.rows_affected() != 1 {
            return Err(RunStoreError::Run(format!(
                "run {} was changed by another process",
                run.id
            )));
        }
        run.state = next;
        run.finished_at = finished_at;
        run.failure = failure.map(str::to_owned);
        Ok(())
    }

    /// Returns the newest revision all of whose shards are finished.
    pub async fn newest_revision(&self, id: &RunId) -> Result<Option<Revision>> {
        let failed = |error| RunStoreError::Statement("read the revisions", error);
        let row = sqlx::query(
            "select revision, created_at_us, mapping_sha256 from revision r where run_id = $1 and not exists
             (select 1 from shard s where s.run_id = r.run_id and s.revision = r.revision and s.state <> 'finished')
             order by revision desc limit 1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Revision {
            number: narrow(row.try_get("revision").map_err(failed)?)?,
            created_at: time(row.try_get("created_at_us").map_err(failed)?)?,
            mapping_sha256: row.try_get("mapping_sha256").map_err(failed)?,
        }))
    }

    /// Returns the shards of a revision, in order.
    pub async fn shards(&self, id: &RunId, revision: u32) -> Result<Vec<Shard>> {
        let rows = sqlx::query(
            "select shard, segments, state, lease_epoch, tally, files from shard where run_id = $1 and revision = $2 order by shard",
        )
        .bind(id.as_str())
        .bind(i64::from(revision))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| RunStoreError::Statement("read the shards", error))?;
        rows.iter().map(read_shard).collect()
    }

    /// Claims the first ready shard of a revision, or returns that none is left.
    pub async fn claim(&self, id: &RunId, revision: u32) -> Result<Option<Shard>> {
        let row = sqlx::query(
            "update shard set state = 'leased', lease_epoch = lease_epoch + 1 where run_id = $1 and revision = $2
             and state = 'ready' and shard = (select min(shard) from shard where run_id = $1 and revision = $2
             and state = 'ready') returning shard, segments, state, lease_epoch, tally, files",
        )
        .bind(id.as_str())
        .bind(i64::from(revision))
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| RunStoreError::Statement("claim a shard", error))?;
        row.as_ref().map(read_shard).transpose()
    }

    /// Names the winning files of a shard: succeeds for one attempt only.
    pub async fn win(
        &self,
        id: &RunId,
        revision: u32,
        shard: &Shard,
        files: &[WonFile],
        tally: &Tally,
    ) -> Result<bool> {
        let changed = sqlx::query(
            "update shard set state = 'won', files = $1, tally = $2
             where run_id = $3 and revision = $4 and shard = $5 and state = 'leased' and lease_epoch = $6",
        )
        .bind(document("list of files", &files)?)
        .bind(document("tally", tally)?)
        .bind(id.as_str())
        .bind(i64::from(revision))
        .bind(i64::from(shard.number))
        .bind(shard.epoch)
        .execute(&self.pool)
        .await
        .map_err(|error| RunStoreError::Statement("name the winning files", error))?;
        Ok(changed.rows_affected() == 1)
    }

    /// Marks a shard whose winning files are published.
    pub async fn finish_shard(&self, id: &RunId, revision: u32, shard: u32) -> Result<()> {
        sqlx::query(
            "update shard set state = 'finished' where run_id = $1 and revision = $2 and shard = $3 and state = 'won'",
        )
        .bind(id.as_str())
        .bind(i64::from(revision))
        .bind(i64::from(shard))
        .execute(&self.pool)
        .await
        .map_err(|error| RunStoreError::Statement("finish a shard", error))?;
        Ok(())
    }

    /// Keeps a verdict beside those before it; returns its number within the run.
    pub async fn append_verdict(&self, id: &RunId, verdict: &NewVerdict<'_>) -> Result<u32> {
        let failed = |error| RunStoreError::Statement("keep the verdict", error);
        let row = sqlx::query(
            "insert into verdict (run_id, sequence, revision, decided_at_us, verdict, policy_sha256, document)
             select $1, coalesce(max(sequence), 0) + 1, $2, $3, $4, $5, $6 from verdict where run_id = $1 returning sequence",
        )
        .bind(id.as_str())
        .bind(i64::from(verdict.revision))
        .bind(verdict.decided_at.as_microsecond())
        .bind(verdict.verdict)
        .bind(verdict.policy_sha256)
        .bind(verdict.document)
        .fetch_one(&self.pool)
        .await
        .map_err(failed)?;
        narrow(row.try_get(0).map_err(failed)?)
    }

    /// Closes the pool, so that SQLite's side files are merged.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn insert_revision(
    transaction: &mut sqlx::Transaction<'_, sqlx::Any>,
    id: &RunId,
    revision: u32,
    at: Timestamp,
    mapping_sha256: &str,
    shards: &[Vec<String>],
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("insert into revision (run_id, revision, created_at_us, mapping_sha256) values ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(i64::from(revision))
        .bind(at.as_microsecond())
        .bind(mapping_sha256)
        .execute(&mut **transaction)
        .await?;
    for (number, segments) in (0_i64..).zip(shards) {
        sqlx::query(
            "insert into shard (run_id, revision, shard, segments, state, lease_epoch, heartbeat) values ($1, $2, $3, $4, 'ready', 0, 0)",
        )
        .bind(id.as_str())
        .bind(i64::from(revision))
        .bind(number)
        .bind(serde_json::Value::from(segments.clone()).to_string())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Leaves user and password of a database URL out of messages.
pub fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.into(),
    }
}

#[cfg(test)]
mod tests;
