//! Runs the load generator against servers that answer rightly, wrongly, or not at all.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use sha1::Digest as _;
use tidegate_benches::config::Config;
use tidegate_benches::error::LoadError;
use tidegate_benches::load;
use tidegate_benches::script::Protocol;

fn config(address: SocketAddr) -> Config {
    Config {
        address,
        protocol: Protocol::Tcp,
        path: "/ws".into(),
        connections: 20,
        depth: 1,
        sliding: false,
        rate: None,
        payload_bytes: 64,
        text: false,
        stall: Duration::from_secs(10),
        warmup: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        server_pid: None,
    }
}

/// One of the limit servers, ended when dropped.
struct Limit {
    child: Child,
    address: SocketAddr,
}

impl Limit {
    fn start(program: &str, more: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = Command::new(program)
            .args(["--addr", &address.to_string()])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self { child, address }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Loads a server in every way there is and expects every byte to come back.
fn serves_every_load(limit: &Limit) {
    let base = Config { server_pid: Some(limit.child.id()), ..config(limit.address) };
    let loads = [
        base.clone(),
        Config { depth: 16, ..base.clone() },
        Config { depth: 16, sliding: true, ..base.clone() },
        Config { rate: Some(5_000.0), ..base.clone() },
        Config { payload_bytes: 0, text: true, ..base.clone() },
        Config { payload_bytes: 300_000, depth: 3, connections: 4, ..base.clone() },
        Config { payload_bytes: 3_000_000, sliding: true, connections: 2, ..base.clone() },
    ];
    for load in loads {
        let report = load::run(&load).unwrap_or_else(|error| panic!("{error} under {load:?}"));
        assert!(report.messages > 0, "{load:?}");
        assert_eq!(report.latency.count(), report.messages);
        assert!(report.client.busy > Duration::ZERO && report.server.is_some());
    }
}

#[test]
fn the_io_uring_limit_returns_every_byte() {
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-uring"), &[]));
}

#[test]
fn the_io_uring_limit_survives_a_shortage_of_buffers() {
    let options = ["--buffers", "8", "--buffer-bytes", "512"];
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-uring"), &options));
}

#[test]
fn the_epoll_limit_returns_every_byte() {
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-epoll"), &[]));
}

#[test]
fn the_limits_answer_what_came_before_a_half_close() {
    for program in [env!("CARGO_BIN_EXE_raw-uring"), env!("CARGO_BIN_EXE_raw-epoll")] {
        let limit = Limit::start(program, &[]);
        for _ in 0..20 {
            let mut stream = TcpStream::connect(limit.address).unwrap();
            stream.write_all(&[7; 10_000]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert_eq!(back, [7; 10_000]);
        }
    }
}

/// Serves each connection with `serve` on a thread of its own, for as long as the test runs.
fn server(serve: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream?));
        }
    });
    address
}

/// Answers the opening handshake and echoes messages of up to 125 bytes.
fn websocket_echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut key = String::new();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("Sec-WebSocket-Key:") {
            key = value.trim().to_owned();
        }
    }
    let digest = sha1::Sha1::digest(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    loop {
        let mut head = [0; 6];
        reader.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        reader.read_exact(&mut payload)?;
        let unmasked = payload.iter().zip(head[2..].iter().cycle()).map(|(byte, key)| byte ^ key);
        let reply: Vec<u8> = [head[0], head[1] & 0x7f].into_iter().chain(unmasked).collect();
        stream.write_all(&reply)?;
    }
}

#[test]
fn websocket_messages_come_back_unmasked() {
    let config = Config { protocol: Protocol::WebSocket, depth: 3, ..config(server(websocket_echo)) };
    for config in [config.clone(), Config { sliding: true, text: true, ..config }] {
        assert!(load::run(&config).unwrap().messages > 0);
    }
}

#[test]
fn a_server_that_does_not_upgrade_fails_the_run() {
    let address = server(|mut stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let config = Config { protocol: Protocol::WebSocket, ..config(address) };
    assert!(matches!(load::run(&config), Err(LoadError::Handshake { index: 0, .. })));
}

#[test]
fn one_wrong_byte_fails_the_run() {
    let address = server(|mut stream| {
        let mut block = [0; 4096];
        for round in 0.. {
            let length = stream.read(&mut block)?;
            block[69] ^= u8::from(round == 5);
            stream.write_all(&block[..length])?;
        }
        Ok(())
    });
    let Err(LoadError::Wrong { error, .. }) = load::run(&config(address)) else { panic!("it went unseen") };
    assert!(error.to_string().starts_with("reply 5, byte 69 of 70"), "{error}");
}

#[test]
fn a_server_that_hangs_up_fails_the_run() {
    let address = server(|mut stream| stream.read_exact(&mut [0; 70]));
    assert!(matches!(load::run(&config(address)), Err(LoadError::Closed { outstanding: 1, .. })));
}

#[test]
fn a_server_that_never_answers_is_a_stall() {
    let address = server(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
    let config = Config { stall: Duration::from_millis(200), depth: 2, ..config(address) };
    let stalled = load::run(&config);
    assert!(matches!(stalled, Err(LoadError::Stalled { connections: 20, messages: 40 })), "{stalled:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_times_from_the_schedule() {
    let limit = Limit::start(env!("CARGO_BIN_EXE_raw-epoll"), &[]);
    let config = Config { rate: Some(100.0), connections: 3, warmup: Duration::ZERO, ..config(limit.address) };
    let config = Config { measured: Duration::from_millis(500), ..config };
    let report = load::run(&config).unwrap();
    // Nothing is sent before it is due, whatever the machine is doing.
    let due = 100.0 * report.wall.as_secs_f64() + 1.0;
    assert!(report.messages > 0 && report.messages as f64 <= due, "{} of {due}", report.messages);
    assert_eq!(report.latency.count(), report.messages);
}
