//! On whose behalf the candidate is asked.

use std::time::Duration;

use shadow_recorder::exchange::{Exchange, Request};

use crate::candidate::{Asked, Candidate, reply};
use crate::recording::{at, booked, exchange};
use crate::world::{Said, World};

fn by(principal: &str, n: u32) -> Exchange {
    let recorded = exchange(n);
    let request = Request { principal: Some(principal.into()), ..recorded.request };
    Exchange { request, ..recorded }
}

/// Replays with secrets in the environment.
async fn replay(world: &World, candidate: &Candidate, secrets: &[(&str, &str)]) -> Said {
    let (from, to, url) = (at(0).to_string(), at(3_600_000).to_string(), candidate.url());
    let arguments = ["run", "--candidate", &url, "--build", "rc1", "--from", &from, "--to", &to];
    let mut command = world.command(&arguments);
    command.envs(secrets.iter().copied());
    command.output().await.unwrap().into()
}

/// Books where the request carries this, and refuses it otherwise.
async fn demanding(name: &'static str, accepted: fn(&Asked, &str) -> bool) -> Candidate {
    Candidate::start(move |asked| {
        let accepted = asked.header(name).is_some_and(|value| accepted(&asked, value));
        let reply = if accepted { reply(200, booked("Rides", "4000")) } else { reply(401, "{}") };
        async move { reply }
    })
    .await
}

#[tokio::test]
async fn fields_of_every_request_come_from_the_environment_and_are_never_shown() {
    let world = World::new("[replay.authentication]\nheaders = { x-api-key = \"RC_KEY\" }");
    world.record(vec![exchange(0)]);
    let candidate = demanding("x-api-key", |_, value| value == "s3cret-canary").await;
    let said = replay(&world, &candidate, &[("RC_KEY", "s3cret-canary")]).await;
    said.expect(0, "1 matched");
    assert!(!format!("{said:?}").contains("s3cret-canary"));
    for file in walk(&world.path("")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(13).any(|part| part == b"s3cret-canary"), "{}", file.display());
    }
    let said = replay(&world, &candidate, &[]).await;
    said.expect(64, "the environment variable RC_KEY is not set");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn each_recorded_principal_has_a_credential_of_its_own() {
    let world = World::new(
        "[replay.authentication.credential]\ncommand = [\"sh\", \"-c\", \"read p; echo token-of-$p\"]",
    );
    world.record((0..6).map(|n| by(["alice", "bob"][n as usize % 2], n)).collect());
    let candidate = demanding("authorization", |asked, value| {
        let number: u32 = asked.target.rsplit('/').next().unwrap().parse().unwrap();
        value == ["Bearer token-of-alice", "Bearer token-of-bob"][number as usize % 2]
    })
    .await;
    replay(&world, &candidate, &[]).await.expect(0, "6 exchanges: 6 matched");
}

#[tokio::test]
async fn a_token_endpoint_is_asked_as_oauth_has_it() {
    let endpoint = Candidate::start(|asked| async move {
        let client = asked.header("authorization") == Some("Basic c2hhZG93OnBhc3MlMjB3b3Jk");
        let sound = asked.body == "grant_type=client_credentials&scope=books%20write" && client;
        let answer = r#"{"access_token":"t-1","token_type":"Bearer","expires_in":3600}"#;
        if sound { reply(200, answer) } else { reply(400, asked.body) }
    })
    .await;
    let world = World::new(&format!(
        "[replay.authentication.credential]\nper = \"run\"\ntoken_endpoint = {{ url = \"{}/token\", client_id = \"shadow\", client_secret = \"RC_SECRET\", parameters = {{ scope = \"books write\" }} }}",
        endpoint.url()
    ));
    world.record((0..5).map(exchange).collect());
    let candidate = demanding("authorization", |_, value| value == "Bearer t-1").await;
    let said = replay(&world, &candidate, &[("RC_SECRET", "pass word")]).await;
    said.expect(0, "5 exchanges: 5 matched");
    assert_eq!(endpoint.asked().len(), 1);
}

#[tokio::test]
async fn bodies_are_signed_anew() {
    let world = World::new(
        "[replay.authentication.signature]\nheader = \"x-hub-signature-256\"\nkey = \"RC_WEBHOOK\"\nvalue = \"sha256={signature}\"",
    );
    world.record(vec![exchange(0)]);
    let candidate = demanding("x-hub-signature-256", |asked, value| {
        asked.body == r#"{"n":0}"# && value.len() == 71 && value.starts_with("sha256=")
    })
    .await;
    replay(&world, &candidate, &[("RC_WEBHOOK", "k")]).await.expect(0, "1 matched");
}

#[tokio::test]
async fn a_run_whose_credentials_are_refused_stops_early_and_says_so() {
    let world = World::new("[replay]\nin_flight = 1\n[replay.authentication]\nrefusals_max = 5");
    world.record((0..200).map(exchange).collect());
    let candidate = Candidate::start(|_| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        reply(403, "{}")
    })
    .await;
    let said = replay(&world, &candidate, &[]).await;
    said.expect(2, "refused the credentials of 5 exchanges that production accepted");
    assert!(candidate.asked().len() < 60, "{}", candidate.asked().len());
}
