//! The echo mode: every message is echoed, as plain bytes or as WebSocket messages.

use std::io::Write as _;
use std::net::TcpStream;

use crate::compressed::Compressed;
use crate::config::Run;
use crate::error::LoadError;
use crate::exchange::{Exchange, Outcome, Pacing};
use crate::handshake::Context;
use crate::payload::Content;
use crate::report::{Report, micros};
use crate::script::{self, Messages, Protocol, Script};
use crate::setup::{self, Greeting};

/// Settings of an echo run.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Address, number of connections, durations.
    pub run: Run,
    /// Protocol of the server.
    pub protocol: Protocol,
    /// Request-target of the opening handshake.
    pub path: String,
    /// When messages are sent.
    pub pacing: Pacing,
    /// Payload bytes per message.
    pub payload_bytes: usize,
    /// What the payloads consist of.
    pub content: Content,
    /// Whether the messages are compressed, and what becomes of the compressors' context.
    pub deflate: Option<Context>,
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(echo: &Echo) -> Result<Report, LoadError> {
    match echo.deflate {
        None => plain(echo),
        Some(context) => compressed(echo, context),
    }
}

/// Runs the load without compression.
fn plain(echo: &Echo) -> Result<Report, LoadError> {
    let script = Script::new(&Messages {
        protocol: echo.protocol,
        payload_bytes: echo.payload_bytes,
        content: echo.content,
        window_messages_max: echo.pacing.window_messages_max() as usize,
    })
    .ok_or(LoadError::TooLarge)?;
    let script: &'static Script = Box::leak(Box::new(script));
    let greeting = match echo.protocol {
        Protocol::Tcp => Greeting::None,
        Protocol::WebSocket => Greeting::WebSocket(&echo.path),
    };
    let streams = setup::open(&echo.run, echo.run.connections, greeting)?;
    let exchange = Exchange::new(&echo.run, echo.pacing, script.requests(), script, script.reply_bytes(), streams)?;
    let (outcome, streams) = exchange.run()?;
    if echo.protocol == Protocol::WebSocket {
        say_goodbye(streams);
    }
    Ok(report(echo, outcome))
}

/// Runs the load with compressed messages.
fn compressed(echo: &Echo, context: Context) -> Result<Report, LoadError> {
    let window = echo.pacing.window_messages_max() as usize;
    let (requests, mut replies) =
        Compressed::prepare(echo.payload_bytes, echo.content, window, context).ok_or(LoadError::TooLarge)?;
    let greeting = Greeting::Compressed(&echo.path, context);
    let streams = setup::open(&echo.run, echo.run.connections, greeting)?;
    let exchange = Exchange::new(&echo.run, echo.pacing, requests, &mut replies, echo.payload_bytes, streams)?;
    let (outcome, streams) = exchange.run()?;
    say_goodbye(streams);
    let mut report = report(echo, outcome);
    report.detail("context", format!("\"{context}\""));
    report.detail("ratio", format!("{:.3}", replies.ratio()));
    report.note(format!("context {context}, replies compressed to 1/{:.2}", replies.ratio()));
    Ok(report)
}

/// Sends a close frame on each stream as far as its socket accepts it without blocking. A failure is harmless.
pub fn say_goodbye(streams: impl IntoIterator<Item = TcpStream>) {
    let frame = script::close_frame();
    for mut stream in streams {
        if stream.set_nonblocking(true).is_ok() {
            let _ = stream.write(&frame);
        }
    }
}

fn report(echo: &Echo, outcome: Outcome) -> Report {
    let (depth, sliding, rate) = match echo.pacing {
        Pacing::Windows { depth } => (depth, false, None),
        Pacing::Sliding { depth } => (depth, true, None),
        Pacing::Rate { messages_per_s } => (1, false, Some(messages_per_s)),
    };
    let lag_micros = micros(outcome.lag.quantile(0.99));
    let title = format!("echo {} {} x {} B depth {depth}", echo.protocol, echo.run.connections, echo.payload_bytes);
    let mut report = Report::new("echo", "message", title, echo.run.connections, outcome.measured);
    report.detail("protocol", format!("\"{}\"", echo.protocol));
    report.detail("depth", depth);
    report.detail("sliding", sliding);
    report.detail("size", echo.payload_bytes);
    report.detail("text", echo.content.is_text());
    report.detail("rate", rate.map_or("null".to_owned(), |rate| format!("{rate:.1}")));
    report.detail("messages", report.measured.units);
    report.detail("messages_per_s", format!("{:.0}", report.rate()));
    report.detail("overdue", outcome.overdue);
    report.detail("lag_p99_us", format!("{lag_micros:.1}"));
    if rate.is_some() {
        report.note(format!("sent late p99 {lag_micros:.0} us, {} overdue", outcome.overdue));
    }
    report
}
