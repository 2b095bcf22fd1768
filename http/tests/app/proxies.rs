//! Behind proxies: whom the fields of proxies and the PROXY protocol name as the client.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tidegate_engine::{HandlerPlacement, Running, Shutdown};
use tidegate_http::proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};
use tidegate_http::{ForwardedFields, Handler, HttpConfig, Request, Router, Server, ServerBuilder};

use crate::support::{Answer, ask, connect, exchange, matrix, on_each, read_to_end};

fn app() -> Router {
    let client = async |request: Request| {
        let address = match request.client_addr() {
            None => "-".to_owned(),
            // Its port differs from connection to connection.
            peer if peer == request.peer_addr() => "peer".to_owned(),
            Some(address) => address.to_string(),
        };
        let header = request.proxy_header();
        let id = header.and_then(|header| header.unique_id()).map(String::from_utf8_lossy).unwrap_or_default();
        format!("{address} {} {} {id}", request.client_scheme(), request.client_host().unwrap_or("-"))
    };
    Router::new().get("/client", client).get("/peer", async |request: Request| {
        request.peer_addr().and_then(|peer| peer.ip()).map_or_else(String::new, |peer| peer.ip().to_string())
    })
}

fn behind(proxies: &[&str]) -> ServerBuilder<Router> {
    Server::builder(app()).trusted_proxies(proxies).expect("networks")
}

fn client(address: SocketAddr, fields: &str) -> String {
    let answer = ask(address, &format!("GET /client HTTP/1.1{fields}"), b"");
    assert_eq!(answer.status, 200);
    answer.content.trim_end().to_owned()
}

#[test]
fn trusted_proxies_name_the_client() {
    on_each(
        || behind(&["127.0.0.0/8", "10.0.0.0/8"]),
        |address| {
            let x_forwarded = "\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1\r\nX-Forwarded-Proto: https\
                               \r\nX-Forwarded-Host: app.example";
            assert_eq!(client(address, x_forwarded), "192.0.2.7:0 https app.example");
            let forwarded = "\r\nForwarded: for=6.6.6.6, for=\"192.0.2.7:9\";proto=https;host=app.example";
            assert_eq!(client(address, forwarded), "192.0.2.7:9 https app.example");
            assert_eq!(client(address, "\r\nX-Forwarded-For: unknown"), "- http a");
            assert_eq!(client(address, ""), "peer http a");
            assert_eq!(ask(address, "GET /peer HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7", b"").content, "127.0.0.1");
        },
    );
}

#[test]
fn strangers_are_not_believed() {
    let fields = "\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: host=evil";
    let check = |address| {
        assert_eq!(client(address, fields), "peer http a");
    };
    on_each(|| Server::builder(app()), check);
    on_each(|| behind(&["10.0.0.0/8", "unix"]), check);
    on_each(
        || behind(&["127.0.0.1"]).forwarded_fields(ForwardedFields::Forwarded),
        |address| {
            assert_eq!(client(address, "\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https"), "peer http a");
        },
    );
}

#[test]
fn wrong_settings_are_refused() {
    let error = Server::builder(app()).trusted_proxies(["localhost"]).expect_err("not a network");
    assert!(error.to_string().contains("invalid trusted_proxies \"localhost\""), "{error}");
    let builder = Server::builder(app()).bind("127.0.0.1:0").expect("resolves").proxy_protocol();
    let error = builder.start().expect_err("nobody is trusted").to_string();
    assert!(error.contains("trusted_proxies"), "{error}");
}

/// Starts a server with a listener that expects the PROXY protocol, and then one that does not, on every engine and
/// placement.
fn on_each_pair<H: Handler>(server: impl Fn() -> ServerBuilder<H>, test: impl Fn(SocketAddr, SocketAddr)) {
    for (kind, placement) in matrix() {
        let server = server().bind("127.0.0.1:0").expect("resolves").proxy_protocol();
        let server = server.bind("127.0.0.1:0").expect("resolves").engine(kind).workers(1).placement(placement);
        let running: Running = server.start().expect("starts");
        let [proxied, direct] = running.local_addrs() else { panic!("two addresses") };
        test(proxied.ip().expect("tcp"), direct.ip().expect("tcp"));
        running.shutdown(Shutdown::immediate());
    }
}

const GET: &[u8] = b"GET /client HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Sends a header and a request whole, byte by byte, and with another request behind them.
fn proxied(address: SocketAddr, header: &[u8]) -> String {
    let all = [header, GET].concat();
    let whole = Answer::parse(&exchange(address, &all)).content;
    let mut stream = connect(address);
    for byte in &all {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(Answer::parse(&read_to_end(&mut stream)).content, whole, "byte by byte");
    let two = [header, b"GET /client HTTP/1.1\r\nHost: a\r\n\r\n", GET].concat();
    let both = exchange(address, &two);
    assert_eq!(both.matches(&whole).count(), 2, "{both}");
    whole
}

#[test]
fn the_proxy_protocol_names_the_client_of_a_connection() {
    let addresses = ProxiedAddress::stream("192.0.2.7:56324".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let v6 = ProxiedAddress::stream("[2001:db8::7]:1".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
    let trusted = ProxiedAddress::stream("127.0.0.9:1".parse().unwrap(), "127.0.0.1:443".parse().unwrap());
    let encode = |header: ProxyHeader<'_>| {
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).expect("valid");
        bytes
    };
    on_each_pair(
        || behind(&["127.0.0.0/8"]),
        |address, direct| {
            assert_eq!(proxied(address, b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), "192.0.2.7:56324 http a ");
            assert_eq!(proxied(address, b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"), "[2001:db8::7]:1 http a ");
            assert!(proxied(address, b"PROXY UNKNOWN\r\n").starts_with("peer "));
            assert_eq!(proxied(address, &encode(ProxyHeader::with_address(v6.clone()))), "[2001:db8::7]:1 http a ");
            let tlvs = [Tlv::UniqueId(b"id-7".into()), Tlv::Ssl(SslInfo::new(true, false, false, 0))];
            let header = encode(ProxyHeader::with_tlvs(Some(addresses.clone()), tlvs));
            assert_eq!(proxied(address, &header), "192.0.2.7:56324 https a id-7");
            assert!(proxied(address, &encode(ProxyHeader::with_local())).starts_with("peer "));
            // A trusted proxy behind a trusted proxy: its fields count.
            let request = b"GET /client HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n";
            let answer =
                exchange(address, &[&encode(ProxyHeader::with_address(trusted.clone())), &request[..]].concat());
            assert!(answer.ends_with("192.0.2.9:0 http a "), "{answer}");

            assert!(exchange(direct, GET).contains("peer "));
            let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
            assert!(exchange(direct, &[header, GET].concat()).starts_with("HTTP/1.1 400"));
        },
    );
}

/// Whether a connection that begins so is reset, or closed, without an answer.
fn is_refused(address: SocketAddr, input: &[u8]) -> bool {
    let mut stream = connect(address);
    // Fails if the server has reset the connection by now.
    let _ = stream.write_all(input);
    let mut output = Vec::new();
    match stream.read_to_end(&mut output) {
        Ok(_) => output.is_empty(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_without_a_header_and_those_of_strangers_are_refused() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    on_each_pair(|| behind(&["10.0.0.0/8"]), |address, _| assert!(is_refused(address, &[header, GET].concat())));
    let short = || behind(&["127.0.0.1"]).http(HttpConfig::default().header_timeout(Duration::from_millis(100)));
    on_each_pair(short, |address, _| {
        let v2 = b"\r\n\r\n\0\r\nQUIT\n";
        for input in [
            GET,
            b"PROXY TCP4 192.0.2.7\r\nGET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n",
            b"PROXY ",
            &[&v2[..], &[0x21, 0x11, 0, 12, 1, 2, 3]].concat(),
            &[&v2[..], &[0x31, 0x11, 0, 0]].concat(),
            &[&v2[..], &[0x21, 0x11, 0, 0]].concat(),
            &[&v2[..], &[0x21, 0x11, 0xFF, 0xFF], &[0; 5000]].concat(),
        ] {
            assert!(is_refused(address, input), "{:?}", String::from_utf8_lossy(input));
        }
        let mut silent: TcpStream = connect(address);
        assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0, "closed after the header timeout");
    });
}

#[test]
fn unix_sockets_can_be_trusted() {
    for (kind, placement) in matrix().filter(|(_, placement)| *placement != HandlerPlacement::Threads(1)) {
        let name = format!("tidegate-proxied-{}-{kind:?}-{placement:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let server = behind(&["unix"]).bind_unix(&path).proxy_protocol();
        let running = server.engine(kind).workers(1).placement(placement).start().expect("starts");
        let mut stream = UnixStream::connect(&path).expect("connects");
        stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n").expect("sent");
        stream.write_all(GET).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("received");
        assert!(answer.ends_with("192.0.2.7:56324 http a "), "{answer}");
        running.shutdown(Shutdown::immediate());
    }
}
