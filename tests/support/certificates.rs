//! Certificates made for a test, as files for programs and as TLS for servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tidegate::engine::Tls;

/// An authority, and certificates that it has issued, in a folder that is removed at the end.
pub struct Certificates {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes an authority, and a certificate for `localhost` and 127.0.0.1.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidegate-certificates-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for certificates");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let certificates = Self { folder, issuer: Issuer::new(params, key) };
        certificates.write("ca.pem", &authority);
        certificates.issue("server", &["localhost", "127.0.0.1"]);
        certificates
    }

    /// Issues a certificate, in the files `NAME.pem` and `NAME.key`.
    pub fn issue(&self, name: &str, names: &[&str]) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names that a certificate can have");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("a file for a certificate");
    }

    /// Returns the path of a file: `ca.pem`, or one of [`issue`](Self::issue).
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a path that is text").to_owned()
    }

    /// Returns the TLS of the server.
    pub fn server(&self) -> Tls {
        Tls::from_pem_files(self.path("server.pem"), self.path("server.key")).expect("a certificate and its key")
    }

    /// Returns the configuration of a client that trusts the authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS)
    }

    /// As [`client`](Self::client), with these versions alone.
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
