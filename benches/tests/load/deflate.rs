//! Tests of the echo mode with compressed messages.

use std::io::{self, Write as _};
use std::net::TcpStream;

use tidegate_benches::deflate::{Deflate, Inflate};
use tidegate_benches::echo::{self, Echo};
use tidegate_benches::error::LoadError;
use tidegate_benches::exchange::Pacing;
use tidegate_benches::handshake::Context;
use tidegate_benches::payload::Content;
use tidegate_benches::report;
use tidegate_benches::script::{Protocol, append_frame};

use crate::servers::{WebSocket, run, server, websocket_echo};

const KEPT: &str = "permessage-deflate";
const RESET: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// First byte of a compressed text message.
const COMPRESSED_TEXT: u8 = 0xc1;

/// Changes the reply with this number on a connection.
type Spoil = fn(u64, &mut Vec<u8>);

/// Agrees to `chosen`, inflates each message and compresses it again.
fn compressed_echo(stream: TcpStream, chosen: &str, spoil: Spoil) -> io::Result<()> {
    let extensions = format!("Sec-WebSocket-Extensions: {chosen}\r\n");
    let mut websocket = WebSocket::accept_with(stream, &extensions, usize::MAX)?;
    let (mut inflate, mut deflate) = (Inflate::default(), Deflate::new(1, chosen == RESET));
    for number in 0.. {
        let frame = websocket.read()?;
        if frame[0] != COMPRESSED_TEXT {
            break;
        }
        let header = if frame[1] == 126 { 4 } else { 2 };
        let payload = inflate.message(&frame[header..]).map_err(io::Error::other)?;
        let mut reply = Vec::new();
        append_frame(&mut reply, COMPRESSED_TEXT, None, &deflate.message(payload).map_err(io::Error::other)?);
        spoil(number, &mut reply);
        websocket.stream.write_all(&reply)?;
    }
    Ok(())
}

fn config(context: Context, serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> Echo {
    Echo {
        run: run(server(serve), 6),
        protocol: Protocol::WebSocket,
        path: "/ws".into(),
        pacing: Pacing::Windows { depth: 1 },
        payload_bytes: 1024,
        content: Content::Json,
        deflate: Some(context),
    }
}

/// Runs the load against a server that spoils a reply, and returns the failure.
fn fails(context: Context, spoil: Spoil) -> String {
    let chosen = if context == Context::Reset { RESET } else { KEPT };
    let error = echo::run(&config(context, move |stream| compressed_echo(stream, chosen, spoil)));
    error.expect_err("the fault went unnoticed").to_string()
}

#[test]
fn compressed_messages_come_back_and_their_ratio_is_reported() {
    let mut ratios = Vec::new();
    for (context, chosen) in [(Context::Reset, RESET), (Context::Kept, KEPT)] {
        for pacing in [Pacing::Windows { depth: 1 }, Pacing::Windows { depth: 5 }, Pacing::Sliding { depth: 3 }] {
            let config = config(context, move |stream| compressed_echo(stream, chosen, |_, _| {}));
            let report = echo::run(&Echo { pacing, ..config }).unwrap();
            assert!(report.measured.units > 0 && report.human().contains("compressed to 1/"));
            let json = report.json();
            assert!(json.contains(&format!("\"context\":\"{context}\"")), "{json}");
            ratios.push(report::number(&json, "ratio").unwrap());
        }
    }
    let [reset, .., kept] = ratios[..] else { panic!("no ratios") };
    assert!(reset > 1.5 && kept > reset, "{ratios:?}");
}

#[test]
fn a_server_that_agrees_to_something_else_fails_the_run() {
    for (context, chosen) in [(Context::Reset, KEPT), (Context::Kept, RESET)] {
        let failed = echo::run(&config(context, move |stream| compressed_echo(stream, chosen, |_, _| {})));
        assert!(matches!(failed, Err(LoadError::Handshake { .. })), "{context}");
    }
    let failed = echo::run(&config(Context::Reset, websocket_echo));
    assert!(matches!(failed, Err(LoadError::Handshake { .. })));
}

#[test]
fn a_wrong_message_fails_the_run() {
    for context in [Context::Reset, Context::Kept] {
        let error = fails(context, |number, reply| {
            if number == 40 {
                let mut other = Vec::new();
                let payload = Deflate::new(1, true).message(b"another message").unwrap();
                append_frame(&mut other, COMPRESSED_TEXT, None, &payload);
                *reply = other;
            }
        });
        assert!(error.contains("reply 40: inflates to 15 bytes, and 1024 were sent"), "{error}");
    }
}

#[test]
fn a_reply_that_is_not_compressed_fails_the_run() {
    let error = fails(Context::Reset, |number, reply| reply[0] ^= if number == 3 { 0x40 } else { 0 });
    assert!(error.contains("reply 3: expected an unmasked compressed text message"), "{error}");
}

#[test]
fn a_second_reply_fails_the_run() {
    let error = fails(Context::Reset, |number, reply| {
        if number == 7 {
            reply.extend_from_within(..);
        }
    });
    assert!(error.contains("unexpected bytes after the last expected reply"), "{error}");
}
