//! The certificate by which the stub speaks TLS, for a service that calls its upstreams by `https://` even through the recorder.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::stub::Certificate;

/// TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {0}: set [replay.stub] `certificate` and `key` to PEM files")]
    Read(String, #[source] rustls::pki_types::pem::Error),
    /// The file for the candidate cannot be written.
    #[error(
        "cannot write the stub's certificate to {0}: set [replay.stub] `self_signed` to a file in a folder that exists"
    )]
    Write(String, #[source] std::io::Error),
    /// None can be made for these names.
    #[error("cannot make a certificate for the upstreams' hosts")]
    Make(#[from] rcgen::Error),
    /// The two do not belong together, or are of no kind that is known.
    #[error("[replay.stub] `certificate` and `key` cannot be used")]
    Use(#[from] rustls::Error),
}

/// Makes what accepts TLS; `hosts` are the names for which a self-signed certificate is made.
pub(super) fn acceptor(
    configured: &Certificate,
    hosts: Vec<String>,
) -> Result<TlsAcceptor, CertificateError> {
    let (chain, key) = match configured {
        Certificate::Files { certificate, key } => (chain(certificate)?, key_of(key)?),
        Certificate::SelfSigned(path) => self_signed(path, hosts)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type Key = PrivateKeyDer<'static>;

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let failed = |error| CertificateError::Read(path.display().to_string(), error);
    CertificateDer::pem_file_iter(path).map_err(failed)?.map(|one| one.map_err(failed)).collect()
}

fn key_of(path: &Path) -> Result<Key, CertificateError> {
    let failed = |error| CertificateError::Read(path.display().to_string(), error);
    PrivateKeyDer::from_pem_file(path).map_err(failed)
}

/// Makes a certificate and writes it where the candidate is told to trust it; the key is written nowhere.
fn self_signed(
    path: &Path,
    hosts: Vec<String>,
) -> Result<(Vec<CertificateDer<'static>>, Key), CertificateError> {
    let made = rcgen::generate_simple_self_signed(hosts)?;
    std::fs::write(path, made.cert.pem())
        .map_err(|error| CertificateError::Write(path.display().to_string(), error))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
