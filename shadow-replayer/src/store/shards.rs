//! What happens to shards: each change is one that [`Shard::after`] allows, written where the row is still what was read.

use super::row::{document, read_shard};
use super::{Result, RunStore, RunStoreError};
use crate::run::RunId;
use crate::shard::{Event, Lost, Shard, Sign, State};

impl RunStore {
    /// Returns the shards of a revision, in order.
    pub async fn shards(&self, id: &RunId, revision: u32) -> Result<Vec<Shard>> {
        self.select(id, revision, "1 = 1").await
    }

    /// Returns the shards of a revision that somebody holds, or held when he died.
    pub async fn held(&self, id: &RunId, revision: u32) -> Result<Vec<Shard>> {
        self.select(id, revision, "state in ('leased', 'won')").await
    }

    /// Returns whether every shard of a revision is finished.
    pub async fn all_finished(&self, id: &RunId, revision: u32) -> Result<bool> {
        Ok(self.select(id, revision, "state <> 'finished'").await?.is_empty())
    }

    /// Claims the first ready shard of a revision by a name that no other claim has, or returns that none is left.
    pub async fn claim(&self, id: &RunId, revision: u32, owner: &str) -> Result<Option<Shard>> {
        loop {
            let Some(ready) = self.first_ready(id, revision, owner).await? else {
                return Ok(None);
            };
            let claimed = self.change(id, revision, ready.number, &Event::Claim(owner)).await?;
            if let Ok(shard) = claimed {
                return Ok(Some(shard));
            }
        }
    }

    /// Takes over a shard whose holder gave no other sign of life than `seen`; `None` where another was faster or it lives.
    pub async fn take_over(
        &self,
        id: &RunId,
        revision: u32,
        (shard, seen): (u32, Sign),
        owner: &str,
    ) -> Result<Option<Shard>> {
        let taken = self.change(id, revision, shard, &Event::TakeOver(owner, seen)).await?;
        Ok(taken.ok())
    }

    /// Applies an event to a shard: durable when this returns. An event that was carried out before, its answer lost, succeeds again.
    pub async fn change(
        &self,
        id: &RunId,
        revision: u32,
        number: u32,
        event: &Event<'_>,
    ) -> Result<std::result::Result<Shard, Lost>> {
        loop {
            let one = format!("shard = {number}");
            let Some(before) = self.select(id, revision, &one).await?.pop() else {
                return Err(RunStoreError::Run(format!("run {id} has no shard {number}")));
            };
            let Ok(after) = before.after(*event) else { return Ok(Err(Lost)) };
            if after == before || self.swap(id, revision, &before, &after).await? {
                return Ok(Ok(after));
            }
        }
    }

    /// Writes a shard where it still is what it was.
    async fn swap(&self, id: &RunId, revision: u32, before: &Shard, after: &Shard) -> Result<bool> {
        let files = document("list of files", &after.files)?;
        let tally = after.tally.as_ref().map(|tally| document("tally", tally)).transpose()?;
        let statement = async || {
            sqlx::query(
                "update shard set state = $1, lease_epoch = $2, lease_owner = $3, heartbeat = $4, files = $5, tally = $6
                 where run_id = $7 and revision = $8 and shard = $9 and state = $10 and lease_epoch = $11 and heartbeat = $12",
            )
            .bind(after.state.word())
            .bind(after.epoch)
            .bind(after.owner.as_deref())
            .bind(after.heartbeat)
            .bind(&*files)
            .bind(tally.as_deref())
            .bind(id.as_str())
            .bind(i64::from(revision))
            .bind(i64::from(before.number))
            .bind(before.state.word())
            .bind(before.epoch)
            .bind(before.heartbeat)
            .execute(&self.pool)
            .await
        };
        Ok(self.patiently("change a shard", statement).await?.rows_affected() == 1)
    }

    /// Returns the shard that the claim has already, or the first that is ready.
    async fn first_ready(&self, id: &RunId, revision: u32, owner: &str) -> Result<Option<Shard>> {
        let statement = async || {
            sqlx::query(
                "select shard, segments, state, lease_epoch, lease_owner, heartbeat, tally, files from shard
                 where run_id = $1 and revision = $2 and (state = 'ready' or (state = 'leased' and lease_owner = $3))
                 order by case when state = 'leased' then 0 else 1 end, shard limit 1",
            )
            .bind(id.as_str())
            .bind(i64::from(revision))
            .bind(owner)
            .fetch_optional(&self.pool)
            .await
        };
        let row = self.patiently("find a shard", statement).await?;
        row.as_ref().map(read_shard).transpose()
    }

    /// Returns the shards of a revision of which `condition` holds, in order.
    async fn select(&self, id: &RunId, revision: u32, condition: &str) -> Result<Vec<Shard>> {
        let text = format!(
            "select shard, segments, state, lease_epoch, lease_owner, heartbeat, tally, files from shard
             where run_id = $1 and revision = $2 and {condition} order by shard"
        );
        let statement = async || {
            sqlx::query(sqlx::AssertSqlSafe(&*text))
                .bind(id.as_str())
                .bind(i64::from(revision))
                .fetch_all(&self.pool)
                .await
        };
        let rows = self.patiently("read the shards", statement).await?;
        rows.iter().map(read_shard).collect()
    }
}

/// Reads the word of the store.
pub(super) fn state(word: &str) -> Result<State> {
    State::ALL
        .into_iter()
        .find(|state| state.word() == word)
        .ok_or(RunStoreError::Value("state of a shard"))
}
