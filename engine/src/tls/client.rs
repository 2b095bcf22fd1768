//! The TLS of outbound connections: whom to trust, and the own certificate.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificates::{Pair, Source};
use super::provider::provider;
use crate::error::Error;

/// The TLS of outbound connections. Needs the feature `tls`.
///
/// Clones share the sessions that connections resume, so one value serves all connections of a program.
#[derive(Clone)]
#[must_use = "it has no effect until it is given to a connection"]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// What `config` was built from; `None` for one that the application built.
    settings: Option<Settings>,
}

#[derive(Clone)]
struct Settings {
    trust: Trust,
    own: Option<Pair>,
    alpn: Vec<Vec<u8>>,
}

#[derive(Clone)]
enum Trust {
    Roots(Arc<RootCertStore>),
    Anyone,
}

impl TlsClient {
    /// Trusts the authorities that the system trusts: the certificates that OpenSSL and most programs use, or those of
    /// the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read once, by this call.
    ///
    /// # Errors
    /// [`Error::Tls`] if there are none.
    pub fn system() -> Result<Self, Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(Error::tls(format!("no certificates of the system: {reason}; name a file with `ca_file`")));
        }
        Self::build(Settings::of(Trust::Roots(Arc::new(roots))))
    }

    /// Trusts the authorities in this PEM file only.
    ///
    /// # Errors
    /// [`Error::Tls`] if it cannot be read or holds no certificate.
    pub fn ca_file(authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::of_roots(&Source::File(authorities.into()))
    }

    /// Trusts the authorities in this PEM text only.
    ///
    /// # Errors
    /// As [`ca_file`](Self::ca_file).
    pub fn ca_pem(authorities: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::of_roots(&Source::Memory(authorities.as_ref().into()))
    }

    /// Trusts anyone: the connection is encrypted, but the server can be an impostor. For tests only.
    ///
    /// # Errors
    /// [`Error::Tls`] if the cryptography is not available.
    pub fn dangerous_trust_anyone() -> Result<Self, Error> {
        Self::build(Settings::of(Trust::Anyone))
    }

    /// Takes a configuration of the rustls crate (0.23) as it is. The calls that would change it fail.
    pub fn from_rustls(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: config.into(), settings: None }
    }

    /// Trusts the authorities in this PEM file too.
    ///
    /// # Errors
    /// As [`ca_file`](Self::ca_file).
    pub fn and_ca_file(self, authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        self.and_roots(&Source::File(authorities.into()))
    }

    /// As [`and_ca_file`](Self::and_ca_file), from memory.
    ///
    /// # Errors
    /// As [`ca_file`](Self::ca_file).
    pub fn and_ca_pem(self, authorities: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.and_roots(&Source::Memory(authorities.as_ref().into()))
    }

    fn and_roots(self, source: &Source) -> Result<Self, Error> {
        let added = source.roots()?;
        self.changed(|settings| {
            if let Trust::Roots(roots) = &mut settings.trust {
                Arc::make_mut(roots).extend(added.roots);
            }
        })
    }

    /// Shows this certificate to servers that ask for one (mutual TLS): the chain and its key, in PEM.
    ///
    /// # Errors
    /// As [`Tls::from_pem_files`](crate::Tls::from_pem_files).
    pub fn certificate_files(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let pair = Pair { certificate: Source::File(certificate.into()), key: Source::File(key.into()) };
        self.changed(|settings| settings.own = Some(pair))
    }

    /// As [`certificate_files`](Self::certificate_files), from memory.
    ///
    /// # Errors
    /// As [`certificate_files`](Self::certificate_files).
    pub fn certificate_pem(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let pair =
            Pair { certificate: Source::Memory(certificate.as_ref().into()), key: Source::Memory(key.as_ref().into()) };
        self.changed(|settings| settings.own = Some(pair))
    }

    /// Sets the protocols to offer by ALPN (RFC 7301). Default: `http/1.1`.
    ///
    /// # Errors
    /// As [`certificate_files`](Self::certificate_files).
    pub fn alpn<P: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        self.changed(|settings| settings.alpn = protocols)
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Returns a configuration for this version alone.
    #[cfg(test)]
    pub(crate) fn config_of_version(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        let Some(Settings { trust: Trust::Roots(roots), .. }) = &self.settings else { return self.config() };
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
        let builder = builder.expect("a version that the provider has").with_root_certificates(Arc::clone(roots));
        Arc::new(builder.with_no_client_auth())
    }

    fn of_roots(source: &Source) -> Result<Self, Error> {
        Self::build(Settings::of(Trust::Roots(Arc::new(source.roots()?))))
    }

    fn changed(self, change: impl FnOnce(&mut Settings)) -> Result<Self, Error> {
        let Some(mut settings) = self.settings else {
            return Err(Error::tls("a configuration of rustls has its certificates and protocols: set them there"));
        };
        change(&mut settings);
        Self::build(settings)
    }

    fn build(settings: Settings) -> Result<Self, Error> {
        let config = Arc::new(settings.configure()?);
        Ok(Self { config, settings: Some(settings) })
    }
}

/// Returns the name that a server must prove, from a host: a DNS name or an address.
///
/// # Errors
/// [`Error::Tls`] if it is neither.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| Error::tls(format!("{host:?} is not a name that a certificate can have")))
}

impl Settings {
    fn of(trust: Trust) -> Self {
        Self { trust, own: None, alpn: vec![b"http/1.1".to_vec()] }
    }

    fn configure(&self) -> Result<ClientConfig, Error> {
        let invalid = |error: rustls::Error| Error::tls(error.to_string());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(invalid)?;
        let builder = match &self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)),
        };
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.parts()?;
                builder.with_client_auth_cert(chain, key).map_err(invalid)?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }
}

/// Accepts every certificate. The handshake's signature is checked.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trusts_anyone = self.settings.as_ref().is_some_and(|settings| matches!(settings.trust, Trust::Anyone));
        f.debug_struct("TlsClient").field("trusts_anyone", &trusts_anyone).finish_non_exhaustive()
    }
}
