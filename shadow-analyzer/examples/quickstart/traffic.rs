//! The events of the example: a day of a marketplace in small, the same at every start.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::http::{Context, ask, client};

/// Events sent.
pub(crate) const EVENTS: u32 = 3_000;
/// Events in flight at once.
const IN_FLIGHT: usize = 16;

/// Returns the `n`-th event.
fn event(n: u32) -> Value {
    // A multiplicative hash spreads amounts and kinds without a random number generator.
    let draw =
        |salt: u32, below: u32| (n.wrapping_add(salt).wrapping_mul(2_654_435_761) >> 7) % below;
    let (currency, country) = match draw(1, 10) {
        0..=6 => ("USD", "US"),
        7 | 8 => ("EUR", "DE"),
        _ => ("CZK", "CZ"),
    };
    let lob = ["Rides", "Rides", "Rides", "Eats", "Eats", "Freight"][draw(2, 6) as usize];
    let cents = 350 + draw(3, 9_000) + if lob == "Freight" { 40_000 } else { 0 };
    let amount = format!("{}.{:02}", cents / 100, cents % 100);
    let event = |kind, lob, currency, country, amount: &str| {
        json!({
            "id": format!("event-{n:05}"), "kind": kind, "line_of_business": lob,
            "currency": currency, "country": country, "amount": amount,
        })
    };
    match n {
        // One gift card of 100 USD, and another in Eats so that both lines of business know the account.
        700 => event("gift_card", "Rides", "USD", "US", "100.00"),
        701 => event("gift_card", "Eats", "USD", "US", "25.00"),
        // Twenty cancellations of 100 USD: charged twice they are 2,000 USD too much.
        _ if n % 150 == 10 => event("cancellation", "Rides", "USD", "US", "100.00"),
        _ => event("sale", lob, currency, country, &amount),
    }
}

/// Sends every event; each must be answered.
pub(crate) async fn send(to: SocketAddr) -> anyhow::Result<()> {
    let client = client();
    let url = format!("http://{to}/bookings");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..EVENTS {
        if tasks.len() >= IN_FLIGHT {
            tasks.join_next().await.context("a task is in flight")???;
        }
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            ask(&client, "POST", &url, &Context::default(), Some(&event(n))).await.map(|_| ())
        });
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    Ok(())
}
