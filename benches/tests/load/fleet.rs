//! Tests of the fleet: connections as direct descriptors.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_benches::error::LoadError;
use tidegate_benches::fleet::{Exchange, Fleet, Lines, Plan};
use tidegate_benches::handshake::Upgrade;

use crate::servers::{WebSocket, echo, server, websocket_echo};

/// A masked message and its echo. The masking key is zero.
const HELLO: Lines = (b"\x81\x85\0\0\0\0hello", b"\x81\x05hello");

fn plan(address: SocketAddr, connections: usize) -> Plan {
    Plan {
        server: address.into(),
        upgrade: Some(Upgrade::new("localhost", "/ws", 3)),
        connections,
        threads: 2,
        opening_max: 8,
        answer_bytes_max: 0,
        stall: Duration::from_secs(10),
    }
}

fn open(fleet: &mut Fleet, upto: usize) -> Result<(), LoadError> {
    fleet.open(upto, &mut |_| Ok(()))
}

fn exchange(lines: Lines, connections: usize) -> Exchange {
    Exchange { lines: Arc::new(move |_| lines), connections, rounds: 1, time_max: None, window: 8, timed: false }
}

/// Opens one connection to a server and exchanges one message. Returns the failure.
fn fails(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static, stall: Duration) -> LoadError {
    let mut fleet = Fleet::new(Plan { stall, ..plan(server(serve), 1) }).unwrap();
    let done = open(&mut fleet, 1).and_then(|()| fleet.exchange(&exchange(HELLO, 1)));
    done.expect_err("the fault went unnoticed")
}

#[test]
fn each_connection_exchanges_its_own_lines() {
    let mut fleet = Fleet::new(plan(server(websocket_echo), 100)).unwrap();
    open(&mut fleet, 40).unwrap();
    assert_eq!(fleet.open_connections(), 40);
    open(&mut fleet, 100).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let lines = {
        let asked = Arc::clone(&asked);
        move |number: usize| -> Lines {
            asked.fetch_max(number, Ordering::Relaxed);
            if number.is_multiple_of(2) { HELLO } else { (b"\x82\x81\0\0\0\0!", b"\x82\x01!") }
        }
    };
    let both = Exchange { lines: Arc::new(lines), rounds: 3, timed: true, ..exchange(HELLO, 100) };
    assert_eq!(fleet.exchange(&both).unwrap().count(), 300);
    assert_eq!(asked.load(Ordering::Relaxed), 99);
}

#[test]
fn only_the_first_connections_take_part() {
    let mut fleet = Fleet::new(plan(server(websocket_echo), 20)).unwrap();
    open(&mut fleet, 20).unwrap();
    let timed = Exchange { timed: true, ..exchange(HELLO, 7) };
    assert_eq!(fleet.exchange(&timed).unwrap().count(), 7);
}

#[test]
fn when_the_time_is_over_no_round_begins() {
    let mut fleet = Fleet::new(plan(server(websocket_echo), 20)).unwrap();
    open(&mut fleet, 20).unwrap();
    let exchange = |time_max| Exchange { rounds: 5, time_max: Some(time_max), timed: true, ..exchange(HELLO, 20) };
    assert_eq!(fleet.exchange(&exchange(Duration::ZERO)).unwrap().count(), 20);
    assert_eq!(fleet.exchange(&exchange(Duration::MAX)).unwrap().count(), 100);
}

#[test]
fn without_a_handshake_connections_are_only_opened() {
    let mut fleet = Fleet::new(Plan { upgrade: None, ..plan(server(|s| s.peer_addr().map(drop)), 10) }).unwrap();
    open(&mut fleet, 10).unwrap();
}

#[test]
fn a_message_without_a_request_is_received_too() {
    let address = server(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        websocket.read()?;
        websocket.stream.write_all(b"\x82\x04ne")?;
        websocket.stream.write_all(b"ws")?;
        websocket.read().map(drop)
    });
    let mut fleet = Fleet::new(plan(address, 30)).unwrap();
    open(&mut fleet, 30).unwrap();
    fleet.exchange(&exchange((HELLO.0, b""), 30)).unwrap();
    fleet.exchange(&exchange((b"", b"\x82\x04news"), 30)).unwrap();
}

#[test]
fn a_message_larger_than_the_buffers_of_the_kernel_is_sent_in_full() {
    static LARGE: [u8; 64 << 20] = [0; 64 << 20];
    let address = server(|mut stream| {
        let mut received = vec![0; LARGE.len()];
        stream.read_exact(&mut received)?;
        stream.write_all(b"all")?;
        stream.read(&mut received).map(drop)
    });
    let mut fleet = Fleet::new(Plan { upgrade: None, ..plan(address, 2) }).unwrap();
    open(&mut fleet, 2).unwrap();
    fleet.exchange(&exchange((&LARGE, b"all"), 2)).unwrap();
}

#[test]
fn an_answer_that_exceeds_the_plan_is_refused() {
    static ANSWER: [u8; 513] = [0; 513];
    let mut fleet = Fleet::new(plan(server(websocket_echo), 1)).unwrap();
    open(&mut fleet, 1).unwrap();
    let error = fleet.exchange(&exchange((b"", &ANSWER), 1)).unwrap_err();
    assert_eq!(error.to_string(), "an answer exceeds answer_bytes_max");
}

#[test]
fn unix_domain_sockets_are_connected_to() {
    let name = format!("\0tidegate-fleet-{}", std::process::id());
    let name = socket2::SockAddr::unix(name).unwrap();
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&name).unwrap();
    listener.listen(64).unwrap();
    let plan = Plan { server: name, upgrade: None, ..plan(([127, 0, 0, 1], 1).into(), 30) };
    let mut fleet = Fleet::new(plan).unwrap();
    open(&mut fleet, 30).unwrap();
    fleet.exchange(&exchange((HELLO.0, b""), 30)).unwrap();
    for _ in 0..30 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; HELLO.0.len()];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, HELLO.0);
    }
}

#[test]
fn connections_are_closed_with_their_fleet() {
    let (gone, wait) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        let outcome = WebSocket::accept(stream).and_then(|mut websocket| websocket.read());
        assert!(outcome.is_err());
        gone.send(()).map_err(io::Error::other)
    });
    let mut fleet = Fleet::new(plan(address, 25)).unwrap();
    open(&mut fleet, 25).unwrap();
    drop(fleet);
    for _ in 0..25 {
        wait.recv_timeout(Duration::from_secs(30)).expect("the server sees the end of each connection");
    }
}

#[test]
fn ports_that_are_taken_are_passed_over() {
    // The fleets of a process begin with the same ports.
    let address = server(websocket_echo);
    let mut fleets = [(); 3].map(|()| Fleet::new(plan(address, 10)).unwrap());
    for fleet in &mut fleets {
        open(fleet, 10).unwrap();
        fleet.exchange(&exchange(HELLO, 10)).unwrap();
    }
}

#[test]
fn a_handshake_in_pieces_is_put_together() {
    let address = server(|stream| echo(WebSocket::accept_with(stream, "", 1)?));
    let mut fleet = Fleet::new(plan(address, 5)).unwrap();
    open(&mut fleet, 5).unwrap();
    fleet.exchange(&exchange(HELLO, 5)).unwrap();
}

#[test]
fn a_wrong_byte_fails_the_exchange() {
    let wrong = |stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let mut frame = websocket.read()?;
        frame[3] ^= 1;
        websocket.stream.write_all(&frame)
    };
    let error = fails(wrong, Duration::from_secs(10));
    assert!(error.to_string().contains("connection 0: reply 0, byte 3 of 7: expected 65"), "{error}");
}

#[test]
fn a_connection_that_was_closed_fails_the_exchange() {
    let error = fails(|stream| WebSocket::accept(stream)?.read().map(drop), Duration::from_secs(10));
    assert!(matches!(error, LoadError::Closed { index: 0, .. }), "{error}");
}

#[test]
fn no_answer_is_a_stall() {
    let mute = |stream| WebSocket::accept(stream).and_then(|mut socket| io::copy(&mut socket.reader, &mut io::sink()));
    let error = fails(move |stream| mute(stream).map(drop), Duration::from_millis(300));
    assert!(error.is_stall(), "{error}");
}

#[test]
fn a_refused_handshake_fails() {
    let error = fails(|mut stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n"), Duration::from_secs(10));
    assert!(matches!(error, LoadError::Handshake { index: 0, .. }), "{error}");
}

#[test]
fn a_port_without_a_listener_fails() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open(&mut Fleet::new(plan(address, 3)).unwrap(), 3).unwrap_err();
    assert!(matches!(error, LoadError::Connect { .. }), "{error}");
}

#[test]
fn an_error_of_the_report_ends_the_job() {
    // Nothing is accepted beyond the queue of the listener, so the job would last.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut fleet = Fleet::new(plan(listener.local_addr().unwrap(), 3)).unwrap();
    let report = &mut |_| Err(io::Error::other("enough").into());
    assert_eq!(fleet.open(3, report).unwrap_err().to_string(), "enough");
}
