//! Calls that a candidate makes to its upstreams.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::candidate::Asked;

/// A call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// In the form in which it is sent.
    pub(crate) target: String,
    pub(crate) host: &'static str,
    pub(crate) body: String,
    pub(crate) http2: bool,
    /// The certificate that is trusted, for a call by TLS.
    pub(crate) trusting: Option<PathBuf>,
}

impl Call {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        let (target, body) = (target.into(), String::new());
        Self { method: "GET", target, host: "fx.internal", body, http2: false, trusting: None }
    }

    pub(crate) fn post(target: impl Into<String>, body: impl Into<String>) -> Self {
        Self { method: "POST", body: body.into(), ..Self::get(target) }
    }

    /// Makes the call for a request, whose trace context it carries; returns the status and the body, or how it failed.
    pub(crate) async fn send(
        self,
        to: SocketAddr,
        asked: &Asked,
    ) -> Result<(u16, String), hyper::Error> {
        let mut request = http::Request::builder().method(self.method).uri(&self.target);
        if self.http2 {
            request = request.version(http::Version::HTTP_2);
        } else {
            request = request.header("host", self.host);
        }
        for name in ["traceparent", "tracestate"] {
            request = request.header(name, asked.header(name).unwrap());
        }
        let request = request.body(Full::new(Bytes::from(self.body))).unwrap();
        let stream = TcpStream::connect(to).await.unwrap();
        match &self.trusting {
            Some(certificate) => {
                exchange(tls(stream, certificate, self.http2).await, request).await
            }
            None => exchange(stream, request).await,
        }
    }

    /// Makes the call in a tunnel through a forward proxy.
    pub(crate) async fn send_through(self, proxy: SocketAddr, asked: &Asked) -> (u16, String) {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let (host, name) = (self.host, self.trusting.clone().unwrap());
        stream
            .write_all(
                format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n").as_bytes(),
            )
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
        let mut request = http::Request::get(&self.target).header("host", host);
        for name in ["traceparent", "tracestate"] {
            request = request.header(name, asked.header(name).unwrap());
        }
        let request = request.body(Full::default()).unwrap();
        exchange(tls(stream, &name, false).await, request).await.unwrap()
    }
}

/// Opens TLS to `fx.internal`, trusting the certificate in this file alone.
async fn tls(stream: TcpStream, certificate: &Path, http2: bool) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificate).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = "fx.internal".try_into().unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), http2);
    stream
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: http::Request<Full<Bytes>>,
) -> Result<(u16, String), hyper::Error> {
    let stream = TokioIo::new(stream);
    let answer = if request.version() == http::Version::HTTP_2 {
        let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}
