use super::*;
use crate::run::Tally;
use crate::run::{Evidence, Settings};
use crate::shard::Event as ShardEvent;

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

fn file(attempt: &str) -> WonFile {
    WonFile { attempt: attempt.into(), target: "t".into(), sha256: "d".into() }
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
        let first = store.claim(&run.id, 1, "a/1").await.unwrap().unwrap();
        let second = store.claim(&run.id, 1, "b/1").await.unwrap().unwrap();
        assert_eq!((first.number, second.number, first.epoch), (0, 1, 1));
        assert_eq!(store.claim(&run.id, 1, "c/1").await.unwrap(), None);
        let change = async |shard: &Shard, event| {
            store.change(&run.id, 1, shard.number, &event).await.unwrap()
        };
        let (files, others) = ([file("1")], [file("2")]);
        let tally = Tally { recorded: 3, matched: 3, ..Tally::default() };
        assert!(
            change(&first, ShardEvent::Win(0, &files, &tally)).await.is_err(),
            "an older epoch"
        );
        assert!(change(&first, ShardEvent::Win(1, &files, &tally)).await.is_ok());
        assert!(change(&first, ShardEvent::Win(1, &others, &tally)).await.is_err());
        change(&first, ShardEvent::Finish).await.unwrap();
        assert!(change(&second, ShardEvent::Finish).await.is_err());
        assert_eq!(store.newest_revision(&run.id).await.unwrap(), None, "shard 1 has not won");
        assert!(!store.all_finished(&run.id, 1).await.unwrap());
        assert!(change(&second, ShardEvent::Win(1, &files, &tally)).await.is_ok());
        change(&second, ShardEvent::Finish).await.unwrap();
        assert!(store.all_finished(&run.id, 1).await.unwrap());
        assert_eq!(store.newest_revision(&run.id).await.unwrap().unwrap().number, 1);
        assert_eq!(store.shards(&run.id, 1).await.unwrap()[0].tally, Some(tally));
    })
    .await;
}

#[tokio::test]
async fn what_was_done_and_not_answered_is_recognised() {
    on_both(async |store| {
        let mut run = run();
        let shards = [vec!["s1".into()]];
        for _ in 0..2 {
            store.insert(&run, "abc", &shards).await.unwrap();
        }
        let claimed = store.claim(&run.id, 1, "a/1").await.unwrap();
        assert_eq!(store.claim(&run.id, 1, "a/1").await.unwrap(), claimed);
        let (shard, tally, files) = (claimed.unwrap(), Tally::default(), [file("1")]);
        for event in [ShardEvent::Win(shard.epoch, &files, &tally), ShardEvent::Finish] {
            for _ in 0..2 {
                assert!(store.change(&run.id, 1, 0, &event).await.unwrap().is_ok(), "{event:?}");
            }
        }
        let planned = run.clone();
        for event in [Event::Start, Event::Finish] {
            let mut other = run.clone();
            store.advance(&mut run, event, at(9), None).await.unwrap();
            store.advance(&mut other, event, at(10), None).await.unwrap();
            assert_eq!(other, run, "another worker's word is taken over");
        }
        assert_eq!(run, Run { state: State::Finished, finished_at: Some(at(9)), ..planned });
        let added = store.add_revision(&run.id, at(7), "def").await.unwrap();
        assert_eq!(store.add_revision(&run.id, at(7), "def").await.unwrap(), added);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_taken_over_changes_nothing() {
    on_both(async |store| {
        let run = run();
        store.insert(&run, "abc", &[vec!["s1".into()]]).await.unwrap();
        let slow = store.claim(&run.id, 1, "a/1").await.unwrap().unwrap();
        let seen = store.held(&run.id, 1).await.unwrap()[0].sign();
        let take = async |seen, owner| store.take_over(&run.id, 1, (0, seen), owner).await.unwrap();
        store.change(&run.id, 1, 0, &ShardEvent::Beat(slow.epoch)).await.unwrap().unwrap();
        assert_eq!(take(seen, "b/1").await, None, "it lives");
        let seen = store.held(&run.id, 1).await.unwrap()[0].sign();
        let taken = take(seen, "b/1").await.unwrap();
        assert_eq!((taken.epoch, taken.owner.as_deref()), (2, Some("b/1")));
        assert_eq!(take(seen, "c/1").await, None, "one of them takes over");
        let before = store.shards(&run.id, 1).await.unwrap();
        let (tally, files) = (Tally::default(), [file("1")]);
        for event in [
            ShardEvent::Beat(slow.epoch),
            ShardEvent::Release(slow.epoch),
            ShardEvent::Win(slow.epoch, &files, &tally),
        ] {
            assert!(store.change(&run.id, 1, 0, &event).await.unwrap().is_err(), "{event:?}");
        }
        assert_eq!(store.shards(&run.id, 1).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn claims_at_the_same_time_get_different_shards() {
    on_both(async |store| {
        let run = run();
        let shards: Vec<Vec<String>> = (0..20).map(|n: u32| vec![n.to_string()]).collect();
        store.insert(&run, "abc", &shards).await.unwrap();
        let names: Vec<String> = (0..20).map(|n: u32| format!("w/{n}")).collect();
        let claims = names.iter().map(|name| store.claim(&run.id, 1, name));
        let claimed = futures_util::future::join_all(claims).await;
        let numbers = claimed.into_iter().map(|claimed| claimed.unwrap().unwrap().number);
        assert_eq!(numbers.collect::<std::collections::BTreeSet<_>>().len(), 20);
    })
    .await;
}

#[tokio::test]
async fn runs_are_listed_by_service_and_build() {
    on_both(async |store| {
        let run = Run { candidate_build: RunId::fresh().to_string(), ..run() };
        store.insert(&run, "abc", &[vec!["s1".into()], vec![]]).await.unwrap();
        let build = Some(&*run.candidate_build);
        let listed = store.runs(Some("ledger"), build).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0].run_id, listed[0].shards, listed[0].finished), (&run.id, 2, 0));
        assert_eq!(store.runs(Some("other"), build).await.unwrap(), []);
        assert!(store.runs(None, None).await.unwrap().contains(&listed[0]));
    })
    .await;
}

#[tokio::test]
async fn what_was_stored_before_runs_were_durable_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shadow.db?mode=rwc", folder.path().display());
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let first = migrator().iter().next().unwrap().clone();
    Migrator::with_migrations(vec![first]).run(&pool).await.unwrap();
    let id = run().id;
    for statement in [
        "insert into run values ($1, 'ledger', '2', 'http://127.0.0.1:1', 1, 2, 'finished', null, 5, 6, '{\"segments\":[],\"dropped\":{},\"sampled_out\":0,\"calls\":{\"attributed\":0,\"ambiguous\":0,\"unattributed\":0,\"late\":0,\"sampled_out\":0,\"dropped\":0},\"gaps\":[]}')",
        "insert into revision values ($1, 1, 5, 'abc')",
        "insert into shard values ($1, 1, 0, '[\"s1\"]', 'finished', 1, '[]', null)",
        "insert into verdict values ($1, 1, 1, 7, 'certified', 'p', '{}')",
    ] {
        sqlx::query(statement).bind(id.as_str()).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let store = RunStore::open(&url).await.unwrap();
    assert_eq!(store.run(&id).await.unwrap().unwrap().state, State::Finished);
    assert_eq!(store.shards(&id, 1).await.unwrap()[0].segments, ["s1"]);
    assert_eq!(store.newest_revision(&id).await.unwrap().unwrap().number, 1);
    let verdict = NewVerdict {
        revision: 1,
        decided_at: at(8),
        verdict: "refused",
        policy_sha256: "p",
        document: "{}",
    };
    assert_eq!(store.append_verdict(&id, &verdict).await.unwrap(), 2);
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

#[tokio::test]
async fn the_newest_verdicts_of_a_service_and_of_a_build_are_found() {
    on_both(async |store| {
        let service = format!("ledger-{}", run().id);
        let of =
            |build: &str| Run { service: service.clone(), candidate_build: build.into(), ..run() };
        let (first, second) = (of("1"), of("2"));
        let elsewhere = Run { service: format!("{service}-other"), ..of("1") };
        let given = [
            (&first, 10, "certified", "a"),
            (&second, 20, "refused", "b"),
            (&first, 30, "certified", "c"),
            (&elsewhere, 40, "certified", "d"),
        ];
        for run in [&first, &second, &elsewhere] {
            store.insert(run, "abc", &[]).await.unwrap();
        }
        for (run, us, word, document) in given {
            let verdict = NewVerdict {
                revision: 1,
                decided_at: at(us),
                verdict: word,
                policy_sha256: "p",
                document,
            };
            store.append_verdict(&run.id, &verdict).await.unwrap();
        }
        let (newest, count) = store.verdicts_on(&service, "1", 1).await.unwrap();
        assert_eq!((newest.len(), count), (1, 2));
        let newest = &newest[0];
        assert_eq!((&newest.run_id, newest.decided_at, &*newest.build), (&first.id, at(30), "1"));
        let texts = async |other_than: &Run, certified, limit| {
            let read = store.documents(&service, &other_than.id, certified, limit).await.unwrap();
            read.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(&elsewhere, false, 9).await, ["c", "b", "a"]);
        assert_eq!(texts(&elsewhere, false, 1).await, ["c"]);
        assert_eq!(texts(&second, true, 1).await, ["c"]);
        assert_eq!(texts(&first, true, 1).await, [""; 0], "a run is no earlier one of its own");
    })
    .await;
}

#[test]
fn credentials_stay_out_of_messages() {
    assert_eq!(without_credentials("postgres://me:secret@db/shadow"), "postgres://…@db/shadow");
    assert_eq!(without_credentials("sqlite://x.db"), "sqlite://x.db");
}
