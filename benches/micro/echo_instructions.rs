//! Instructions per message of a whole server: `cargo bench -p tidegate-benches --features micro --bench
//! echo_instructions`.
//!
//! The program starts itself under callgrind as the server, one worker with inline handlers, and acts as the client,
//! which is not counted. The difference of two runs with different numbers of messages is the cost of the messages
//! between them, without start and end. The kernel's instructions are not counted. A count above its limit fails the
//! program. Without valgrind or io_uring it prints that it skips and succeeds. The limits are in [`CASES`]; README.md
//! explains them.
//!
//! Some versions of valgrind let no other thread run while one waits in the ring. The client therefore needs only the
//! server's one thread: the listener is made here and inherited, and a request ends the process.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{self, Command, ExitCode, Stdio};
use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{EventHandler, EventSocket, KeepaliveConfig};
use tidegate_benches::{errln, outln};
use tidegate_websocket::protocol::{Frame, MaskingKey};

/// One count and its limit.
struct Case {
    name: &'static str,
    traffic: Traffic,
    /// Messages per segment. Each segment is answered before the next.
    depth: usize,
    /// The most instructions per message, about a tenth above the measured count.
    limit: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    /// Binary messages of 64 bytes to an async handler.
    WebSocket,
    /// The same to an event handler.
    Events,
    /// The same on a connection with a keepalive, which does not ping meanwhile.
    Kept,
    /// `GET /plaintext`.
    Http,
}

const CASES: &[Case] = &[
    Case { name: "echo", traffic: Traffic::WebSocket, depth: 1, limit: 6170 },
    Case { name: "echo, windows of 16", traffic: Traffic::WebSocket, depth: 16, limit: 852 },
    Case { name: "echo, events", traffic: Traffic::Events, depth: 1, limit: 5780 },
    Case { name: "echo, events, windows of 16", traffic: Traffic::Events, depth: 16, limit: 720 },
    Case { name: "echo, events, keepalive", traffic: Traffic::Kept, depth: 1, limit: 5780 },
    Case { name: "plaintext", traffic: Traffic::Http, depth: 1, limit: 7630 },
    Case { name: "plaintext, 16 pipelined", traffic: Traffic::Http, depth: 16, limit: 1470 },
];

/// Segments of the shorter and of the longer run.
const SEGMENTS: [usize; 2] = [500, 2500];
/// Timeout of an answer, too long even under valgrind.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--serve") => serve().map(|()| true),
        // Cargo passes `--bench` when it benches. As a test there is nothing to do.
        _ if arguments.iter().any(|argument| argument == "--bench") => count(),
        _ => Ok(true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            errln!("echo_instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves on the listener that is standard input, until `GET /end`.
fn serve() -> Result<()> {
    let echo = websocket::upgrade(|mut ws: WebSocket| async move {
        let sender = ws.sender();
        while let Some(message) = ws.recv_ref().await? {
            sender.send_ref(&message).await?;
        }
        Ok(())
    });
    let keepalive = KeepaliveConfig::default().interval(Duration::from_secs(3600));
    let app = Router::new()
        .get("/plaintext", sync_handler(|_| Response::text("Hello, World!")))
        .get("/end", sync_handler(|_| -> Response { process::exit(0) }))
        .get("/ws", echo)
        .get("/events", websocket::upgrade_events(EventEcho))
        .get("/kept", websocket::upgrade_events(EventEcho).config(WebSocketConfig::default().keepalive(keepalive)));
    let config = Config::default().engine(EngineKind::Uring).workers(1).placement(HandlerPlacement::Inline);
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    Ok(Server::builder(app).bind_inherited(listener).config(config).run()?)
}

/// Echoes as an event handler.
struct EventEcho;

impl EventHandler for EventEcho {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }
}

/// Counts every case. Returns whether all are within their limits.
fn count() -> Result<bool> {
    if let Err(error) = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status() {
        outln!("echo_instructions: SKIPPED: valgrind: {error}");
        return Ok(true);
    }
    if let Err(error) = io_uring::IoUring::new(1) {
        outln!("echo_instructions: SKIPPED: io_uring: {error}");
        return Ok(true);
    }
    let mut within = true;
    outln!("{:<36} {:>8} {:>8}", "instructions per message", "counted", "limit");
    for case in CASES {
        let [few, many] = [instructions(case, SEGMENTS[0])?, instructions(case, SEGMENTS[1])?];
        let messages = ((SEGMENTS[1] - SEGMENTS[0]) * case.depth) as u64;
        let each = many.saturating_sub(few) / messages;
        let verdict = if each > case.limit { "  ABOVE THE LIMIT" } else { "" };
        outln!("{:<36} {each:>8} {:>8}{verdict}", case.name, case.limit);
        within &= each <= case.limit;
    }
    Ok(within)
}

/// Returns the instructions of a server that answers `segments` segments, from start to end.
fn instructions(case: &Case, segments: usize) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut server = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .arg("--serve")
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let driven =
        connect(address).and_then(|client| drive(client, case, segments)).and_then(|()| end(connect(address)?));
    if driven.is_err() {
        server.kill()?;
    }
    let output = server.wait_with_output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    driven.map_err(|error| format!("{}: {error}; output of the server:\n{log}", case.name))?;
    if !output.status.success() {
        return Err(format!("{}: the server failed:\n{log}", case.name).into());
    }
    let collected = log.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.ok_or_else(|| format!("no instruction count in the output of callgrind:\n{log}"))?;
    Ok(count.trim().parse()?)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(client)
}

/// Ends the server's process and waits for its end.
fn end(mut client: TcpStream) -> Result<()> {
    client.write_all(b"GET /end HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    match client.read(&mut [0]) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => Err(format!("the server did not end: {other:?}").into()),
    }
}

fn drive(mut client: TcpStream, case: &Case, segments: usize) -> Result<()> {
    let (question, answer) = begin(&mut client, case.traffic)?;
    let window = question.repeat(case.depth);
    let mut received = vec![0; answer.len() * case.depth];
    for _ in 0..segments {
        client.write_all(&window)?;
        client.read_exact(&mut received)?;
        if !received.chunks(answer.len()).all(|one| answer.is(one)) {
            return Err("wrong answer".into());
        }
    }
    Ok(())
}

/// Prepares the connection. Returns the request to repeat and its answer.
fn begin(client: &mut TcpStream, traffic: Traffic) -> Result<(Vec<u8>, Answer)> {
    match traffic {
        Traffic::Http => {
            let question = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
            client.write_all(question)?;
            let head = head(client)?;
            let mut content = [0; "Hello, World!".len()];
            client.read_exact(&mut content)?;
            // The date may change, but not its length.
            Ok((question.to_vec(), Answer::Length(head.len() + content.len())))
        }
        Traffic::WebSocket | Traffic::Events | Traffic::Kept => {
            let path = match traffic {
                Traffic::Events => "/events",
                Traffic::Kept => "/kept",
                Traffic::WebSocket | Traffic::Http => "/ws",
            };
            open_websocket(client, path)?;
            let (mut question, mut answer) = (Vec::new(), Vec::new());
            Frame::binary(&[0x5A; 64]).encode(Some(MaskingKey::new([1, 2, 3, 4])), &mut question);
            Frame::binary(&[0x5A; 64]).encode(None, &mut answer);
            Ok((question, Answer::Exactly(answer)))
        }
    }
}

/// The expected answer to each request.
enum Answer {
    Exactly(Vec<u8>),
    /// A 200 response of this many bytes.
    Length(usize),
}

impl Answer {
    fn len(&self) -> usize {
        match self {
            Self::Exactly(bytes) => bytes.len(),
            Self::Length(length) => *length,
        }
    }

    fn is(&self, received: &[u8]) -> bool {
        match self {
            Self::Exactly(bytes) => received == bytes,
            Self::Length(_) => received.starts_with(b"HTTP/1.1 200 ") && received.ends_with(b"\r\n\r\nHello, World!"),
        }
    }
}

fn open_websocket(client: &mut TcpStream, path: &str) -> Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(request.as_bytes())?;
    let head = head(client)?;
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(()) } else { Err("expected status 101".into()) }
}

/// Reads a head up to its empty line.
fn head(client: &mut TcpStream) -> Result<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
