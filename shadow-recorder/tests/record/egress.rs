//! The ways of the service's calls: by `Host`, through the forward proxy, through a tunnel, and by TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use shadow_recorder::exchange::Attribution;
use tokio_rustls::TlsAcceptor;

use crate::harness::*;

/// Starts a recorder whose `[egress]` and upstreams are as said, with one request to count by.
async fn start(folder: &Path, more: &str) -> Sidecar {
    let origin = server(async |_| text("ok")).await;
    let listeners = "[egress]\nby_host = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\n";
    Sidecar::start(folder, origin, &[], &format!("{listeners}{more}")).await
}

fn upstream(name: &str, at: SocketAddr, more: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nforward_to = \"http://{at}\"\n{more}\n")
}

/// Serves its name, then the `Host` and the target that it was asked by.
async fn named(name: &'static str) -> SocketAddr {
    server(move |request| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        text(format!("{name} {host} {}", request.uri()))
    })
    .await
}

fn request(target: &str, host: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Returns the upstream names and targets of what was kept.
fn kept(stored: &Stored) -> Vec<(&str, &str)> {
    stored.ambient.iter().map(|call| (&*call.call.name, &*call.call.request.target)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_serves_upstreams_by_host() {
    let folder = tempfile::tempdir().unwrap();
    let (fx, tax) = (named("fx").await, named("tax").await);
    let hosts = "hosts = [\"tax.internal\", \"tax.internal:8080\"]";
    let more = upstream("fx", fx, "hosts = [\"fx.internal\"]") + &upstream("tax", tax, hosts);
    let sidecar = start(folder.path(), &more).await;
    let at = sidecar.egress["[by_host]"];
    let ask = async |target: &str, host: &str| send_raw(at, &request(target, host)).await;
    assert_eq!(body(&ask("/a", "fx.internal").await), format!("fx {fx} /a"));
    assert_eq!(body(&ask("/b", "TAX.internal:80").await), format!("tax {tax} /b"));
    assert_eq!(body(&ask("/c", "tax.internal:8080").await), format!("tax {tax} /c"));
    // One connection of the service may ask for several.
    let both =
        [&b"GET /d HTTP/1.1\r\nHost: fx.internal\r\n\r\n"[..], &request("/e", "tax.internal")];
    let answers = send_raw(at, &both.concat()).await;
    assert!(
        answers.contains(&format!("fx {fx} /d")) && answers.ends_with(&format!("tax {tax} /e")),
        "{answers}"
    );
    for unknown in ["evil.example", "fx.internal:81", "169.254.169.254"] {
        assert_eq!(status(&ask("/", unknown).await), "421");
    }
    assert_eq!(
        status(
            &send_raw(at, b"CONNECT fx.internal:443 HTTP/1.1\r\nHost: fx.internal:443\r\n\r\n")
                .await
        ),
        "501"
    );
    let stored = sidecar.stop().await;
    assert_eq!(
        kept(&stored),
        [("fx", "/a"), ("tax", "/b"), ("tax", "/c"), ("fx", "/d"), ("tax", "/e")]
    );
    assert!(stored.ambient.iter().all(|call| call.attribution == Attribution::Unattributed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_proxy_records_what_it_knows_and_passes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (fx, other) = (named("fx").await, named("other").await);
    let sidecar = start(folder.path(), &upstream("fx", fx, "hosts = [\"fx.internal\"]")).await;
    let at = sidecar.egress["[proxy]"];
    let known = send_raw(at, &request("http://fx.internal/rates?day=1", "fx.internal")).await;
    assert_eq!(body(&known), format!("fx {fx} /rates?day=1"));
    let unknown = send_raw(at, &request(&format!("http://{other}/x"), "ignored")).await;
    assert_eq!(body(&unknown), format!("other {other} /x"));
    // A tunnel carries what was sent right behind the request for it.
    let mut connect = format!("CONNECT {other} HTTP/1.1\r\nHost: {other}\r\n\r\n").into_bytes();
    connect.extend(request("/inside", "secret"));
    let tunnelled = send_raw(at, &connect).await;
    assert!(
        tunnelled.starts_with("HTTP/1.1 200 ") && tunnelled.ends_with("other secret /inside"),
        "{tunnelled}"
    );
    // Through itself it would go in circles.
    for own in [at, sidecar.clients] {
        assert_eq!(status(&send_raw(at, &request(&format!("http://{own}/"), "x")).await), "508");
    }
    let nobody = send_raw(at, b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n").await;
    assert_eq!(status(&nobody), "502");
    sidecar.until("shadow_recorder_unseen_dependencies_total{kind=\"unknown_host\"}", 1).await;
    sidecar.until("shadow_recorder_unseen_dependencies_total{kind=\"connect\"}", 2).await;
    assert_eq!(kept(&sidecar.stop().await), [("fx", "/rates?day=1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_forward_proxy_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let (fx, other) = (named("fx").await, named("other").await);
    let origin = server(async |_| text("ok")).await;
    let egress = "[egress]\nproxy = \"127.0.0.1:0\"\nunknown = \"refuse\"\n";
    let upstream = upstream("fx", fx, "hosts = [\"fx.internal\"]");
    let sidecar = Sidecar::start(folder.path(), origin, &[], &format!("{egress}{upstream}")).await;
    let at = sidecar.egress["[proxy]"];
    assert_eq!(
        body(&send_raw(at, &request("http://fx.internal/", "x")).await),
        format!("fx {fx} /")
    );
    assert_eq!(status(&send_raw(at, &request(&format!("http://{other}/"), "x")).await), "403");
    let connect = format!("CONNECT {other} HTTP/1.1\r\nHost: {other}\r\n\r\n");
    assert_eq!(status(&send_raw(at, connect.as_bytes()).await), "403");
    sidecar.until("shadow_recorder_unseen_dependencies_total{kind=\"refused\"}", 2).await;
    assert_eq!(kept(&sidecar.stop().await), [("fx", "/")]);
}

/// An upstream that speaks TLS under a certificate of its own; returns where, and the certificate.
async fn tls_server(name: &str, protocols: &[&[u8]]) -> (SocketAddr, String) {
    let issued = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let at = server_over(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await }
    })
    .await;
    (at, issued.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_reached_by_tls_and_only_if_they_are_who_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, pem) = tls_server("localhost", &[b"http/1.1"]).await;
    let (stranger, _) = tls_server("localhost", &[]).await;
    let (misnamed, other) = tls_server("elsewhere.internal", &[]).await;
    std::fs::write(folder.path().join("ca.pem"), pem + &other).unwrap();
    let origin = server(async |_| text("ok")).await;
    let upstream = |name: &str, at: SocketAddr| {
        let port = at.port();
        format!(
            "[[upstream]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nforward_to = \"https://localhost:{port}\"\nca_file = \"ca.pem\"\n"
        )
    };
    let more =
        upstream("fx", trusted) + &upstream("stranger", stranger) + &upstream("misnamed", misnamed);
    let sidecar = Sidecar::start(folder.path(), origin, &[], &more).await;
    let ask = async |name: &str| send_raw(sidecar.egress[name], &request("/rates", "fx")).await;
    assert_eq!(body(&ask("fx").await), format!("localhost:{} /rates", trusted.port()));
    assert_eq!(status(&ask("stranger").await), "502");
    assert_eq!(status(&ask("misnamed").await), "502");
    let stored = sidecar.stop().await;
    let answered = |name: &str| {
        stored.ambient.iter().any(|call| call.call.name == name && call.call.response.is_some())
    };
    assert!(answered("fx") && !answered("stranger") && !answered("misnamed"));
}
