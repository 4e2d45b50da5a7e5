//! Where requests go, and what is in them.

use shadow_recorder::host::{self, Host};

use crate::candidate::{Candidate, reply};
use crate::recording::{Boot, booked, exchange};
use crate::world::World;

#[tokio::test]
async fn no_redirect_is_followed_and_no_proxy_is_asked() {
    let world = World::new("");
    world.record(vec![exchange(0)]);
    let elsewhere = Candidate::always(200, booked("Rides", "4000")).await;
    let location = format!("{}/elsewhere", elsewhere.url());
    let candidate = Candidate::start(move |_| {
        let mut reply = reply(307, "{}");
        reply.headers_mut().insert("location", location.parse().unwrap());
        async move { reply }
    })
    .await;
    let (from, to) = ("2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z");
    let url = candidate.url();
    let arguments = ["run", "--candidate", &url, "--build", "rc1", "--from", from, "--to", to];
    let mut command = world.command(&arguments);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, elsewhere.url());
    }
    let said: crate::world::Said = command.output().await.unwrap().into();
    said.expect(0, "1 exchanges: 0 matched");
    assert!(!candidate.asked().is_empty());
    assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
}

#[tokio::test]
async fn a_candidate_outside_the_allowed_networks_is_refused() {
    let world = World::new("");
    world.record(vec![exchange(0)]);
    // An address for documentation, at which nothing is asked.
    world.replay("http://192.0.2.1:9", &[]).await.expect(64, "add it to [replay] allow");
    world.configure("[replay]\nallow = [\"192.0.2.0/33\", \"10.0.0.0/8\"]");
    world.replay("http://192.0.2.1:9", &[]).await.expect(64, "is neither a network nor a name");
    world.configure("[replay]\nallow = [\"10.0.0.0/8\"]");
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    world
        .replay(&candidate.url(), &[])
        .await
        .expect(64, "is at 127.0.0.1, where a replay may not go");
    world.configure("[replay]\nallow = [\"localhost\"]");
    let url = format!("http://localhost:{}", candidate.address.port());
    world.replay(&url, &[]).await.expect(0, "1 exchanges: 1 matched");
}

#[tokio::test]
async fn a_candidate_that_is_recorded_as_production_is_refused_under_any_name() {
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let port = candidate.address.port();
    let world = World::new(&format!(
        "[[upstream]]\nname = \"fx\"\nlisten = \"127.0.0.1:1\"\nforward_to = \"http://127.0.0.1:{port}\""
    ));
    world.record(vec![exchange(0)]);
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let said = world.replay(&format!("http://{host}:{port}"), &[]).await;
        said.expect(64, "is upstream fx in production");
    }
    assert!(candidate.asked().is_empty());
}

#[tokio::test]
async fn host_and_recorded_time_are_sent_as_configured() {
    let world = World::new(
        "[replay.candidate]\nhost = \"rc.internal\"\nevent_time_header = \"x-event-time\"\nevent_time_format = \"epoch_ms\"",
    );
    world.record(vec![exchange(7)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    world.replay(&candidate.url(), &[]).await.expect(0, "1 matched");
    let asked = &candidate.asked()[0];
    assert_eq!(asked.header("host"), Some("rc.internal"));
    assert_eq!(asked.header("x-event-time"), Some("1777629600007"));
}

/// Says of a recording's recorder that it ran there, in front of a service at this address.
fn recorded_at(host: Option<Host>, service: &Candidate, ended: bool) -> World {
    let world = World::new("");
    let service_address = service.address.to_string();
    let boot = Boot { service_address, host, ended, ..Boot::default() };
    boot.write(&world.store(), &[vec![exchange(0)]]);
    world
}

#[tokio::test]
async fn a_loopback_address_is_production_only_beside_its_living_recorder() {
    let service = Candidate::always(200, booked("Rides", "4000")).await;
    let recorder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = recorder.local_addr().unwrap();
    let here = host::own(listen).unwrap();
    let elsewhere = Host { machine: "another".into(), ..here.clone() };
    let network = Host { network: "net:[1]".into(), ..here.clone() };
    let url = service.url();
    let refused = async |world: World| {
        let said = world.replay(&url, &[]).await;
        said.expect(if said.code == 64 { 64 } else { 0 }, "");
        said.code == 64
    };
    assert!(refused(recorded_at(Some(here.clone()), &service, false)).await);
    assert!(refused(recorded_at(None, &service, false)).await, "an older recording");
    assert!(!refused(recorded_at(Some(here.clone()), &service, true)).await, "it stopped");
    assert!(!refused(recorded_at(Some(elsewhere), &service, false)).await, "another machine");
    assert!(!refused(recorded_at(Some(network), &service, false)).await, "another network");
    let world = recorded_at(Some(here.clone()), &service, false);
    let front = world.replay(&format!("http://{listen}"), &[]).await;
    front.expect(64, "is the service in production");
    drop(recorder);
    assert!(!refused(recorded_at(Some(here), &service, false)).await, "it was killed");
}
