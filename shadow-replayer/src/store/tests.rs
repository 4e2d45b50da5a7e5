use super::*;
use crate::run::{Evidence, Settings};

fn at(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap()
}

fn run() -> Run {
    Run {
        id: RunId::new(uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))),
        service: "ledger".into(),
        candidate_build: "2".into(),
        candidate_url: "http://127.0.0.1:1".into(),
        from: at(1),
        to: at(1_780_000_000_000_123),
        state: State::Planned,
        failure: None,
        created_at: at(5),
        finished_at: None,
        evidence: Evidence {
            primary_build: Some("1".into()),
            gaps: vec!["a gap".into()],
            ..Evidence::default()
        },
        settings: Settings { only: ["e1".to_owned()].into(), ..Settings::default() },
    }
}

/// Every store test runs on both databases.
async fn on_both(test: impl AsyncFn(RunStore)) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shadow.db?mode=rwc", folder.path().display());
    let store = RunStore::open(&url).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    let url = std::env::var("SHADOW_TEST_POSTGRES");
    let url =
        url.expect("SHADOW_TEST_POSTGRES is not set: run tests/run, which starts a PostgreSQL");
    test(RunStore::open(&url).await.unwrap()).await;
}

#[tokio::test]
async fn a_run_reads_back_as_it_was_written() {
    on_both(async |store| {
        let mut run = run();
        store.insert(&run, "abc", &[vec!["s1".into()], vec!["s2".into()]]).await.unwrap();
        assert_eq!(store.run(&run.id).await.unwrap().unwrap(), run);
        run.evidence.gaps.clear();
        store.advance(&mut run, Event::Fail, at(9), Some("never reachable")).await.unwrap();
        let read = store.run(&run.id).await.unwrap().unwrap();
        assert_eq!(
            (&read, read.state, read.failure.as_deref()),
            (&run, State::Failed, Some("never reachable"))
        );
        let mut stale = Run { state: State::Replaying, ..run.clone() };
        assert!(
            store.advance(&mut stale, Event::Finish, at(10), None).await.is_err(),
            "another process went first"
        );
        assert_eq!(store.run(&self::run().id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_claimed_once_and_won_once() {
    on_both(async |store| {
        let run = run();
        store.insert(&run, "abc", &[vec!["s1".into()], vec!["s2".into()]]).await.unwrap();
        let first = store.claim(&run.id, 1).await.unwrap().unwrap();
        let second = store.claim(&run.id, 1).await.unwrap().unwrap();
        assert_eq!((first.number, second.number, first.epoch), (0, 1, 1));
        assert_eq!(store.claim(&run.id, 1).await.unwrap(), None);
        let tally = Tally { recorded: 3, matched: 3, ..Tally::default() };
        let stale = Shard { epoch: 0, ..first.clone() };
        assert!(
            !store.win(&run.id, 1, &stale, &[], &tally).await.unwrap(),
            "an older epoch wins nothing"
        );
        assert!(store.win(&run.id, 1, &first, &[], &tally).await.unwrap());
        assert!(!store.win(&run.id, 1, &first, &[], &tally).await.unwrap());
        store.finish_shard(&run.id, 1, 0).await.unwrap();
        store.finish_shard(&run.id, 1, 1).await.unwrap();
        assert_eq!(store.newest_revision(&run.id).await.unwrap(), None, "shard 1 has not won");
        assert!(store.win(&run.id, 1, &second, &[], &tally).await.unwrap());
        store.finish_shard(&run.id, 1, 1).await.unwrap();
        assert_eq!(store.newest_revision(&run.id).await.unwrap().unwrap().number, 1);
        assert_eq!(store.shards(&run.id, 1).await.unwrap()[0].tally, Some(tally));
    })
    .await;
}

#[tokio::test]
async fn a_further_revision_counts_only_when_it_is_finished() {
    on_both(async |store| {
        let run = run();
        store.insert(&run, "abc", &[]).await.unwrap();
        store.insert(&self::run(), "abc", &[vec!["other".into()]]).await.unwrap();
        assert_eq!(store.add_revision(&run.id, at(7), "def").await.unwrap(), 2);
        let newest = store.newest_revision(&run.id).await.unwrap().unwrap();
        assert_eq!(newest, Revision { number: 2, created_at: at(7), mapping_sha256: "def".into() });
    })
    .await;
}

#[tokio::test]
async fn verdicts_are_kept_side_by_side() {
    on_both(async |store| {
        let run = run();
        store.insert(&run, "abc", &[]).await.unwrap();
        let verdict = NewVerdict {
            revision: 1,
            decided_at: at(8),
            verdict: "refused",
            policy_sha256: "p",
            document: "{}",
        };
        assert_eq!(store.append_verdict(&run.id, &verdict).await.unwrap(), 1);
        assert_eq!(store.append_verdict(&run.id, &verdict).await.unwrap(), 2);
    })
    .await;
}

#[test]
fn credentials_stay_out_of_messages() {
    assert_eq!(without_credentials("postgres://me:secret@db/shadow"), "postgres://…@db/shadow");
    assert_eq!(without_credentials("sqlite://x.db"), "sqlite://x.db");
}
