//! Exchanges as the quickstart's service has them: a booking, its tax, and the rate of another currency; answered by journal entries.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shadow_recorder::digest::sha256;
use shadow_recorder::exchange::{
    Body, End, Exchange, ExchangeId, Request, Response, Sample, UpstreamCall,
};

/// 2026-11-20T07:30:00Z.
const BEGAN: i64 = 1_795_159_800;

/// Makes the `n`-th exchange: the same for the same number, and its ids like random ones.
pub(crate) fn exchange(n: usize) -> Exchange {
    let random = sha256(format!("exchange {n}"));
    let number = |from: usize| u64::from_str_radix(&random[from..from + 4], 16).unwrap_or(0);
    let received_at = Timestamp::from_second(BEGAN).unwrap_or_default();
    let offset =
        i64::try_from(n).unwrap_or(0) * 10_000 + i64::try_from(number(0) % 9_000).unwrap_or(0);
    let received_at = received_at.saturating_add(SignedDuration::from_micros(offset));
    let received_at = received_at.unwrap_or_default();
    let millis = received_at.as_millisecond();
    let id = format!(
        "{:08x}-{:04x}-7{}-8{}-{}",
        millis >> 16,
        millis & 0xffff,
        &random[4..7],
        &random[7..10],
        &random[10..22]
    );
    let trace_id = &random[22..54];
    let booking = Booking::new(n, number(54));
    let currency_is_foreign = booking.currency != "USD";
    let parent = format!("00-{trace_id}-{}-01", &sha256(trace_id)[..16]);
    let tax = json!({ "country": "US", "amount": booking.amount() }).to_string();
    let mut upstream = vec![call(
        "tax",
        "POST",
        "/tax",
        Some(tax),
        json!({ "tax": booking.tax() }).to_string(),
        &parent,
    )];
    if currency_is_foreign {
        let target = "/rates?from=EUR&to=USD";
        upstream.push(call(
            "fx",
            "GET",
            target,
            None,
            json!({ "rate": "1.0825" }).to_string(),
            &parent,
        ));
    }
    Exchange {
        id: ExchangeId(id),
        trace_id: trace_id.into(),
        received_at,
        sequence: n as u64 + 1,
        duration_us: 3_000 + number(58) % 5_000,
        service: "ledger".into(),
        build: "1.0.0".into(),
        order_key: None,
        request: request(
            "POST",
            "/bookings",
            "books.internal:8080",
            &parent,
            Some(booking.event()),
        ),
        response: Some(response(201, booking.entries())),
        end: End::Complete,
        upstream,
        sample: Sample::everything(),
    }
}

/// Amounts are in cents.
struct Booking {
    n: usize,
    cents: u64,
    currency: &'static str,
    lob: &'static str,
}

impl Booking {
    fn new(n: usize, random: u64) -> Self {
        Self {
            n,
            cents: 500 + random % 9_500,
            currency: if n.is_multiple_of(5) { "EUR" } else { "USD" },
            lob: if n.is_multiple_of(3) { "Eats" } else { "Rides" },
        }
    }

    fn amount(&self) -> String {
        money(self.cents)
    }

    fn tax(&self) -> String {
        money(self.cents * 8 / 100)
    }

    fn event(&self) -> String {
        let (n, lob, currency) = (self.n, self.lob, self.currency);
        let event = json!({
            "id": format!("event-{n:05}"), "kind": "sale", "line_of_business": lob,
            "currency": currency, "country": "US", "amount": self.amount(),
        });
        event.to_string()
    }

    fn entries(&self) -> String {
        let tax = self.cents * 8 / 100;
        let partner = self.cents * 3 / 4;
        let line = |account: &str, debit: u64, credit: u64| json!({ "line_of_business": self.lob, "account": account, "debit": money(debit), "credit": money(credit) });
        let entries = [
            line("1100 Receivables", self.cents + tax, 0),
            line("2100 Partner payables", 0, partner),
            line("2200 Tax payable", 0, tax),
            line("4000 Revenue", 0, self.cents - partner),
        ];
        let event = format!("event-{:05}", self.n);
        let answer = json!({
            "event": event, "currency": self.currency, "usd_rate": "1",
            "transactions": [{ "id": format!("{event}-1"), "entries": entries }],
        });
        answer.to_string()
    }
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn call(
    name: &str,
    method: &str,
    target: &str,
    body: Option<String>,
    answer: String,
    parent: &str,
) -> UpstreamCall {
    UpstreamCall {
        name: name.into(),
        offset_us: 400,
        duration_us: 900,
        request: request(method, target, &format!("{name}.internal"), parent, body),
        response: Some(response(200, answer)),
        end: End::Complete,
    }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn request(method: &str, target: &str, host: &str, parent: &str, body: Option<String>) -> Request {
    let mut headers = fields(&[
        ("host", host),
        ("user-agent", "marketplace-client/4.12 (linux; x86_64)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("traceparent", parent),
    ]);
    if let Some(body) = &body {
        headers.extend(fields(&[
            ("content-type", "application/json"),
            ("content-length", &body.len().to_string()),
        ]));
    }
    Request {
        method: method.into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers,
        body: Body::of_text(body.unwrap_or_default()),
        trailers: Vec::new(),
        principal: None,
    }
}

fn response(status: u16, body: String) -> Response {
    let headers = fields(&[
        ("content-type", "application/json"),
        ("content-length", &body.len().to_string()),
        ("date", "Fri, 20 Nov 2026 07:30:00 GMT"),
    ]);
    Response { status, headers, body: Body::of_text(body), trailers: Vec::new() }
}
