//! Certificates made for the test, and blocking clients.

use std::io::{self, Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tidegate_engine::{Config, Connection, Engine, Running, Tls};

use crate::support::{connect, echo, finish, on_every_engine};

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// A certificate with its key, in PEM.
pub struct Pem {
    pub certificate: String,
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, names: &[&str]) -> Pem {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Pem { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Returns the TLS of a server named `localhost`.
    pub fn server(&self) -> Tls {
        let pem = self.issue(&["localhost"]);
        Tls::from_pem(pem.certificate, pem.key).unwrap()
    }

    /// Returns the configuration of a client that trusts this authority.
    pub fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        self.client_with(version, None)
    }

    pub fn client_with(&self, version: &'static SupportedProtocolVersion, own: Option<&Pem>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

/// A client whose reads and writes time out.
pub type Client = StreamOwned<ClientConnection, TcpStream>;

/// Begins a connection to `localhost`. The first read or write shakes hands.
pub fn client(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    client_of(address, config, "localhost")
}

pub fn client_of(address: SocketAddr, config: &Arc<ClientConfig>, name: &'static str) -> Client {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
    let socket = connect(address);
    socket.set_nodelay(true).unwrap();
    StreamOwned::new(session, socket)
}

/// Shakes hands.
pub fn shake_hands(client: &mut Client) -> io::Result<()> {
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock)?;
    }
    Ok(())
}

/// Starts an engine with TLS on a free loopback port.
pub fn start_tls<H, F>(config: Config, tls: Tls, handler: H) -> (Running, SocketAddr)
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let running = Engine::new(config).bind_tls("127.0.0.1:0", tls).unwrap().start(handler).unwrap();
    let address = running.local_addr().unwrap();
    (running, address)
}

/// Runs `test` with a client of each version that begins to connect to an echo, on every engine and placement. `test`
/// receives everything that comes back. The sides then end in order.
pub fn with_clients_of_an_echo(configure: impl Fn(&mut ClientConfig), test: impl Fn(&mut Client)) {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        for version in VERSIONS {
            let mut config = authority.client(version);
            configure(&mut config);
            let mut client = client(address, &Arc::new(config));
            test(&mut client);
            assert_eq!(close(&mut client).unwrap(), b"");
        }
        finish(running);
    });
}

/// Returns the records of `plain` without sending them, behind what else the session has to send.
pub fn records_of(client: &mut Client, plain: &[u8]) -> Vec<u8> {
    client.conn.writer().write_all(plain).unwrap();
    let mut records = Vec::new();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut records).unwrap();
    }
    records
}

/// Sends `bytes` in steps and checks that they come back.
pub fn check_tls_echo(client: &mut Client, bytes: &[u8]) {
    // No larger than what the buffers on the way hold, because this client does not read while it writes.
    for piece in bytes.chunks(48 * 1024) {
        client.write_all(piece).unwrap();
        client.flush().unwrap();
        let mut back = vec![0; piece.len()];
        client.read_exact(&mut back).unwrap();
        assert!(back == piece, "the echo differs");
    }
}

/// Ends the client's side in order, reads the rest and sends FIN. Returns the rest, or the error if the server's end is
/// not in order. Without the FIN the server lingers for it, as long as the client is in scope.
pub fn close(client: &mut Client) -> io::Result<Vec<u8>> {
    client.conn.send_close_notify();
    client.flush()?;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest)?;
    // An error means that the server has ended the connection already.
    let _ = client.sock.shutdown(Half::Write);
    Ok(rest)
}
