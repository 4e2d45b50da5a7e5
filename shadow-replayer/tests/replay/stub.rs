use std::net::SocketAddr;

use shadow_recorder::exchange::{Exchange, UpstreamCall};

use crate::candidate::{Candidate, reply};
use crate::recording::{booked, call, exchange};
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
