//! Values of the candidate's answers in what follows.

use std::sync::atomic::{AtomicU32, Ordering};

use shadow_recorder::exchange::{Exchange, Response};

use crate::candidate::{Candidate, reply};
use crate::recording::{booked, exchange, request, response};
use crate::world::World;

const CREATED: &str = "[[ledger]]\nroute = \"POST /trips\"\nno_entries = true\n[replay]\norder = \"key\"\nin_flight = 4\n[[replay.carry]]\nroute = \"POST /trips\"\njson = \"$.id\"\n[[replay.carry]]\ncookies = true";

/// A trip that is created, and booked under its id: production's was the number of the key.
fn trip(n: u32) -> [Exchange; 2] {
    let order_key = Some(format!("trip-{n}"));
    let created: Response = response(201, format!(r#"{{"id":"p{n}"}}"#));
    let create = Exchange {
        order_key: order_key.clone(),
        request: request("POST", "/trips", "{}"),
        response: Some(created),
        ..exchange(2 * n)
    };
    let target = format!("/bookings/p{n}");
    let book =
        Exchange { order_key, request: request("POST", &target, "{}"), ..exchange(2 * n + 1) };
    [create, book]
}

#[tokio::test]
async fn what_the_candidate_created_is_asked_for_by_its_own_id_and_session() {
    let world = World::new(CREATED);
    world.record((0..8).flat_map(trip).collect());
    let next = AtomicU32::new(100);
    let candidate = Candidate::start(move |asked| {
        let reply = if asked.target == "/trips" {
            let id = next.fetch_add(1, Ordering::Relaxed);
            let mut reply = reply(201, format!(r#"{{"id":"c{id}"}}"#));
            reply.headers_mut().insert("set-cookie", format!("sid={id}; Secure").parse().unwrap());
            reply
        } else {
            let id = asked.target.strip_prefix("/bookings/c").unwrap_or("unknown").to_owned();
            let session = asked.header("cookie") == Some(&*format!("sid={id}"));
            if session { reply(200, booked("Rides", "4000")) } else { reply(404, "{}") }
        };
        async move { reply }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "16 exchanges: 16 matched");
    world.configure(&CREATED.replace("\"key\"", "\"none\""));
    world.replay(&candidate.url(), &[]).await.expect(64, "set order = \"key\"");
}
