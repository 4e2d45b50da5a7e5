//! A small service that books money, in a production build and five release candidates; and the upstreams it calls.
//!
//! `POST /bookings` takes one event of a marketplace and answers with its transactions: journal entry lines with a line of
//! business, a GL account, a debit and a credit. It asks `tax` for the tax of every event and `fx` for the rate of events in
//! another currency than USD.

use std::net::SocketAddr;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::http::{Asked, Context, HttpClient, ask, client, serve};

/// What a build does differently from production's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Other key order, more metadata, entries in another order.
    Harmless,
    /// Gift cards of Rides are booked under Eats.
    GiftCardsUnderEats,
    /// The cancellation fee is charged twice.
    FeeTwice,
    /// A discount is asked of a system that production never called.
    AsksLoyalty,
}

impl Change {
    fn of(build: &str) -> Self {
        match build {
            "2.1.0" => Self::Harmless,
            "2.2.0" => Self::GiftCardsUnderEats,
            "2.3.0" => Self::FeeTwice,
            "2.4.0" => Self::AsksLoyalty,
            _ => Self::Nothing,
        }
    }
}

/// Where the upstreams are, from the service's point of view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstreams {
    pub(crate) fx: SocketAddr,
    pub(crate) tax: SocketAddr,
    pub(crate) loyalty: SocketAddr,
}

/// Runs the service until the process ends.
pub(crate) async fn run(
    listen: SocketAddr,
    build: &str,
    upstreams: Upstreams,
) -> anyhow::Result<()> {
    let (change, client) = (Change::of(build), client());
    serve(listen, move |asked| {
        let client = client.clone();
        async move {
            match book(&client, upstreams, change, &asked).await {
                Ok(answer) => (201, answer.to_string()),
                Err(error) => (502, json!({ "error": format!("{error:#}") }).to_string()),
            }
        }
    })
    .await
}

async fn book(
    client: &HttpClient,
    upstreams: Upstreams,
    change: Change,
    asked: &Asked,
) -> anyhow::Result<Value> {
    let text = |key: &str| asked.body[key].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(asked.method == "POST" && asked.target == "/bookings", "unknown route");
    let (context, event, kind, lob, currency) =
        (&asked.context, text("id"), text("kind"), text("line_of_business"), text("currency"));
    let mut amount: Decimal = text("amount").parse()?;
    if change == Change::AsksLoyalty {
        let url = format!("http://{}/discount?event={event}", upstreams.loyalty);
        let discount: Decimal = field(&ask(client, "GET", &url, context, None).await?, "discount")?;
        amount -= discount;
    }
    let tax_of = json!({ "country": text("country"), "amount": amount.to_string() });
    let tax: Decimal = field(
        &ask(client, "POST", &format!("http://{}/tax", upstreams.tax), context, Some(&tax_of))
            .await?,
        "tax",
    )?;
    let rate = if currency == "USD" {
        Decimal::ONE
    } else {
        rate(client, upstreams, context, &currency).await?
    };
    let lines = match &*kind {
        "gift_card" => {
            let lob = if change == Change::GiftCardsUnderEats { "Eats" } else { &lob };
            vec![
                line(lob, "1100 Receivables", amount, Decimal::ZERO),
                line(lob, "2300 Deferred revenue", Decimal::ZERO, amount),
            ]
        }
        "cancellation" => {
            let fee = if change == Change::FeeTwice { amount * Decimal::TWO } else { amount };
            vec![
                line(&lob, "1100 Receivables", fee, Decimal::ZERO),
                line(&lob, "4100 Fees", Decimal::ZERO, fee),
            ]
        }
        _ => {
            let partner = (amount * Decimal::new(75, 2)).round_dp(2);
            vec![
                line(&lob, "1100 Receivables", amount + tax, Decimal::ZERO),
                line(&lob, "2100 Partner payables", Decimal::ZERO, partner),
                line(&lob, "2200 Tax payable", Decimal::ZERO, tax),
                line(&lob, "4000 Revenue", Decimal::ZERO, amount - partner),
            ]
        }
    };
    Ok(answer(change, &event, &currency, rate, lines))
}

async fn rate(
    client: &HttpClient,
    upstreams: Upstreams,
    context: &Context,
    currency: &str,
) -> anyhow::Result<Decimal> {
    let url = format!("http://{}/rates?from={currency}&to=USD", upstreams.fx);
    field(&ask(client, "GET", &url, context, None).await?, "rate")
}

fn field(answer: &Value, key: &str) -> anyhow::Result<Decimal> {
    Ok(answer[key].as_str().unwrap_or_default().parse()?)
}

fn line(lob: &str, account: &str, debit: Decimal, credit: Decimal) -> Value {
    json!({ "line_of_business": lob, "account": account, "debit": debit.to_string(), "credit": credit.to_string() })
}

fn answer(
    change: Change,
    event: &str,
    currency: &str,
    rate: Decimal,
    mut lines: Vec<Value>,
) -> Value {
    if change == Change::Harmless {
        lines.reverse();
        return json!({
            "schema": 2, "trace": { "engine": "new" }, "usd_rate": rate.to_string(),
            "transactions": [{ "entries": lines, "id": format!("{event}-1"), "note": "booked" }],
            "currency": currency, "event": event,
        });
    }
    json!({
        "event": event, "currency": currency, "usd_rate": rate.to_string(),
        "transactions": [{ "id": format!("{event}-1"), "entries": lines }],
    })
}

/// Runs every upstream until the process ends.
pub(crate) async fn run_upstreams(at: Upstreams) -> anyhow::Result<()> {
    let fx = serve(at.fx, async |asked: Asked| {
        let rate = if asked.target.contains("from=EUR") { "1.0825" } else { "0.0412" };
        (200, json!({ "rate": rate }).to_string())
    });
    let tax = serve(at.tax, async |asked: Asked| {
        let amount: Decimal =
            asked.body["amount"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let percent =
            if asked.body["country"] == "US" { Decimal::new(8, 2) } else { Decimal::new(19, 2) };
        (200, json!({ "tax": (amount * percent).round_dp(2).to_string() }).to_string())
    });
    let loyalty = serve(at.loyalty, async |_| (200, json!({ "discount": "0" }).to_string()));
    tokio::try_join!(fx, tax, loyalty).map(|_| ())
}
