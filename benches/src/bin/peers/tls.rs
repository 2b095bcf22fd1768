//! The TLS of the peers: one certificate, TLS 1.2 and 1.3, tickets, as their defaults are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a certificate and its key, in PEM.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

static FILES: OnceLock<Files> = OnceLock::new();

/// Makes the peers of this process serve with TLS.
pub fn set(files: Files) {
    let _ = FILES.set(files);
}

/// Returns the files if the peers serve with TLS.
pub fn files() -> Option<&'static Files> {
    FILES.get()
}

/// Returns the configuration for peers on rustls, if they serve with TLS.
pub fn rustls() -> Result<Option<ServerConfig>, Box<dyn std::error::Error>> {
    let Some(files) = files() else { return Ok(None) };
    let read = |path: &Path, error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let chain = CertificateDer::from_pem_file(&files.certificate).map_err(|error| read(&files.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| read(&files.key, error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(vec![chain], key)?;
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Some(config))
}
