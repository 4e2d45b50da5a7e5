use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shadow_recorder::exchange::{Body, End, Exchange, Omission, Response, UpstreamCall};

use crate::candidate::{Candidate, reply};
use crate::recording::{booked, call, exchange, request, response};
use crate::upstream::Call;
use crate::world::{Said, World, free_address};

/// An upstream `fx` that the service reached at its own listener.
fn fx(listen: SocketAddr) -> String {
    format!(
        "[[upstream]]\nname = \"fx\"\nforward_to = \"http://fx.internal\"\nlisten = \"{listen}\"\n"
    )
}

/// Replays one exchange whose upstream calls are `recorded`, against a candidate that makes these `calls` at `stub` and books what
/// production did when all are answered with 200.
async fn replay(
    world: &World,
    recorded: Vec<UpstreamCall>,
    stub: SocketAddr,
    calls: Vec<Call>,
) -> Said {
    world.record(vec![Exchange { upstream: recorded, ..exchange(0) }]);
    let candidate = Candidate::start(move |asked| {
        let calls = calls.clone();
        async move {
            for call in calls {
                match call.send(stub, &asked).await {
                    Ok((200, _)) => {}
                    Ok((status, body)) => return reply(500, format!("{status} {body}")),
                    Err(error) => return reply(500, format!("{error:?}")),
                }
            }
            reply(200, booked("Rides", "4000"))
        }
    })
    .await;
    world.replay(&candidate.url(), &[]).await
}

#[tokio::test]
async fn the_stub_speaks_http_1_and_http_2_at_an_upstreams_own_listener() {
    let stub = free_address();
    let world = World::new(&fx(stub));
    let recorded = vec![call("fx", "/rate", "1.1"), call("fx", "/rate", "1.1")];
    let http2 = Call { http2: true, ..Call::get(format!("http://{stub}/rate")) };
    let said = replay(&world, recorded, stub, vec![Call::get("/rate"), http2]).await;
    said.expect(0, "1 exchanges: 1 matched");
}

#[tokio::test]
async fn a_call_is_known_by_its_host_and_through_the_forward_proxy() {
    for key in ["by_host", "proxy"] {
        let stub = free_address();
        let world = World::new(&format!(
            "[[upstream]]\nname = \"fx\"\nforward_to = \"http://fx.internal\"\n[egress]\n{key} = \"{stub}\"\n"
        ));
        let recorded = vec![call("fx", "/rate", "1.1"), call("fx", "/rate", "1.1")];
        let absolute = Call::get("http://fx.internal/rate");
        let said = replay(&world, recorded, stub, vec![Call::get("/rate"), absolute]).await;
        said.expect(0, "1 exchanges: 1 matched");
    }
}

#[tokio::test]
async fn a_call_to_no_upstream_and_a_tunnel_are_misses_that_say_so() {
    for (call_made, reason) in [
        (Call { host: "other.internal", ..Call::get("/rate") }, "no upstream has this host"),
        (
            Call { method: "CONNECT", ..Call::get("fx.internal:443") },
            "what passes through a tunnel is neither recorded nor replayed",
        ),
    ] {
        let stub = free_address();
        let world = World::new(&format!(
            "[[upstream]]\nname = \"fx\"\nforward_to = \"http://fx.internal\"\n[egress]\nproxy = \"{stub}\"\n"
        ));
        let said = replay(&world, vec![], stub, vec![call_made]).await;
        said.expect(0, "1 unverified");
        let rows = world.rows("exchange", &said.run());
        assert!(rows[0]["detail"].contains(reason), "{rows:?}");
    }
}

/// A call to `fx` with a JSON body.
fn quote(body: &str, answer: &str) -> UpstreamCall {
    let request = request("POST", "/quotes/1", body);
    UpstreamCall { request, response: Some(response(200, answer)), ..call("fx", "/", "") }
}

#[tokio::test]
async fn what_was_not_made_as_recorded_is_in_the_journal_to_the_path() {
    let stub = free_address();
    let world = World::new(&format!("{}[replay]\nlinger = \"1ms\"", fx(stub)));
    let recorded = vec![
        quote(r#"{"id":1,"amount":"10.00"}"#, "1"),
        call("fx", "/rate", "1.1"),
        call("fx", "/date", "today"),
    ];
    let made = vec![Call::get("/rate"), Call::post("/quotes/1", r#"{"id":2,"amount":"10.00"}"#)];
    let mut again = made.clone();
    again[1] = Call::get("/rate");
    world.record(vec![
        Exchange { upstream: recorded.clone(), ..exchange(0) },
        Exchange { upstream: recorded, ..exchange(1) },
    ]);
    let candidate = Candidate::start(move |asked| {
        let calls = if asked.target == "/bookings/0" { made.clone() } else { again.clone() };
        async move {
            for call in calls {
                call.send(stub, &asked).await.unwrap();
            }
            reply(200, booked("Rides", "4000"))
        }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "2 unverified");
    said.expect(0, "upstream fx: `$.id` alone differed in 1 of 2 misses ($.id is 2, recorded 1): declare `volatile = [\"$.id\"]`");
    let status = world.replayer(&["status", "--run", &said.run()]).await;
    status.expect(0, "declare `volatile = [\"$.id\"]`");
    let rows = world.rows("upstream", &said.run());
    let row = |exchange_id: u32, kind: &str| {
        let id = exchange(exchange_id).id.0;
        rows.iter()
            .filter(|row| row["exchange_id"] == id && row["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let miss = row(0, "miss")[0];
    assert_eq!((&*miss["call"], &*miss["nearest"]), ("POST /quotes/1", "POST /quotes/1"));
    assert_eq!((&*miss["differs"], &*miss["path"]), ("$.id is 2, recorded 1", "$.id"));
    let unused = row(0, "unused");
    assert_eq!((unused.len(), &*unused[1]["call"]), (2, "GET /date"), "{rows:?}");
    assert_eq!(row(1, "extra")[0]["call"], "GET /rate");
}

#[tokio::test]
async fn a_candidate_that_never_calls_the_stub_ends_the_run() {
    let stub = free_address();
    let world = World::new(&format!(
        "{}[replay]\nlinger = \"1ms\"\n[replay.stub]\nunused_exchanges_max = 3\nadvertise = \"ci-7\"",
        fx(stub)
    ));
    let with_call = |n| Exchange { upstream: vec![call("fx", "/rate", "1.1")], ..exchange(n) };
    world.record((0..50).map(with_call).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(
        2,
        "failed: the candidate does not use the stub: production called upstreams for 3",
    );
    said.expect(2, &format!("the stub answers for upstream fx at http://ci-7:{}", stub.port()));
    // One that fails says nothing about where its upstreams are.
    let failing = Candidate::always(500, "{}").await;
    world.replay(&failing.url(), &[]).await.expect(0, "50 errored");
}

/// A call that ended like this, with this answer.
fn ended(end: End, response: Option<Response>) -> UpstreamCall {
    UpstreamCall { end, response, duration_us: 0, ..call("fx", "/rate", "") }
}

/// Replays one exchange with one call, which the candidate makes within 200 ms; returns what became of it.
async fn fate(recorded: UpstreamCall) -> (String, Said) {
    let stub = free_address();
    let world = World::new(&fx(stub));
    world.record(vec![Exchange { upstream: vec![recorded], ..exchange(0) }]);
    let (tell, told) = std::sync::mpsc::channel();
    let candidate = Candidate::start(move |asked| {
        let tell = tell.clone();
        async move {
            let made = Call::get("/rate").send(stub, &asked);
            let fate = match tokio::time::timeout(Duration::from_millis(200), made).await {
                Ok(Ok((status, body))) => format!("{status} {body}"),
                Ok(Err(_)) => "broken".to_owned(),
                Err(_) => "silence".to_owned(),
            };
            tell.send(fate).unwrap();
            reply(200, booked("Rides", "4000"))
        }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    (told.recv().unwrap(), said)
}

#[tokio::test]
async fn recorded_failures_are_replayed_as_failures() {
    let (fate_of_gateway, said) = fate(ended(End::UpstreamFailed, None)).await;
    assert_eq!(fate_of_gateway, "502 502 Bad Gateway: answered by shadow-recorder\n");
    said.expect(0, "1 matched");
    let body = Body { text: None, omitted: Some(Omission::Truncated), ..Body::default() };
    let torn = Response { body, ..response(200, "") };
    let (fate_of_torn, said) = fate(ended(End::UpstreamFailed, Some(torn))).await;
    assert_eq!(fate_of_torn, "broken");
    said.expect(0, "1 matched");
    let (fate_of_given_up, said) = fate(ended(End::ClientAborted, None)).await;
    assert_eq!(fate_of_given_up, "silence", "as long as production's service waited");
    said.expect(0, "1 matched");
}

#[tokio::test]
async fn the_recorded_latency_is_replayed_where_that_is_asked() {
    let stub = free_address();
    let world = World::new(&format!(
        "{}[replay.stub]\nlatency = \"recorded\"\nlatency_factor = \"0.5\"",
        fx(stub)
    ));
    let slow = UpstreamCall { duration_us: 600_000, ..call("fx", "/rate", "1.1") };
    let began = Instant::now();
    let said = replay(&world, vec![slow], stub, vec![Call::get("/rate")]).await;
    said.expect(0, "1 matched");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

const ASSUME: &str = "[[replay.assume]]\nupstream = \"fx\"\nroute = \"GET /levy\"\nbody = \"0\"\nreason = \"r\"\nowner = \"tax-team\"\n";

#[tokio::test]
async fn a_declared_new_call_is_answered_until_it_expires() {
    let stub = free_address();
    let made = || vec![Call::get("/rate"), Call::get("/levy")];
    let recorded = || vec![call("fx", "/rate", "1.1")];
    let world = World::new(&fx(stub));
    replay(&world, recorded(), stub, made()).await.expect(0, "1 unverified");
    let world = World::new(&format!("{}{ASSUME}expires = \"2999-12-31\"", fx(stub)));
    let said = replay(&world, recorded(), stub, made()).await;
    said.expect(0, "1 matched");
    assert_eq!(world.rows("upstream", &said.run()), []);
    let world = World::new(&format!("{}{ASSUME}expires = \"2020-12-31\"", fx(stub)));
    let said = replay(&world, recorded(), stub, made()).await;
    said.expect(
        64,
        "[[replay.assume]] GET /levy of upstream fx expired on 2020-12-31: ask tax-team",
    );
}

#[tokio::test]
async fn a_recording_answers_before_an_assumption() {
    let stub = free_address();
    let world = World::new(&format!("{}{ASSUME}expires = \"2999-12-31\"", fx(stub)));
    world.record(vec![Exchange { upstream: vec![call("fx", "/levy", "7")], ..exchange(0) }]);
    let candidate = Candidate::start(move |asked| async move {
        let answer = Call::get("/levy").send(stub, &asked).await.unwrap();
        assert_eq!(answer, (200, "7".to_owned()));
        reply(200, booked("Rides", "4000"))
    })
    .await;
    world.replay(&candidate.url(), &[]).await.expect(0, "1 matched");
}

#[tokio::test]
async fn a_candidate_with_upstreams_of_its_own_needs_no_stub() {
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let world =
        World::new(&format!("{}[replay]\nupstreams = \"own\"", fx(taken.local_addr().unwrap())));
    world.record(vec![Exchange { upstream: vec![call("fx", "/rate", "1.1")], ..exchange(0) }]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    world.replay(&candidate.url(), &[]).await.expect(0, "1 matched");
}

#[tokio::test]
async fn the_stub_speaks_tls_by_a_certificate_made_for_the_upstreams_hosts() {
    let stub = free_address();
    let world = World::new(&format!("{}[replay.stub]\nself_signed = \"stub.pem\"", fx(stub)));
    let trusting = Some(world.path("stub.pem"));
    let http1 = Call { trusting: trusting.clone(), ..Call::get("/rate") };
    let http2 = Call { http2: true, trusting, ..Call::get("https://fx.internal/rate") };
    let recorded = vec![call("fx", "/rate", "1.1"); 3];
    let said = replay(&world, recorded, stub, vec![http1, http2, Call::get("/rate")]).await;
    said.expect(0, "1 matched");
}

#[tokio::test]
async fn a_tunnel_to_an_upstream_ends_at_a_stub_with_a_certificate() {
    let stub = free_address();
    let world = World::new(&format!(
        "[[upstream]]\nname = \"fx\"\nforward_to = \"https://fx.internal\"\n[egress]\nproxy = \"{stub}\"\n[replay.stub]\nself_signed = \"stub.pem\""
    ));
    world.record(vec![Exchange { upstream: vec![call("fx", "/rate", "1.1")], ..exchange(0) }]);
    let certificate = world.path("stub.pem");
    let candidate = Candidate::start(move |asked| {
        let made = Call { trusting: Some(certificate.clone()), ..Call::get("/rate") };
        async move {
            assert_eq!(made.send_through(stub, &asked).await, (200, "1.1".to_owned()));
            reply(200, booked("Rides", "4000"))
        }
    })
    .await;
    world.replay(&candidate.url(), &[]).await.expect(0, "1 matched");
}
