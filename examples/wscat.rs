//! A WebSocket client for the command line. It sends the texts of `--send`, or else the lines of standard input, and
//! prints each message on a line. It ends with the close code on standard error, and with a status other than 0 unless
//! that was 1000 or 1001.
//!
//! ```text
//! cargo run --release --example echo -- --addr 127.0.0.1:9001 &
//! cargo run --release --example wscat -- ws://127.0.0.1:9001/ws --send hello --send world
//! ```
//! With `--send` it ends after as many messages as it has sent, or after `--count`; otherwise at the end of standard
//! input, once the server has answered the close frame. `--echo` sends every message back until the server closes.

mod support {
    pub mod options;
    pub mod trust;
}

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use support::options::Options;
use support::trust;
use tidegate::engine::{Engine, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{Connect, DeflateConfig, KeepaliveConfig, Sender, connect};

const NONE: &str = "none";

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let own = [
        ("URL", "", "the server, such as ws://127.0.0.1:9001/ws"),
        ("--header 'NAME: VALUE'", NONE, "header of the request; can be repeated"),
        ("--subprotocol NAME", NONE, "subprotocol to offer; can be repeated"),
        ("--proxy URL", NONE, "http://[user:password@]host:port or socks5://..."),
        ("--compress", "", "offer compression, with context in both directions"),
        ("--ping SECONDS", "10", "time between pings; 0 is none"),
        ("--send TEXT", NONE, "message to send, in place of standard input; can be repeated"),
        ("--count N", NONE, "messages after which it closes"),
        ("--echo", "", "send every message back, in place of standard input"),
        ("--binary", "", "send binary messages"),
        ("--engine auto|uring|portable", "auto", "auto takes io_uring if it is available, else portable"),
    ];
    let about = "Opens a WebSocket, sends texts or the lines of standard input, and prints each message on a line.";
    let options = Options::parse(about, &[&own[..], &trust::ROWS].concat());
    match run(&options) {
        Ok(code) => {
            eprintln!("closed with {code}");
            ExitCode::from(u8::from(!matches!(code, CloseCode::NORMAL | CloseCode::GOING_AWAY)))
        }
        Err(error) => {
            eprintln!("wscat: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns the close code of the server, 1006 if the connection was lost.
fn run(options: &Options) -> Result<CloseCode, Box<dyn Error>> {
    let config = Config::default().engine(options.value("--engine")).workers(1).pin(false);
    let running = Engine::client(config)?;
    let connect = request(options)?.on_engine(&running.handle());
    let code = block_on(converse(connect, options));
    running.shutdown(Shutdown::default());
    code
}

fn request(options: &Options) -> Result<Connect, Box<dyn Error>> {
    let mut request =
        connect(options.value::<String>("URL")).subprotocols(options.all("--subprotocol").iter().cloned());
    for header in options.all("--header") {
        let (name, value) = header.split_once(':').ok_or("invalid --header: must be 'NAME: VALUE'")?;
        request = request.header(name.trim(), value.trim());
    }
    if let Some(proxy) = options.given("--proxy") {
        request = request.proxy(proxy);
    }
    if options.given("--compress").is_some() {
        let deflate = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
        request = request.compression(deflate);
    }
    let request = trust::apply(request, options)?;
    let seconds = options.value::<u64>("--ping");
    let keepalive = KeepaliveConfig::default().interval(Duration::from_secs(seconds));
    Ok(request.keepalive((seconds > 0).then_some(keepalive)))
}

/// Sends, and prints what comes back.
async fn converse(connect: Connect, options: &Options) -> Result<CloseCode, Box<dyn Error>> {
    let (mut ws, _response) = connect.await?;
    let (is_binary, is_echo) = (options.given("--binary").is_some(), options.given("--echo").is_some());
    let texts = options.all("--send");
    if texts.is_empty() && !is_echo {
        let sender = ws.sender();
        thread::spawn(move || send_lines(&sender, is_binary));
    }
    for text in texts {
        ws.send(message(text, is_binary)).await?;
    }
    let count_max = match options.given("--count") {
        Some(_) => options.value("--count"),
        None if texts.is_empty() => usize::MAX,
        None => texts.len(),
    };
    let mut count = 0;
    while count < count_max {
        match ws.recv().await {
            Ok(Some(received)) if is_echo => ws.send(received).await?,
            Ok(Some(received)) => print(&received)?,
            Ok(None) => return Ok(code_of(&ws)),
            Err(error) => return Ok(lost(&error)),
        }
        count += 1;
    }
    match ws.close(CloseCode::NORMAL, "").await {
        Ok(()) => Ok(code_of(&ws)),
        Err(error) => Ok(lost(&error)),
    }
}

fn lost(error: &websocket::Error) -> CloseCode {
    eprintln!("wscat: {error}");
    CloseCode::ABNORMAL
}

fn code_of(ws: &WebSocket) -> CloseCode {
    ws.close_frame().map_or(CloseCode::NO_STATUS, |frame| {
        if !frame.reason().is_empty() {
            eprintln!("{}", frame.reason());
        }
        frame.code()
    })
}

/// Sends the lines of standard input, then a close frame.
fn send_lines(sender: &Sender, is_binary: bool) {
    for line in io::stdin().lines().map_while(Result::ok) {
        if block_on(sender.send(message(&line, is_binary))).is_err() {
            return;
        }
    }
    // Fails if the server closed first.
    let _ = sender.close(CloseCode::NORMAL, "");
}

fn message(text: &str, is_binary: bool) -> Message {
    if is_binary { Message::from(text.as_bytes()) } else { Message::from(text) }
}

/// Prints a text, or the bytes of a binary message with escapes.
fn print(message: &Message) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match message.as_text() {
        Some(text) => writeln!(out, "{text}"),
        None => writeln!(out, "{}", message.as_bytes().escape_ascii()),
    }
}
