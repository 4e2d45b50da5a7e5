//! The run store: every SQL statement there is, on SQLite and PostgreSQL alike.
//!
//! Durability contract: when a method returns, its change is committed. Changes of a run or a shard are compare-and-set by the
//! states of [`crate::run`] and [`crate::shard`], so that a worker that lost its lease changes nothing. While the database is away
//! every method waits for it and asks again; each recognises what it did before, should only the answer have been lost.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Row, SqlSafeStr};

mod patience;
mod row;
mod shards;
mod verdicts;

use crate::run::{Event, Run, RunId, State};
pub use crate::shard::{Shard, WonFile};
use row::{document, narrow, read_listed, read_run, run_state, time};
pub use verdicts::{Given, NewVerdict};

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum RunStoreError {
    /// The database cannot be opened.
    #[error("cannot open the run store {0}: check [replay] database")]
    Open(String, #[source] sqlx::Error),
    /// The tables cannot be made.
    #[error("cannot bring the run store's tables up to date")]
    Migrate(#[source] MigrateError),
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

impl RunStoreError {
    /// Returns whether the database may only be away for now.
    fn passes(&self) -> bool {
        match self {
            Self::Open(_, error) | Self::Migrate(MigrateError::Execute(error)) => {
                patience::passes(error)
            }
            _ => false,
        }
    }
}

/// The run store. Clones share one pool.
#[derive(Clone, Debug)]
pub struct RunStore {
    pool: AnyPool,
    patience: Duration,
}

/// How long a statement waits for a database that is away, unless it is told otherwise.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How long one try to get a connection takes at most, while the database is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two tries to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// A run in a list: what [`Run`] says, less what can be long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// Names it.
    pub run_id: RunId,
    /// The service.
    pub service: String,
    /// The candidate's build.
    pub build: String,
    /// The range's first instant.
    pub from: Timestamp,
    /// The instant after the range.
    pub to: Timestamp,
    /// Where it stands.
    pub state: State,
    /// When it was planned.
    pub created_at: Timestamp,
    /// Its shards.
    pub shards: u32,
    /// Those of them that are finished.
    pub finished: u32,
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
            .acquire_timeout(CONNECT_TIMEOUT)
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
        Ok(Self { pool, patience: PATIENCE })
    }

    /// Opens a store as [`RunStore::open`] does, and waits up to `patience` for it, then and later.
    pub async fn open_within(url: &str, patience: Duration) -> Result<Self> {
        let began = Instant::now();
        loop {
            match Self::open(url).await {
                Err(error) if began.elapsed() < patience && error.passes() => {
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                opened => return Ok(Self { patience, ..opened? }),
            }
        }
    }

    async fn patiently<T>(
        &self,
        what: &'static str,
        step: impl AsyncFn() -> std::result::Result<T, sqlx::Error>,
    ) -> Result<T> {
        let done = patience::patiently(self.patience, step).await;
        done.map_err(|error| RunStoreError::Statement(what, error))
    }

    /// Inserts a planned run with its first revision and that revision's shards.
    pub async fn insert(
        &self,
        run: &Run,
        mapping_sha256: &str,
        shards: &[Vec<String>],
    ) -> Result<()> {
        let evidence = document("evidence", &run.evidence)?;
        let settings = document("settings", &run.settings)?;
        let step = async || {
            let mut transaction = self.pool.begin().await?;
            let inserted = sqlx::query(
                "insert into run (run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure,
                 created_at_us, finished_at_us, evidence, settings) values ($1, $2, $3, $4, $5, $6, $7, null, $8, null, $9, $10)
                 on conflict (run_id) do nothing",
            )
            .bind(run.id.as_str())
            .bind(&*run.service)
            .bind(&*run.candidate_build)
            .bind(&*run.candidate_url)
            .bind(run.from.as_microsecond())
            .bind(run.to.as_microsecond())
            .bind(run.state.word())
            .bind(run.created_at.as_microsecond())
            .bind(&*evidence)
            .bind(&*settings)
            .execute(&mut *transaction)
            .await?;
            if inserted.rows_affected() == 1 {
                let revision = (1, run.created_at, mapping_sha256);
                insert_revision(&mut transaction, &run.id, revision, shards).await?;
            }
            transaction.commit().await
        };
        self.patiently("insert the run", step).await
    }

    /// Adds the next journal revision of a run, with the first one's shards; returns its number.
    pub async fn add_revision(
        &self,
        id: &RunId,
        at: Timestamp,
        mapping_sha256: &str,
    ) -> Result<u32> {
        let shards: Vec<_> =
            self.shards(id, 1).await?.into_iter().map(|shard| shard.segments).collect();
        let step = async || {
            let mut transaction = self.pool.begin().await?;
            let row = sqlx::query(
                "select coalesce(max(revision), 0), max(case when created_at_us = $2 and mapping_sha256 = $3 then revision end)
                 from revision where run_id = $1",
            )
            .bind(id.as_str())
            .bind(at.as_microsecond())
            .bind(mapping_sha256)
            .fetch_one(&mut *transaction)
            .await?;
            let (newest, added): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(added) = added {
                return Ok(added);
            }
            let revision = (newest + 1, at, mapping_sha256);
            insert_revision(&mut transaction, id, revision, &shards).await?;
            transaction.commit().await?;
            Ok(newest + 1)
        };
        narrow(self.patiently("add a revision", step).await?)
    }

    /// Returns a run.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>> {
        let statement = async || {
            sqlx::query(
                "select run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure,
                 created_at_us, finished_at_us, evidence, settings from run where run_id = $1",
            )
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await
        };
        let row = self.patiently("read the run", statement).await?;
        row.map(|row| read_run(&row)).transpose()
    }

    /// Returns where a run stands.
    pub async fn state(&self, id: &RunId) -> Result<State> {
        let statement = async || {
            let query = sqlx::query("select state from run where run_id = $1").bind(id.as_str());
            query.fetch_one(&self.pool).await?.try_get::<String, _>(0)
        };
        run_state(&self.patiently("read the run's state", statement).await?)
    }

    /// Returns the runs of a service and of a candidate's build, the newest first; of all where none is named.
    pub async fn runs(&self, service: Option<&str>, build: Option<&str>) -> Result<Vec<Listed>> {
        let statement = async || {
            sqlx::query(
                "select r.run_id, r.service, r.candidate_build, r.range_from_us, r.range_to_us, r.state, r.created_at_us,
                 count(s.shard) as shards, coalesce(sum(case when s.state = 'finished' then 1 else 0 end), 0) as finished
                 from run r left join shard s on s.run_id = r.run_id and s.revision = 1
                 where ($1 = '' or r.service = $1) and ($2 = '' or r.candidate_build = $2)
                 group by r.run_id, r.service, r.candidate_build, r.range_from_us, r.range_to_us, r.state, r.created_at_us
                 order by r.created_at_us desc, r.run_id desc",
            )
            .bind(service.unwrap_or_default())
            .bind(build.unwrap_or_default())
            .fetch_all(&self.pool)
            .await
        };
        let rows = self.patiently("list the runs", statement).await?;
        rows.iter().map(read_listed).collect()
    }

    /// Applies an event to a run, durable before it takes effect; a failure or a cancellation carries its reason. Where another worker
    /// brought the run to the same state already, that is taken over.
    pub async fn advance(
        &self,
        run: &mut Run,
        event: Event,
        at: Timestamp,
        failure: Option<&str>,
    ) -> Result<()> {
        loop {
            let next =
                run.state.next(event).map_err(|illegal| RunStoreError::Run(illegal.to_string()))?;
            let finished_at = next.is_over().then_some(at);
            let statement = async || {
                sqlx::query(
                    "update run set state = $1, failure = $2, finished_at_us = $3 where run_id = $4 and state = $5",
                )
                .bind(next.word())
                .bind(failure)
                .bind(finished_at.map(Timestamp::as_microsecond))
                .bind(run.id.as_str())
                .bind(run.state.word())
                .execute(&self.pool)
                .await
            };
            let changed = self.patiently("advance the run", statement).await?.rows_affected() == 1;
            let Some(read) = self.run(&run.id).await? else {
                return Err(RunStoreError::Run(format!("there is no run {} any more", run.id)));
            };
            *run = read;
            if changed || run.state == next {
                return Ok(());
            }
        }
    }

    /// Returns the newest revision all of whose shards are finished.
    pub async fn newest_revision(&self, id: &RunId) -> Result<Option<Revision>> {
        self.revision_where(
            id,
            "not exists (select 1 from shard s where s.run_id = r.run_id and s.revision = r.revision and s.state <> 'finished')",
        )
        .await
    }

    /// Returns the revision that the replay itself makes.
    pub async fn first_revision(&self, id: &RunId) -> Result<Option<Revision>> {
        self.revision_where(id, "revision = 1").await
    }

    async fn revision_where(&self, id: &RunId, condition: &str) -> Result<Option<Revision>> {
        let text = format!(
            "select revision, created_at_us, mapping_sha256 from revision r where run_id = $1 and {condition}
             order by revision desc limit 1"
        );
        let statement = async || {
            let query = sqlx::query(sqlx::AssertSqlSafe(&*text)).bind(id.as_str());
            query.fetch_optional(&self.pool).await
        };
        let row = self.patiently("read the revisions", statement).await?;
        let failed = |error| RunStoreError::Statement("read the revisions", error);
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Revision {
            number: narrow(row.try_get("revision").map_err(failed)?)?,
            created_at: time(row.try_get("created_at_us").map_err(failed)?)?,
            mapping_sha256: row.try_get("mapping_sha256").map_err(failed)?,
        }))
    }

    /// Closes the pool, so that SQLite's side files are merged.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn insert_revision(
    transaction: &mut sqlx::Transaction<'_, sqlx::Any>,
    id: &RunId,
    (revision, at, mapping_sha256): (i64, Timestamp, &str),
    shards: &[Vec<String>],
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("insert into revision (run_id, revision, created_at_us, mapping_sha256) values ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(revision)
        .bind(at.as_microsecond())
        .bind(mapping_sha256)
        .execute(&mut **transaction)
        .await?;
    for (number, segments) in (0_i64..).zip(shards) {
        sqlx::query(
            "insert into shard (run_id, revision, shard, segments, state, lease_epoch, heartbeat) values ($1, $2, $3, $4, 'ready', 0, 0)",
        )
        .bind(id.as_str())
        .bind(revision)
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
