//! `https` and `wss`, used by other projects' clients, on every engine and placement.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate::engine::Tls;
use tidegate::prelude::*;
use tidegate::web::Hsts;
use tidegate::websocket::DeflateConfig;
use tokio_tungstenite::Connector;

use crate::members;
use crate::support::certificates::Certificates;
use crate::support::example::Example;
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};
use crate::support::{peers, tungstenite};

/// Serves `app` with TLS.
pub fn serve(setup: &Setup, tls: Tls, app: Router) -> TestServer {
    let builder = Server::builder(app).bind_tls("127.0.0.1:0", tls).expect("loopback resolves");
    TestServer::run(setup, builder.hsts(Hsts::new(Duration::from_secs(3600))))
}

/// Calls `client` with servers that do not compress, and with servers that forget contexts.
fn against_an_echo_server(certificates: &Certificates, client: impl Fn(&str)) {
    against_echo_servers(certificates, &[None, Some(DeflateConfig::default())], client);
}

/// Calls `client` with servers that keep contexts.
fn against_a_compressing_server(certificates: &Certificates, client: impl Fn(&str)) {
    let keeping = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    against_echo_servers(certificates, &[Some(keeping)], client);
}

fn against_echo_servers(certificates: &Certificates, compression: &[Option<DeflateConfig>], client: impl Fn(&str)) {
    on_every_engine(|setup| {
        for deflate in compression {
            let upgrade = websocket::upgrade(echo);
            let upgrade = match deflate {
                Some(deflate) => upgrade.compression(*deflate),
                None => upgrade,
            };
            let server = serve(setup, certificates.server(), Router::new().get("/ws", upgrade));
            client(&format!("wss://localhost:{}/ws", server.address.port()));
            server.finish();
        }
    });
}

#[test]
fn python_websockets() {
    let certificates = Certificates::new();
    let authority = certificates.path("ca.pem");
    against_an_echo_server(&certificates, |url| peers::run_in("peer.py", &[url], &[("SSL_CERT_FILE", &authority)]));
}

#[test]
fn node_ws() {
    let certificates = Certificates::new();
    let authority = certificates.path("ca.pem");
    let trust = [("NODE_EXTRA_CA_CERTS", authority.as_str())];
    against_an_echo_server(&certificates, |url| peers::run_in("peer.mjs", &[url], &trust));
}

#[test]
fn python_websockets_compressed() {
    let certificates = Certificates::new();
    let authority = certificates.path("ca.pem");
    against_a_compressing_server(&certificates, |url| {
        peers::run_in("peer.py", &[url, "compressed"], &[("SSL_CERT_FILE", &authority)]);
    });
}

#[test]
fn node_ws_compressed() {
    let certificates = Certificates::new();
    let authority = certificates.path("ca.pem");
    let trust = [("NODE_EXTRA_CA_CERTS", authority.as_str())];
    against_a_compressing_server(&certificates, |url| peers::run_in("peer.mjs", &[url, "compressed"], &trust));
}

#[test]
fn tokio_tungstenite() {
    let certificates = Certificates::new();
    against_an_echo_server(&certificates, |url| {
        tungstenite::run_with(url, Connector::Rustls(certificates.client()));
    });
}

/// Runs curl against a server, and returns what it prints.
pub fn curl(certificates: &Certificates, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--cacert", &certificates.path("ca.pem")])
        .args(arguments)
        .output()
        .expect("curl is installed");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).expect("text")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn app() -> Router {
    Router::new()
        .get("/scheme", async |request: Request| format!("{} {}", request.scheme(), request.client_scheme()))
        .get("/large", async |_request: Request| "x".repeat(3_000_000))
        .get("/whoami", async |request: Request| {
            request.tls().map(|tls| tls.peer_names().join(",")).unwrap_or_default()
        })
        .post("/echo", async |mut request: Request| request.bytes().await.map(Response::bytes))
}

#[test]
fn curl_speaks_https() {
    let certificates = Certificates::new();
    let upload = certificates.path("upload");
    std::fs::write(&upload, "y".repeat(2_000_000)).expect("a file");
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), app());
        let at = |path: &str| format!("https://localhost:{}{path}", server.address.port());
        for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
            let get = |arguments: &[&str]| curl(&certificates, &[&version[..], arguments].concat()).unwrap();
            assert_eq!(get(&[&at("/scheme")]), "https https");
            assert_eq!(get(&["--http2", &at("/scheme")]), "https https");
            assert_eq!(get(&[&at("/large")]).len(), 3_000_000);
            assert_eq!(get(&["--data-binary", &format!("@{upload}"), &at("/echo")]).len(), 2_000_000);
            let twice = get(&[&at("/scheme"), &at("/scheme")]);
            assert_eq!(twice, "https httpshttps https");
            let head = get(&["--head", &at("/scheme")]).to_ascii_lowercase();
            assert!(head.contains("strict-transport-security: max-age=3600\r\n"), "{head}");
        }
        let plain = format!("http://localhost:{}/scheme", server.address.port());
        let answer = curl(&certificates, &["--include", &plain]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("This port speaks TLS: use https:// or wss:// to reach it.\n"), "{answer}");
        server.finish();
    });
}

#[test]
fn curl_shows_a_certificate() {
    let certificates = Certificates::new();
    certificates.issue("bob", &["bob.example", "robert.example"]);
    on_every_engine(|setup| {
        let tls = certificates.server().client_ca_file(certificates.path("ca.pem")).unwrap();
        let server = serve(setup, tls, app());
        let url = format!("https://localhost:{}/whoami", server.address.port());
        let own = ["--cert", &certificates.path("bob.pem"), "--key", &certificates.path("bob.key")];
        assert_eq!(curl(&certificates, &[&own[..], &[&url]].concat()).unwrap(), "bob.example,robert.example");
        assert!(curl(&certificates, &[&url]).is_err());
        server.running.shutdown(Shutdown::default());
    });
}

/// A response without TLS has no field that asks for TLS, and plain listeners of the same server go on.
#[test]
fn a_server_has_listeners_of_both_kinds() {
    let certificates = Certificates::new();
    let builder = Server::builder(app()).bind("127.0.0.1:0").unwrap().bind_tls("127.0.0.1:0", certificates.server());
    let running = builder.unwrap().hsts(Hsts::new(Duration::from_secs(60))).start().unwrap();
    let [plain, encrypted] = running.local_addrs() else { panic!("two listeners") };
    let get = |scheme: &str, address: &tidegate::engine::Address| {
        let url = format!("{scheme}://127.0.0.1:{}/scheme", address.ip().unwrap().port());
        curl(&certificates, &["--include", &url]).unwrap().to_ascii_lowercase()
    };
    let answer = get("http", plain);
    assert!(answer.ends_with("\r\n\r\nhttp http") && !answer.contains("strict-transport"), "{answer}");
    let answer = get("https", encrypted);
    assert!(answer.ends_with("\r\n\r\nhttps https") && answer.contains("strict-transport"), "{answer}");
    assert!(running.summary().contains(" tls "), "{}", running.summary());
    running.shutdown(Shutdown::default());
}

/// The commands of `openssl s_client` on its standard input.
struct OpenSsl {
    child: std::process::Child,
    output: BufReader<std::process::ChildStdout>,
    errors: BufReader<std::process::ChildStderr>,
}

impl OpenSsl {
    fn start(certificates: &Certificates, address: std::net::SocketAddr, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-servername", "localhost", "-verify_return_error"])
            .args(["-CAfile", &certificates.path("ca.pem")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, output, errors }
    }

    fn type_in(&mut self, text: &str) {
        self.type_in_bytes(text.as_bytes());
    }

    fn type_in_bytes(&mut self, bytes: &[u8]) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        input.write_all(bytes).expect("openssl reads");
    }

    /// Types a command, and waits until it is carried out: openssl reads one at a time.
    fn command(&mut self, command: &str, answer: &str) {
        self.type_in(command);
        wait_for(&mut self.errors, answer);
    }
}

/// Reads to a line that contains `text`.
fn wait_for(output: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(output.read_line(&mut line).expect("text") > 0, "openssl ends before {text:?}");
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REQUEST: &str = "GET /scheme HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn openssl_changes_its_keys() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), app());
        let mut openssl = OpenSsl::start(&certificates, server.address, &["-tls1_3"]);
        for command in ["", "K\n", "k\n"] {
            if !command.is_empty() {
                openssl.command(command, "KEYUPDATE");
            }
            openssl.type_in(REQUEST);
            wait_for(&mut openssl.output, "HTTP/1.1 200");
        }
        drop(openssl);
        server.running.shutdown(Shutdown::default());
    });
}

/// A frame written by hand: openssl is the client, and this test speaks WebSocket through it.
#[test]
fn openssl_carries_a_websocket() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), Router::new().get("/ws", websocket::upgrade(echo)));
        for version in ["-tls1_2", "-tls1_3"] {
            // Otherwise it takes letters at the start of a line as commands.
            let mut openssl = OpenSsl::start(&certificates, server.address, &[version, "-quiet"]);
            openssl.type_in(
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
            wait_for(&mut openssl.output, "HTTP/1.1 101");
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(openssl.output.read_line(&mut line).expect("text") > 0, "openssl ends in the head");
            }
            // "tide" and close 1000, with a masking key of zeros.
            openssl.type_in_bytes(b"\x81\x84\0\0\0\0tide\x88\x82\0\0\0\0\x03\xe8");
            let mut frames = [0; 10];
            openssl.output.read_exact(&mut frames).expect("frames");
            assert_eq!(&frames, b"\x81\x04tide\x88\x02\x03\xe8");
        }
        server.running.shutdown(Shutdown::default());
    });
}

/// The refusal comes behind the ServerHello, so a scanner that looks no further takes any algorithm for accepted.
#[test]
fn a_client_that_cannot_check_the_signature_is_refused() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), app());
        for version in ["-tls1_2", "-tls1_3"] {
            let mut openssl = OpenSsl::start(&certificates, server.address, &[version, "-sigalgs", "RSA-PSS+SHA256"]);
            let mut errors = String::new();
            openssl.errors.read_to_string(&mut errors).expect("text");
            assert!(errors.contains("handshake failure"), "{errors}");
        }
        server.running.shutdown(Shutdown::default());
    });
}

#[test]
fn renegotiation_is_refused() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), app());
        let mut openssl = OpenSsl::start(&certificates, server.address, &["-tls1_2"]);
        openssl.type_in(REQUEST);
        wait_for(&mut openssl.output, "HTTP/1.1 200");
        openssl.command("R\n", "RENEGOTIATING");
        let mut errors = String::new();
        openssl.errors.read_to_string(&mut errors).expect("text");
        assert!(errors.contains("no renegotiation"), "{errors}");
        drop(openssl);
        server.running.shutdown(Shutdown::default());
    });
}

#[test]
fn one_message_reaches_all_members_of_a_hub() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), Router::new().get("/ws", members()));
        let url = format!("wss://localhost:{}/ws", server.address.port());
        tungstenite::run_hub(&url, Connector::Rustls(certificates.client()), 30);
        server.finish();
    });
}

/// The origin check compares with the scheme of the connection.
#[test]
fn pages_of_the_same_origin_can_connect() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), Router::new().get("/ws", websocket::upgrade(echo)));
        let port = server.address.port();
        let status = |origin: &str| {
            let fields = [
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                &format!("Origin: {origin}"),
            ];
            let mut arguments = vec!["--output", "/dev/null", "--write-out", "%{http_code}", "--no-keepalive"];
            fields.iter().for_each(|field| arguments.extend(["--header", field]));
            let url = format!("https://localhost:{port}/ws");
            arguments.extend(["--max-time", "1", &url]);
            let output = Command::new("curl")
                .args(["--silent", "--http1.1", "--cacert", &certificates.path("ca.pem")])
                .args(arguments)
                .output()
                .expect("curl is installed");
            String::from_utf8(output.stdout).expect("text")
        };
        assert_eq!(status(&format!("https://localhost:{port}")), "101");
        assert_eq!(status(&format!("http://localhost:{port}")), "403");
        server.running.shutdown(Shutdown::default());
    });
}

#[test]
fn the_example_serves_both() {
    let certificates = Certificates::new();
    certificates.issue("bob", &["bob.example"]);
    let [chain, key, authority] = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.path(name));
    for engine in ["uring", "portable"] {
        let tls = ["--engine", engine, "--workers", "1", "--tls-cert", &chain, "--tls-key", &key];
        let example = Example::start("echo", &tls);
        let at = |scheme: &str, path: &str| format!("{scheme}://localhost:{}{path}", example.address.port());
        assert_eq!(curl(&certificates, &[&at("https", "/plaintext")]).unwrap(), "Hello, World!");
        tungstenite::run_with(&at("wss", "/ws"), Connector::Rustls(certificates.client()));
        example.finish();

        let example = Example::start("echo", &[&tls[..], &["--client-ca", &authority]].concat());
        let url = format!("https://localhost:{}/plaintext", example.address.port());
        let own = ["--cert", &certificates.path("bob.pem"), "--key", &certificates.path("bob.key")];
        assert_eq!(curl(&certificates, &[&own[..], &[&url]].concat()).unwrap(), "Hello, World!");
        assert!(curl(&certificates, &[&url]).is_err());
        example.finish();
    }
}
