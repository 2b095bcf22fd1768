//! Persistent connections of HTTP over TLS, with rustls as the client, on every engine and placement. Reading to the end
//! fails without close_notify.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tidegate::http::HeaderValue;
use tidegate::http::header::STRICT_TRANSPORT_SECURITY;
use tidegate::prelude::*;
use tidegate::web::{BodyError, Hsts, RouteConfig, ServerBuilder};

use crate::support::certificates::Certificates;
use crate::support::servers::{TestServer, on_every_engine};

/// No wait in a test lasts longer than this before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough to be noticed, short enough to repeat.
const SHORT: Duration = Duration::from_millis(100);

fn app() -> Router {
    let patient = RouteConfig::default().keep_alive_timeout(2 * PATIENCE);
    Router::new()
        .get("/number/:number", async |request: Request| request.param("number").unwrap_or_default().to_owned())
        .get("/patient", patient.wrap(async |_request: Request| "take your time"))
        .get("/peer", async |request: Request| request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default())
        .get("/own", async |_request: Request| {
            Response::text("").with_header(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=1"))
        })
        .get("/stream", async |_request: Request| {
            Response::stream(|mut writer| async move {
                for _ in 0..30 {
                    writer.write(vec![b'x'; 10_000]).await;
                }
                Ok(())
            })
        })
        .post("/echo", async |mut request: Request| Ok::<_, BodyError>(Response::bytes(request.bytes().await?)))
}

/// Runs `test` with a client of each version of TLS, against servers that `configure` has changed.
fn on_every_engine_and_version(
    configure: impl Fn(ServerBuilder<Router>) -> ServerBuilder<Router>,
    test: impl Fn(&TestServer, &Arc<ClientConfig>),
) {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let builder = Server::builder(app()).bind_tls("127.0.0.1:0", certificates.server()).expect("loopback resolves");
        let server = TestServer::run(setup, configure(builder));
        for version in [&TLS13, &TLS12] {
            test(&server, &certificates.client_of(&[version]));
        }
        server.finish();
    });
}

/// A connection. Its reads and writes fail instead of waiting forever.
struct Client(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    fn connect(server: &TestServer, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(server.address).expect("connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        socket.set_write_timeout(Some(PATIENCE)).expect("set");
        socket.set_nodelay(true).expect("set");
        let name = "localhost".try_into().expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
        Self(BufReader::new(StreamOwned::new(session, socket)))
    }

    /// Sends bytes, as one record if they fit.
    fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("sent");
        self.0.get_mut().flush().expect("sent");
    }

    /// Sends a request and returns the head and the content of its response.
    fn ask(&mut self, method: &str, target: &str, content: &[u8]) -> (String, String) {
        self.write(&request(method, target, content));
        self.answer()
    }

    fn get(&mut self, target: &str) -> String {
        self.ask("GET", target, b"").1
    }

    /// Reads a response with status 200, and its content, which has a length or chunks.
    fn answer(&mut self) -> (String, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a line") > 0, "ended after {head:?}");
        }
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let content = match length {
            Some(length) => self.read(length.parse().expect("a length")),
            None => self.chunks(),
        };
        (head, content)
    }

    fn read(&mut self, len: usize) -> String {
        let mut content = vec![0; len];
        self.0.read_exact(&mut content).expect("content");
        String::from_utf8(content).expect("text")
    }

    /// Reads chunks to the last one.
    fn chunks(&mut self) -> String {
        let mut content = String::new();
        loop {
            let mut size = String::new();
            self.0.read_line(&mut size).expect("a size");
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
            content.push_str(&self.read(size));
            assert_eq!(self.read(2), "\r\n");
            if size == 0 {
                return content;
            }
        }
    }

    /// Reads to the end, which must be in order.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("an end in order");
        rest
    }

    /// Ends the own side in order. Nothing more must come.
    fn finish(mut self) {
        self.end_own_side();
        assert_eq!(self.rest(), "");
    }

    fn end_own_side(&mut self) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush().expect("sent");
    }
}

fn request(method: &str, target: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

#[test]
fn requests_follow_one_another_on_a_connection() {
    on_every_engine_and_version(
        |builder| builder,
        |server, config| {
            let mut client = Client::connect(server, config);
            let own = client.0.get_ref().sock.local_addr().expect("an address").to_string();
            for number in 0..20_usize {
                assert_eq!(client.get(&format!("/number/{number}")), number.to_string());
                let content = "y".repeat(number * 2500);
                assert!(client.ask("POST", "/echo", content.as_bytes()).1 == content, "the content differs");
                assert_eq!(client.get("/peer"), own);
            }
            assert_eq!(client.get("/stream").len(), 300_000);
            assert_eq!(client.get("/number/20"), "20");
            client.finish();
        },
    );
}

/// Whole, and in records that end anywhere in the heads and in the content.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let requests: Vec<u8> = (0..200_usize)
        .flat_map(|number| match number % 2 {
            0 => request("GET", &format!("/number/{number}"), b""),
            _ => request("POST", "/echo", number.to_string().as_bytes()),
        })
        .collect();
    on_every_engine_and_version(
        |builder| builder,
        |server, config| {
            for record_bytes in [requests.len(), 1000, 13] {
                let mut client = Client::connect(server, config);
                requests.chunks(record_bytes).for_each(|record| client.write(record));
                for number in 0..200 {
                    assert_eq!(client.answer().1, number.to_string());
                }
                client.finish();
            }
        },
    );
}

/// The first client waits for longer than the second, whose time is up. Then the first one's is too.
#[test]
fn an_idle_connection_is_used_again_or_closed_in_order() {
    on_every_engine_and_version(
        |builder| builder.http(HttpConfig::default().keep_alive_timeout(SHORT)),
        |server, config| {
            let [mut patient, mut hasty] = [(); 2].map(|()| Client::connect(server, config));
            assert_eq!(patient.get("/patient"), "take your time");
            assert_eq!(hasty.get("/number/1"), "1");
            assert_eq!(hasty.rest(), "");
            assert_eq!(patient.get("/number/2"), "2");
            assert_eq!(patient.rest(), "");
        },
    );
}

#[test]
fn a_last_request_is_answered_before_the_end() {
    on_every_engine_and_version(
        |builder| builder,
        |server, config| {
            let mut asked = Client::connect(server, config);
            assert_eq!(asked.get("/number/1"), "1");
            asked.write(b"GET /number/2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            assert!(asked.rest().ends_with("\r\n\r\n2"));
            // The client's own side ends right behind its request.
            let mut ended = Client::connect(server, config);
            assert_eq!(ended.get("/number/3"), "3");
            ended.write(&request("GET", "/number/4", b""));
            ended.end_own_side();
            assert!(ended.rest().ends_with("\r\n\r\n4"));
        },
    );
}

#[test]
fn a_shutdown_ends_idle_connections_in_order() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let builder = Server::builder(app()).bind_tls("127.0.0.1:0", certificates.server()).expect("loopback resolves");
        let server = TestServer::run(setup, builder);
        let clients = [(); 3].map(|()| {
            let mut client = Client::connect(&server, &certificates.client());
            assert_eq!(client.get("/patient"), "take your time");
            client
        });
        let ending = std::thread::spawn(|| server.finish());
        clients.into_iter().for_each(|client| assert_eq!(client.rest(), ""));
        ending.join().expect("no connection is reset");
    });
}

#[test]
fn responses_ask_for_tls_in_the_future_unless_the_handler_does() {
    on_every_engine_and_version(
        |builder| builder.hsts(Hsts::new(Duration::from_secs(60)).include_subdomains()),
        |server, config| {
            let mut client = Client::connect(server, config);
            for (target, value) in [("/number/1", "max-age=60; includesubdomains"), ("/own", "max-age=1")] {
                let (head, _) = client.ask("GET", target, b"");
                let fields: Vec<_> =
                    head.lines().filter_map(|line| line.strip_prefix("strict-transport-security: ")).collect();
                assert_eq!(fields, [value], "{head}");
            }
            client.finish();
        },
    );
}
