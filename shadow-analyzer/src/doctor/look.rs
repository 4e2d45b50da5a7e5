//! The edge of the doctor: asks store, recorder, recordings and stub, one after the other.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use shadow_recorder::clock;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::manifest::Manifest;
use shadow_recorder::store::{Store, StoreError};
use shadow_replayer::config::Config as Replay;
use shadow_replayer::plan::{self, Range};
use shadow_replayer::run::{RunId, Settings};
use shadow_replayer::store::RunStore;
use shadow_replayer::{RunError, RunRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Report, Step, some, step};
use crate::certify::{Subject, certify};
use crate::config::Config;
use crate::map::Summary;
use crate::policy::Policy;

/// How long the recorder may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// What is looked at to see whether the mapping reads it.
const TRAFFIC: Duration = Duration::from_hours(1);
/// What is looked at to see who recorded.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What is asked of the doctor.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The configuration's file, for the commands that are suggested.
    pub file: &'a Path,
    /// The recorder's admin address.
    pub admin: Option<SocketAddr>,
    /// Where production's own build listens.
    pub candidate: Option<Origin>,
    /// How much of its latest recording it is to serve.
    pub latest: Duration,
}

/// Takes every step.
pub async fn report(replay: &Replay, policy: Option<Policy>, asked: &Asked<'_>) -> Report {
    let file = asked.file.display();
    let mut steps = vec![Step::fine(step::CONFIGURATION, format!("{file} has no mistake"))];
    steps.push(store(&replay.store).await);
    steps.push(run_store(replay).await);
    let now = clock::now();
    let range = Range { from: now.saturating_sub(DAY).unwrap_or(now), to: now };
    let found =
        plan::find(&replay.store, &replay.service.name, range, SignedDuration::ZERO, now).await;
    let manifests = found.map(|found| found.manifests).unwrap_or_default();
    let answer = match asked.admin {
        Some(admin) => Some((admin.to_string(), metrics(admin).await)),
        None => None,
    };
    let answer = answer
        .as_ref()
        .map(|(address, answer)| (&**address, answer.as_ref().copied().map_err(|what| &**what)));
    steps.push(step::recorder(answer, &manifests, now));
    let ambient = replay.upstreams.iter().any(|upstream| upstream.ambient_age_max.is_some());
    steps.push(step::upstream_calls(&manifests, ambient));
    let traffic =
        traffic(replay).await.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
    steps.push(step::mapping(traffic.as_ref().map_err(|what| &**what)));
    let dated = policy.clone().map(|policy| policy.of_range(now));
    steps.extend(step::policy(dated.as_ref(), &traffic.unwrap_or_default()));
    steps.push(stub(replay).await);
    steps.push(own_build(replay, policy, asked, &manifests).await);
    Report::of(steps)
}

/// Writes a probe under a key of its own, lists it, reads it back and removes it.
async fn store(store: &Store) -> Step {
    let key = format!("doctor/{}", RunId::fresh());
    let tried = async {
        store.put(&key, "probe").await?;
        let (listed, read) = (store.list("doctor/").await?, store.get(&key).await?);
        store.remove(&key).await?;
        Ok::<_, StoreError>(listed.contains(&key) && read == b"probe")
    };
    let location = store.location("");
    match tried.await {
        Ok(true) => Step::fine(step::STORE, format!("{location} lists, writes, reads and removes")),
        Ok(false) => Step::act(
            step::STORE,
            format!("{location} does not show what was written to it"),
            "name a store that everybody who reads it sees at once: a directory or S3 that is not a cache",
        ),
        Err(error) => Step::act(
            step::STORE,
            format!("{:#}", anyhow::Error::from(error)),
            "check [store]: directory and its rights, or bucket, endpoint and credentials",
        ),
    }
}

async fn run_store(replay: &Replay) -> Step {
    match RunStore::open(&replay.replay.database).await {
        Ok(runs) => {
            runs.close().await;
            Step::fine(step::RUN_STORE, "opens, and its tables are up to date")
        }
        Err(error) => Step::act(
            step::RUN_STORE,
            format!("{:#}", anyhow::Error::from(error)),
            "check [replay] database: a SQLite file in a folder that exists, or a PostgreSQL that can be reached",
        ),
    }
}

/// Asks the recorder for its metrics.
async fn metrics(admin: SocketAddr) -> Result<(), String> {
    let asking = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(head)) if &head == b"HTTP/1.1 200" => Ok(()),
        Ok(Ok(_)) => Err("it is no recorder's admin address".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
    }
}

/// Reads the last hour of recordings by the mapping.
async fn traffic(replay: &Replay) -> Result<Summary, RunError> {
    let range = shadow_replayer::latest(replay, TRAFFIC).await?;
    let mut summary = Summary::default();
    shadow_replayer::recorded(replay, range, |exchange| summary.add(&replay.mapping, exchange))
        .await?;
    Ok(summary)
}

/// Tries to listen where the stub would.
async fn stub(replay: &Replay) -> Step {
    if replay.stub.own_upstreams {
        return Step::fine(step::STUB, "the candidate calls upstreams of its own: there is none");
    }
    let of_upstreams = replay.upstreams.iter().filter_map(|of| Some((of.name.clone(), of.listen?)));
    let for_all = [("by_host", replay.stub.by_host), ("proxy", replay.stub.proxy)];
    let for_all = for_all.into_iter().filter_map(|(name, listen)| Some((name.to_owned(), listen?)));
    let places: Vec<(String, SocketAddr)> = of_upstreams.chain(for_all).collect();
    let mut names = Vec::new();
    for (name, listen) in places {
        if let Err(error) = TcpListener::bind(listen).await {
            return Step::act(
                step::STUB,
                format!("the stub for {name} cannot listen at {listen}: {error}"),
                "stop what listens there (the recorder itself, where both run on one host), or give the stub another address in [replay.stub]",
            );
        }
        names.push(format!("{name} at {listen}"));
    }
    if names.is_empty() {
        return Step::fine(step::STUB, "no [[upstream]] has an address: the service calls nobody");
    }
    Step::fine(step::STUB, format!("can listen for {}", some(&names)))
}

/// Certifies production's build by its own latest recording.
async fn own_build(
    replay: &Replay,
    policy: Option<Policy>,
    asked: &Asked<'_>,
    manifests: &[Manifest],
) -> Step {
    let Some(candidate) = &asked.candidate else { return step::own_build_not_tried(asked.file) };
    let failed = |what: String| Step::act(step::OWN_BUILD, what, "remove the cause and ask again");
    let Some(policy) = policy else {
        return Step::act(
            step::OWN_BUILD,
            "section [certify] is missing",
            "write it, as said above",
        );
    };
    let newest = manifests.iter().max_by_key(|manifest| manifest.sealed_at);
    let build =
        newest.map(|manifest| manifest.build.clone()).or_else(|| replay.service.build.clone());
    let range = match shadow_replayer::latest(replay, asked.latest).await {
        Ok(range) => range,
        Err(error) => return failed(format!("{:#}", anyhow::Error::from(error))),
    };
    let request = RunRequest {
        candidate: candidate.clone(),
        build: build.unwrap_or_else(|| "production".into()),
        from: range.from,
        to: range.to,
        settings: Settings::default(),
        plan_only: false,
    };
    let config = Config { replay: replay.clone(), policy };
    match certify(&config, &Subject::Candidate(Box::new(request)), &|_| {}).await {
        Ok(certified) => step::own_build(&certified.verdict, &certified.report),
        Err(error) => failed(format!("{:#}", anyhow::Error::from(error))),
    }
}
