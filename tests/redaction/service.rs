//! A service that handles personal data carelessly, and its upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::canaries::value;
use crate::http::client;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Where the service finds its upstreams, and whether it is the build that asks more of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    pub(crate) fx: SocketAddr,
    pub(crate) tax: SocketAddr,
    pub(crate) asks_more: bool,
}

/// Serves a handler until the task ends.
pub(crate) async fn serve<H, F>(at: SocketAddr, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send,
{
    let (listener, handler) = (TcpListener::bind(at).await.unwrap(), Arc::new(handler));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A content of unknown length with its trailers.
struct Trailed([Option<Frame<Bytes>>; 2]);

impl Body for Trailed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.iter_mut().find_map(Option::take).map(Ok))
    }
}

fn answer(status: u16, headers: &[(&'static str, String)], body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status.try_into().unwrap();
    for (name, value) in headers {
        answer.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    answer
}

fn json_type() -> (&'static str, String) {
    ("content-type", "application/json".into())
}

/// The upstream: it knows whose account it is, and says so.
pub(crate) async fn upstream(request: Request<Incoming>) -> Answer {
    let target = request.uri().to_string();
    let _ = request.into_body().collect().await;
    if target.starts_with("/fails") {
        let error = json!({ "error": format!("no route to {target}") });
        return answer(500, &[json_type()], error.to_string());
    }
    let holder =
        if target.starts_with("/timer") { "ambient answer" } else { "upstream answer's JSON" };
    let headers = [
        json_type(),
        ("set-cookie", format!("s={}", value("upstream answer's cookie"))),
        ("x-holder", value("upstream answer's header").into()),
    ];
    answer(200, &headers, json!({ "rate": "1.10", "holder": value(holder) }).to_string())
}

/// The service: what it is asked goes on upstream, and comes back in its answers.
pub(crate) async fn service(request: Request<Incoming>, build: Build) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path();
    match path {
        _ if path.ends_with("/payments") => payment(&head.headers, path, &body, build).await,
        "/fails" => {
            let target = format!("/fails?phone={}", value("upstream that fails"));
            let (status, text) = ask(build.fx, Method::GET, &target, &head.headers, "").await;
            let error = json!({ "error": format!("{} {status} {text}", value("error answer")) });
            answer(500, &[("content-type", "application/problem+json".into())], error.to_string())
        }
        "/down" => {
            let target = format!("/?phone={}", value("upstream that fails"));
            let (status, _) = ask(build.tax, Method::GET, &target, &head.headers, "").await;
            answer(status, &[], "")
        }
        "/timer" => {
            let target = format!("/timer?owner={}", value("ambient call"));
            let (status, _) = ask(build.fx, Method::GET, &target, &HeaderMap::new(), "").await;
            answer(status, &[], "")
        }
        "/page" => {
            let page = format!("<p>{}</p>", value("page"));
            answer(200, &[("content-type", "text/html".into())], page)
        }
        "/broken" => answer(200, &[json_type()], format!("{{\"name\":\"{}", value("broken JSON"))),
        "/bytes" => {
            let bytes = [b"\xff\xfe", value("bytes").as_bytes()].concat();
            answer(200, &[("content-type", "image/png".into())], bytes)
        }
        // The quotation mark in front of an escape is no part of what is looked for.
        "/lines" => {
            let lines = format!("{{\"n\":1.10}}\n{{\"name\":\"{}\"}}\n", value("JSON lines"));
            answer(200, &[("content-type", "application/x-ndjson".into())], lines)
        }
        _ => answer(204, &[], ""),
    }
}

/// Books what is paid, by a rate that it asks for with all that it knows of the customer.
async fn payment(headers: &HeaderMap, path: &str, body: &[u8], build: Build) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let customer = &asked["customer"];
    let user = headers["x-user"].to_str().unwrap();
    let target = format!(
        "/rates/{}?owner={}&customer={}",
        value("upstream's path"),
        value("upstream's query"),
        // As it was asked: a token in a replay, whose own token it is.
        path.split('/').nth(2).unwrap()
    );
    let ask_for = json!({ "mail": value("upstream's JSON"), "card": customer["card"], "iban": customer["iban"] });
    let mut own = headers.clone();
    own.insert("x-customer", HeaderValue::from_static(value("upstream's header")));
    let bearer = format!("Bearer {}", value("upstream's authorization"));
    own.insert("authorization", bearer.parse().unwrap());
    own.insert("x-api-key", HeaderValue::from_static(value("upstream's api key")));
    let (status, rate) = ask(build.fx, Method::POST, &target, &own, &ask_for.to_string()).await;
    if build.asks_more {
        let target = format!("/more?owner={}", value("candidate's miss"));
        ask(build.fx, Method::GET, &target, headers, "").await;
    }
    if status != 200 {
        return answer(502, &[json_type()], json!({ "error": rate }).to_string());
    }
    let name = if build.asks_more { "candidate's own" } else { "answer's JSON" };
    let amount = &asked["amount"];
    let line = |account, sign| format!(r#"{{"account":"{account}","amount":{sign}{amount}}}"#);
    // Written by hand, so that the amount is the text that was asked.
    let body = format!(
        r#"{{"transactions":[{{"id":"{}","entries":[{},{}]}}],"name":"{}","customer":{customer},"rate":{rate}}}"#,
        asked["id"].as_str().unwrap(),
        line("1100", ""),
        line("4000", "-"),
        value(name),
    );
    let session = |kind| format!("session={}", value(kind));
    let headers = [
        json_type(),
        ("x-person", value("answer's header").into()),
        ("x-user", user.into()),
        ("set-cookie", format!("sid={}", value("answer's cookie"))),
        (
            "location",
            format!(
                "/users/me/payments?{}#{}",
                session("location's query"),
                session("location's fragment")
            ),
        ),
        ("content-location", format!("/payments/1?{}&x=1", session("content-location"))),
        ("link", format!("</next?{}>; rel=\"next\"", session("link"))),
        ("trailer", "x-note, x-trailer-token".into()),
    ];
    let mut trailers = HeaderMap::new();
    trailers.insert("x-note", HeaderValue::from_static(value("answer's trailer")));
    trailers.insert("x-trailer-token", HeaderValue::from_static(value("trailer *-token")));
    let trailed = Trailed([Some(Frame::data(body.into())), Some(Frame::trailers(trailers))]);
    answer(201, &headers, "").map(|_| trailed.boxed())
}

/// Asks an upstream in the trace of the request; returns status and text.
async fn ask(
    at: SocketAddr,
    method: Method,
    target: &str,
    headers: &HeaderMap,
    body: &str,
) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(format!("http://{at}{target}"));
    let passed_on = ["traceparent", "tracestate", "x-customer", "authorization", "x-api-key"];
    for name in passed_on {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let request = request.header("content-type", "application/json");
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let answer = client().request(request).await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&text).into_owned())
}
