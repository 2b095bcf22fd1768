//! Holds very many idle WebSockets against a server of its own, checks that each answers, and says what one costs.
//!
//! ```text
//! cargo run --release --example idle -- --connections 100000 [--engine uring|std] [--handlers same-core|inline]
//! ```
//! The server runs here, on as many rings as the open-file limit asks for (each ring's file table is bounded by it); the
//! clients run in child processes, each with one 127.x.y.z address of its own.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use socket2::{Domain, Socket, Type};
use support::{memory, open_files_max};
use tidegate::prelude::*;

/// Clients of one address, and so of one process: connecting gets slow above.
const CLIENTS_PER_PROCESS: usize = 8_000;
const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A masked ping with the payload `tide`, and the pong to it.
const PING: &[u8] = &[0x89, 0x84, 0, 0, 0, 0, b't', b'i', b'd', b'e'];
const PONG: &[u8] = &[0x8a, 0x04, b't', b'i', b'd', b'e'];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, address, number, count] = &arguments[..]
        && mode == "client"
    {
        return client(address.parse()?, number.parse()?, count.parse()?);
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let connections: usize = value("--connections").map_or(Ok(10_000), |text| text.parse())?;
    let mut config = Config::default();
    config.engine = if value("--engine").is_some_and(|e| e == "std") { EngineKind::Std } else { EngineKind::Uring };
    if value("--handlers").is_some_and(|h| h == "inline") {
        config.placement = HandlerPlacement::Inline;
    }
    // The system spreads clients over the rings by hash, so each needs some room above its share.
    let room = open_files_max() as usize * 85 / 100;
    config.workers = connections.div_ceil(room).max(std::thread::available_parallelism()?.get());
    measure(connections, config)
}

fn measure(connections: usize, config: Config) -> Outcome<()> {
    let app = Router::new().get(
        "/ws",
        websocket::upgrade(|mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        }),
    );
    let running = Server::builder(app).bind("127.0.0.1:0")?.config(config).start()?;
    println!("serving on {}", running.summary());
    let address = running.local_addr().ok_or("no address")?;
    let before = memory();

    let mut clients = Vec::new();
    for first in (0..connections).step_by(CLIENTS_PER_PROCESS) {
        let count = CLIENTS_PER_PROCESS.min(connections - first);
        clients.push(Clients::start(address, clients.len(), count)?);
        clients.last_mut().ok_or("no client")?.expect("connected")?;
    }
    let open: u64 = running.stats().iter().map(|stats| stats.connections).sum();
    report("open", open, before);
    for process in &mut clients {
        process.ask("ping")?;
        process.expect("answered")?;
    }
    report("after each answered a ping", open, before);
    for process in &mut clients {
        process.ask("end")?;
    }
    for mut process in clients {
        process.child.wait()?;
    }
    let ended = running.shutdown(Shutdown::default());
    println!("shut down: {} drained, {} reset", ended.drained, ended.forced);
    Ok(())
}

fn report(when: &str, connections: u64, before: support::Memory) {
    let now = memory();
    let user = now.user.saturating_sub(before.user) / connections.max(1);
    let kernel = now.kernel.saturating_sub(before.kernel) / connections.max(1);
    println!("{connections} WebSockets {when}: {user} user bytes each, {kernel} kernel bytes each (both ends)");
}

/// One child process and the pipes to it.
struct Clients {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    fn start(address: SocketAddr, number: usize, count: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["client", &address.to_string(), &number.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, commands, answers })
    }

    fn ask(&mut self, command: &str) -> Outcome<()> {
        Ok(writeln!(self.commands, "{command}")?)
    }

    fn expect(&mut self, answer: &str) -> Outcome<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.trim() == answer { Ok(()) } else { Err(format!("a client said {line:?} instead of {answer:?}").into()) }
    }
}

/// The child: opens its connections and does what it is asked on standard input.
fn client(server: SocketAddr, number: u8, count: usize) -> Outcome<()> {
    let source = SocketAddr::from((Ipv4Addr::new(127, 1, number, 1), 0));
    let mut streams = (0..count).map(|_| open(server, source)).collect::<Outcome<Vec<_>>>()?;
    println!("connected");
    for command in std::io::stdin().lines() {
        if command? != "ping" {
            break;
        }
        for stream in &mut streams {
            stream.write_all(PING)?;
        }
        for stream in &mut streams {
            let mut pong = [0; PONG.len()];
            stream.read_exact(&mut pong)?;
            if pong != PONG {
                return Err("something else than the pong came".into());
            }
        }
        println!("answered");
    }
    Ok(())
}

fn open(server: SocketAddr, source: SocketAddr) -> Outcome<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect(&server.into())?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(HANDSHAKE)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(stream) } else { Err("the handshake was refused".into()) }
}
