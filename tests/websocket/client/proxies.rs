//! Clients behind proxies. The proxies are a few lines of std.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use tidegate::prelude::*;
use tidegate::websocket::{ConnectError, connect};

use super::run;
use crate::support::raw_server::{Peer, RawServer, field};
use crate::support::servers::{TestServer, on_every_engine};

/// Copies bytes both ways until both sides have ended.
fn forward(client: Peer, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (client.stream.try_clone().unwrap(), server.try_clone().unwrap());
    let back = thread::spawn(move || copy(server, client.stream));
    copy(from, to);
    back.join().unwrap();
}

/// An HTTP proxy with a user.
fn http_proxy(mut peer: Peer) {
    let head = peer.read_head();
    // (me:p@ss)
    if field(&head, "Proxy-Authorization") != Some("Basic bWU6cEBzcw==") {
        return peer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\nwho's me?");
    }
    let authority = head.strip_prefix("CONNECT ").and_then(|head| head.split(' ').next()).unwrap().to_owned();
    assert_eq!(field(&head, "Host"), Some(authority.as_str()));
    let Ok(server) = TcpStream::connect(&authority) else {
        return peer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    };
    // A tunnel has no content, whatever the fields say.
    peer.write(b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n");
    forward(peer, server);
}

async fn echo_once(connected: websocket::Connect) {
    let (mut ws, _) = connected.await.unwrap();
    ws.send("through a tunnel").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("through a tunnel".into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
}

#[test]
fn a_client_connects_through_an_http_proxy() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let proxy = RawServer::start(3, http_proxy);
        let (url, proxy_address) = (format!("ws://{}/ws", server.address), proxy.address);
        run(setup, move || async move {
            echo_once(connect(&*url).proxy(&format!("http://me:p%40ss@{proxy_address}"))).await;
            let refused = connect(url).proxy(&format!("http://{proxy_address}")).await.unwrap_err();
            assert!(matches!(refused, ConnectError::ProxyRefused(_)), "{refused}");
            let response = refused.response().unwrap();
            assert_eq!((response.status().as_u16(), &response.content()[..]), (407, &b"who's me?"[..]));
            let unreachable = connect("ws://127.0.0.1:1/").proxy(&format!("http://me:p%40ss@{proxy_address}"));
            let unreachable = unreachable.await.unwrap_err();
            assert_eq!(unreachable.response().unwrap().status().as_u16(), 502);
            assert!(unreachable.is_temporary());
        });
        proxy.finish();
        server.finish();
    });
}

/// A SOCKS5 proxy (RFC 1928), with a user (RFC 1929) if `user` is set.
fn socks_proxy(mut peer: Peer, user: Option<&[u8]>) {
    let [5, count] = read(&mut peer) else { panic!("not SOCKS5") };
    let mut methods = vec![0; count.into()];
    peer.stream.read_exact(&mut methods).unwrap();
    let method = if user.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return peer.write(&[5, 0xFF]);
    }
    peer.write(&[5, method]);
    if let Some(user) = user {
        let mut credentials = vec![0; user.len()];
        peer.stream.read_exact(&mut credentials).unwrap();
        peer.write(&[1, u8::from(credentials != user)]);
        if credentials != user {
            return;
        }
    }
    let [5, 1, 0, kind] = read(&mut peer) else { panic!("not a CONNECT") };
    let host = match kind {
        1 => std::net::Ipv4Addr::from(read::<4>(&mut peer)).to_string(),
        3 => {
            let [len] = read(&mut peer);
            let mut name = vec![0; len.into()];
            peer.stream.read_exact(&mut name).unwrap();
            String::from_utf8(name).unwrap()
        }
        kind => panic!("an address of kind {kind}"),
    };
    let port = u16::from_be_bytes(read(&mut peer));
    match TcpStream::connect((host.as_str(), port)) {
        Ok(server) => {
            peer.stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            forward(peer, server);
        }
        Err(_) => peer.write(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]),
    }
}

fn read<const N: usize>(peer: &mut Peer) -> [u8; N] {
    let mut bytes = [0; N];
    peer.stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_client_connects_through_a_socks_proxy() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let open = RawServer::start(3, |peer| socks_proxy(peer, None));
        let guarded = RawServer::start(3, |peer| socks_proxy(peer, Some(b"\x01\x02me\x04p@ss")));
        let (port, open_address, guarded_address) = (server.address.port(), open.address, guarded.address);
        run(setup, move || async move {
            let by_address = format!("ws://127.0.0.1:{port}/ws");
            let by_name = format!("ws://localhost:{port}/ws");
            echo_once(connect(&*by_address).proxy(&format!("socks5://{open_address}"))).await;
            echo_once(connect(by_name).proxy(&format!("socks5h://{open_address}"))).await;
            echo_once(connect(&*by_address).proxy(&format!("socks5://me:p%40ss@{guarded_address}"))).await;
            for refused in [
                connect("ws://127.0.0.1:1/").proxy(&format!("socks5://{open_address}")),
                connect(&*by_address).proxy(&format!("socks5://me:wrong@{guarded_address}")),
                connect(&*by_address).proxy(&format!("socks5://{guarded_address}")),
            ] {
                let error = refused.await.map(|_| ()).unwrap_err();
                assert!(matches!(error, ConnectError::Socks(_)), "{error}");
            }
        });
        open.finish();
        guarded.finish();
        server.finish();
    });
}
