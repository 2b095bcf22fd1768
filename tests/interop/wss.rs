//! Our client with `wss` URLs: against our server, and through a proxy.

use std::io::{Read, Write};
use std::net::{Shutdown as Ends, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use tidegate::engine::{Engine, TlsClient, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{Connect, DeflateConfig, connect};

use crate::support::certificates::Certificates;
use crate::support::example::{Example, program};
use crate::support::servers::{Setup, echo, on_every_engine};
use crate::tls::serve;

/// Echoes messages over this connection.
pub fn run(setup: &Setup, connect: Connect) -> Result<(), String> {
    let running = Engine::client(setup.config.clone()).unwrap();
    let ended = block_on(running.spawn(move || async move {
        let (mut ws, _response) = connect.await.map_err(|error| error.to_string())?;
        for len in [0, 5, 20_000, 1 << 20] {
            ws.send(vec![7; len]).await.unwrap();
            assert!(ws.recv().await.unwrap() == Some(vec![7; len].into()), "{len} bytes came back changed");
        }
        ws.close(CloseCode::NORMAL, "").await.unwrap();
        assert!(ws.is_closed_cleanly());
        Ok(())
    }));
    assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    ended.expect("the client panicked")
}

/// Returns a connection to the echo server at this port, as a page of it would make one.
pub fn to(host: &str, port: u16) -> Connect {
    connect(format!("wss://{host}:{port}/ws")).origin(&format!("https://{host}:{port}"))
}

#[test]
fn a_client_trusts_whom_it_is_told_to() {
    let certificates = Certificates::new();
    let tls = TlsClient::ca_file(certificates.path("ca.pem")).unwrap();
    let other = TlsClient::ca_file(Certificates::new().path("ca.pem")).unwrap();
    let anyone = TlsClient::dangerous_trust_anyone().unwrap();
    on_every_engine(|setup| {
        let upgrade = websocket::upgrade(echo).compression(DeflateConfig::default());
        let server = serve(setup, certificates.server(), Router::new().get("/ws", upgrade));
        let port = server.address.port();
        for (host, tls) in [("localhost", &tls), ("127.0.0.1", &tls), ("localhost", &anyone)] {
            for deflate in [None, Some(DeflateConfig::default())] {
                let connect = to(host, port).tls(tls);
                let connect = match deflate {
                    Some(deflate) => connect.compression(deflate),
                    None => connect,
                };
                run(setup, connect).unwrap();
            }
        }
        for untrusted in [to("localhost", port).tls(&other), to("localhost", port)] {
            let error = run(setup, untrusted).unwrap_err();
            assert!(error.starts_with("no TLS with localhost:"), "{error}");
        }
        server.running.shutdown(Shutdown::default());
    });
}

/// A proxy that understands CONNECT, for one connection.
fn proxy() -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let server = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Ends::Write);
        };
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let back = thread::spawn(move || copy(server, client));
        copy(from, to);
        back.join().unwrap();
    });
    (port, thread)
}

#[test]
fn tls_begins_in_the_tunnel_of_a_proxy() {
    let certificates = Certificates::new();
    let tls = TlsClient::ca_file(certificates.path("ca.pem")).unwrap();
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), Router::new().get("/ws", websocket::upgrade(echo)));
        let (port, proxy) = proxy();
        let through = to("localhost", server.address.port()).tls(&tls).proxy(&format!("http://127.0.0.1:{port}"));
        run(setup, through).unwrap();
        proxy.join().unwrap();
        server.running.shutdown(Shutdown::default());
    });
}

#[test]
fn wscat_speaks_tls() {
    let certificates = Certificates::new();
    let [chain, key, authority] = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.path(name));
    let example = Example::start("echo", &["--workers", "1", "--tls-cert", &chain, "--tls-key", &key]);
    let port = example.address.port();
    let (url, origin) = (format!("wss://localhost:{port}/ws"), format!("Origin: https://localhost:{port}"));
    let wscat = |trust: &[&str]| {
        let mut command = Command::new(program("wscat"));
        command.args([&url, "--header", &origin, "--send", "hello"]).args(trust).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(wscat(&["--ca", &authority]), (Some(0), "hello\n".to_owned()));
    assert_eq!(wscat(&["--insecure"]), (Some(0), "hello\n".to_owned()));
    assert_eq!(wscat(&[]), (Some(2), String::new()));
    example.finish();
}
