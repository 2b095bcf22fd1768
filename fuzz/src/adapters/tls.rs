//! TLS sessions without I/O.

use std::sync::LazyLock;

use rcgen::{CertificateParams, KeyPair};
pub use tidegate_engine::bench_support::TlsPump;
use tidegate_engine::{Tls, TlsClient};

static SETTINGS: LazyLock<(Tls, TlsClient)> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let tls = Tls::from_pem(certificate.pem(), key.serialize_pem()).expect("a certificate with its key");
    (tls, TlsClient::ca_pem(certificate.pem()).expect("a certificate"))
});

/// Creates the session of a server.
pub fn server() -> TlsPump {
    TlsPump::server(&SETTINGS.0)
}

/// Creates the session of a client of that server.
pub fn client() -> TlsPump {
    TlsPump::client(&SETTINGS.1, "a.example")
}
