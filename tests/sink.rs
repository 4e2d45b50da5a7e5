//! Some services do not answer with their journal entries but post them to another system.

use std::net::SocketAddr;

use serde_json::{Value, json};
use shadow_analyzer::verdict::DimensionName;

use crate::harness::{Range, Scene, now, wait_for};
use crate::http::{Context, ask, client, serve};

const CONFIGURATION: &str = r#"
[service]
name = "poster"
build = "1"
[store]
directory = "store"
[recorder]
listen = "@recorder@"
forward_to = "http://@service@"
spool = "spool"

[[upstream]]
name = "general-ledger"
listen = "@fx@"
forward_to = "http://@fx_origin@"
sink = true

[[ledger]]
route = "POST /orders"
sink = "general-ledger"
transactions = "$.journal[*]"
entries = "$.lines[*]"
line_of_business = { value = "Eats" }
gl_account = "$.account"
currency = { value = "USD" }
amount = "$.amount"

[[ledger]]
route = "GET /health"
no_entries = true

[certify]
reporting_currency = "USD"
min_exchanges = 5
[certify.thresholds.line_of_business]
net = 1000
[certify.thresholds.gl_account]
net = 1000
[certify.thresholds.line_of_business_gl_account]
net = 1000
"#;

/// A service that books each order of 40 into the sink, `surplus` too much.
async fn service(at: SocketAddr, sink: SocketAddr, surplus: i64) -> anyhow::Result<()> {
    serve(at, move |asked| async move {
        if asked.target == "/health" {
            return (200, "ok".into());
        }
        let amount = 40 + surplus;
        let body = json!({ "journal": [{ "lines": [{ "account": "1100", "amount": amount }, { "account": "4000", "amount": -amount }] }] });
        match ask(&client(), "POST", &format!("http://{sink}/journal"), &asked.context, Some(&body)).await {
            Ok(answer) => (202, answer.to_string()),
            Err(error) => (500, format!("{error:#}")),
        }
    })
    .await
}

async fn record(scene: &Scene) -> Range {
    let at = |name: &str| scene.addresses[name];
    let sink = tokio::spawn(serve(at("fx_origin"), async |_| {
        (201, json!({ "posted": true }).to_string())
    }));
    let production = tokio::spawn(service(at("service"), at("fx"), 0));
    let config = scene.recorder();
    let from = now();
    let url = |path: &str| format!("http://{}{path}", at("recorder"));
    for _ in 0..6 {
        let answer: Value =
            ask(&client(), "POST", &url("/orders"), &Context::default(), None).await.unwrap();
        assert_eq!(answer["posted"], true);
    }
    let _ = ask(&client(), "GET", &url("/health"), &Context::default(), None).await;
    config.stop();
    sink.abort();
    production.abort();
    Range { from, to: now() }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_posted_to_a_sink_are_compared_and_a_changed_amount_is_money_not_a_miss() {
    let scene = Scene::new();
    scene.configure(CONFIGURATION);
    let range = record(&scene).await;
    let (candidate, stub) = (scene.addresses["candidate"], scene.addresses["fx"]);

    let same = tokio::spawn(service(candidate, stub, 0));
    wait_for(candidate);
    scene.certify("same", range).expect(0, "CERTIFIED");
    same.abort();
    let _ = same.await;

    let other = tokio::spawn(service(candidate, stub, 2));
    wait_for(candidate);
    scene.certify("other", range).expect(0, "12.00");
    other.abort();
    let verdict = scene.verdict("other");
    assert_eq!(
        (verdict.exchanges.different, verdict.exchanges.matched, verdict.upstream.misses),
        (6, 1, 0)
    );
    let eats = &verdict.dimension(DimensionName::LineOfBusiness).unwrap().cells[0];
    assert_eq!((&*eats.value[0], &*eats.currencies[0].debit.difference), ("Eats", "12.00"));
}
