//! The verdicts of runs: every one ever given, none replaced.

use std::str::FromStr;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::row::{narrow, time};
use super::{Result, RunStore, RunStoreError};
use crate::run::RunId;

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

/// A verdict that was given, less its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The run that it judges.
    pub run_id: RunId,
    /// The journal revision of the run.
    pub revision: u32,
    /// The candidate's build.
    pub build: String,
    /// When it was reached.
    pub decided_at: Timestamp,
    /// `certified`, `refused` or `inconclusive`.
    pub verdict: String,
    /// The policy's SHA-256.
    pub policy_sha256: String,
}

/// The columns of [`Given`].
const GIVEN: &str =
    "v.run_id, v.revision, r.candidate_build, v.decided_at_us, v.verdict, v.policy_sha256";
/// The newest verdict first; a time alone would leave the order of two open.
const NEWEST_FIRST: &str = "order by v.decided_at_us desc, v.run_id desc, v.sequence desc";

impl RunStore {
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

    /// Returns the newest verdicts on a build of a service, the newest first, at most `limit`; and how many there are.
    pub async fn verdicts_on(
        &self,
        service: &str,
        build: &str,
        limit: u32,
    ) -> Result<(Vec<Given>, u64)> {
        let of_build = "from verdict v join run r on r.run_id = v.run_id where r.service = $1 and r.candidate_build = $2";
        let listed = format!("select {GIVEN} {of_build} {NEWEST_FIRST} limit $3");
        let counted = format!("select count(*) {of_build}");
        let statement = async || {
            let query = sqlx::query(sqlx::AssertSqlSafe(&*listed)).bind(service).bind(build);
            let rows = query.bind(i64::from(limit)).fetch_all(&self.pool).await?;
            let query = sqlx::query(sqlx::AssertSqlSafe(&*counted)).bind(service).bind(build);
            let count: i64 = query.fetch_one(&self.pool).await?.try_get(0)?;
            Ok((rows, count))
        };
        let (rows, count) = self.patiently("read the verdicts", statement).await?;
        let given = rows.iter().map(read).collect::<Result<_>>()?;
        Ok((given, count.unsigned_abs()))
    }

    /// Returns the newest verdicts on the runs of a service with their documents, the newest first, at most `limit`. Those of one run
    /// are left out: it is compared with what was before it.
    pub async fn documents(
        &self,
        service: &str,
        other_than: &RunId,
        certified: bool,
        limit: u32,
    ) -> Result<Vec<(Given, String)>> {
        let text = format!(
            "select {GIVEN}, v.document from verdict v join run r on r.run_id = v.run_id
             where r.service = $1 and v.run_id <> $2 and ($3 = 0 or v.verdict = 'certified') {NEWEST_FIRST} limit $4"
        );
        let statement = async || {
            sqlx::query(sqlx::AssertSqlSafe(&*text))
                .bind(service)
                .bind(other_than.as_str())
                .bind(i64::from(certified))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await
        };
        let rows = self.patiently("read the verdicts", statement).await?;
        let document = |row: &AnyRow| row.try_get("document").map_err(failed);
        rows.iter().map(|row| Ok((read(row)?, document(row)?))).collect()
    }
}

fn failed(error: sqlx::Error) -> RunStoreError {
    RunStoreError::Statement("read the verdicts", error)
}

fn read(row: &AnyRow) -> Result<Given> {
    let text = |name| row.try_get::<String, _>(name).map_err(failed);
    let number = |name| row.try_get::<i64, _>(name).map_err(failed);
    Ok(Given {
        run_id: RunId::from_str(&text("run_id")?).map_err(|_| RunStoreError::Value("RunID"))?,
        revision: narrow(number("revision")?)?,
        build: text("candidate_build")?,
        decided_at: time(number("decided_at_us")?)?,
        verdict: text("verdict")?,
        policy_sha256: text("policy_sha256")?,
    })
}
