//! What the handshake of a connection agreed on.

use std::fmt;
use std::sync::Arc;

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// What the TLS handshake of a connection agreed on: [`Connection::tls`](crate::Connection::tls).
///
/// Clones share one copy.
///
/// ```no_run
/// # use tidegate_engine::Connection;
/// async fn greet(mut connection: Connection) {
///     let Some(tls) = connection.tls() else { return };
///     let who = if tls.peer_certificate().is_some() { "with" } else { "without" };
///     let text = format!("{} {} a client certificate\n", tls.version(), who);
///     let _ = connection.sender().send(text).await;
/// }
/// ```
#[derive(Clone)]
pub struct TlsInfo(Arc<Info>);

struct Info {
    version: TlsVersion,
    cipher_suite: &'static str,
    alpn: Option<Box<[u8]>>,
    server_name: Option<Box<str>>,
    resumed: bool,
    certificates: Box<[Box<[u8]>]>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

impl TlsInfo {
    pub(crate) fn of(session: &CommonState, server_name: Option<Box<str>>) -> Self {
        let certificates = session.peer_certificates().unwrap_or_default();
        Self(Arc::new(Info {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
                _ => TlsVersion::V1_3,
            },
            cipher_suite: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            alpn: session.alpn_protocol().map(Box::from),
            server_name,
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: certificates.iter().map(|certificate| Box::from(certificate.as_ref())).collect(),
        }))
    }

    /// Returns the version of TLS.
    pub fn version(&self) -> TlsVersion {
        self.0.version
    }

    /// Returns the IANA name of the cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher_suite(&self) -> &'static str {
        self.0.cipher_suite
    }

    /// Returns the protocol that ALPN (RFC 7301) agreed on, such as `http/1.1`; `None` if the client did not ask.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn.as_deref()
    }

    /// Returns the name of the server that the client asked for (SNI, RFC 6066 section 3), in lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// Returns whether the handshake resumed an earlier session, without certificates.
    pub fn is_resumed(&self) -> bool {
        self.0.resumed
    }

    /// Returns the peer's own certificate, verified, in DER (X.509, RFC 5280). On a server it is there only with mutual
    /// TLS. A resumed session has that of its first handshake.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer_certificates().next()
    }

    /// Returns the chain of certificates that the peer sent, its own first, in DER.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.certificates.iter().map(|certificate| &**certificate)
    }

    /// Returns the DNS names in the peer's own certificate (subjectAltName), in the order of the certificate.
    pub fn peer_names(&self) -> Vec<String> {
        self.peer_certificate().map(super::certificates::names).unwrap_or_default()
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("version", &self.0.version)
            .field("cipher_suite", &self.0.cipher_suite)
            .field("server_name", &self.0.server_name)
            .field("resumed", &self.0.resumed)
            .field("peer_certificates", &self.0.certificates.len())
            .finish_non_exhaustive()
    }
}
