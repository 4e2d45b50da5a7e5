//! TLS to upstreams, by rustls: whom to trust, and which HTTP is spoken inside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why TLS cannot be set up. Each is a matter of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host's name cannot be in a certificate.
    #[error(
        "`{0}` is no name that a certificate could be for: set `forward_to` to a host's name or address"
    )]
    Name(String),
    /// The file cannot be read.
    #[error("cannot read the certificates in {path}: set `ca_file` to a PEM file")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate to trust.
    #[error(
        "there is no certificate authority to trust: install the system's certificates, or set `ca_file`"
    )]
    NoRoots,
    /// rustls refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// How to reach one upstream by TLS.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the certificates in `ca_file`, or the system's.
    pub(crate) fn new(host: &str, ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.into()))?;
        let roots = match ca_file {
            Some(path) => of_file(path)?,
            None => of_system(),
        };
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self { name, http1: speaking(b"http/1.1"), http2: speaking(b"h2") })
    }

    /// Opens TLS on a connection, for the HTTP that the service speaks.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        is_http2: bool,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = if is_http2 { &self.http2 } else { &self.http1 };
        let stream =
            TlsConnector::from(Arc::clone(config)).connect(self.name.clone(), stream).await?;
        if is_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the upstream does not speak HTTP/2",
            ));
        }
        Ok(stream)
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::File { path: path.into(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(certificate.map_err(failed)?)?;
    }
    Ok(roots)
}

fn of_system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}
