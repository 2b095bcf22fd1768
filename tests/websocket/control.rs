//! Control frames that the application handles and sends itself, reserved opcodes and reserved bits.

use std::time::{Duration, Instant};

use tidegate::prelude::*;
use tidegate::websocket::{self, Error, MessageKind, Opcode, ReservedBits, UsageError};

use crate::events::on_every_engine_and_style;
use crate::handler::reports;
use crate::support::client::{BINARY, CLOSE, CONTINUATION, Client, FIN, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{TestServer, echo, on_every_engine};

const RESERVED_CONTROL: u8 = 0x8B;
const RSV2: u8 = 0x20;

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// For all connections of an upgrade, and for one connection alone.
#[test]
fn applications_see_control_frames() {
    on_every_engine(|setup| {
        for of_one in [false, true] {
            let (report, reports) = reports();
            let (pinged, ponged) = (report.clone(), report.clone());
            let mut upgrade = websocket::upgrade(move |mut ws: WebSocket| {
                if of_one {
                    let pinged = pinged.clone();
                    ws.on_ping(|sender, payload| sender.pong(&[b"seen ", payload].concat()));
                    ws.on_pong(move |_, payload| pinged.send(payload.to_vec()).map_err(Error::application));
                    ws.on_close(|sender, frame| {
                        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code());
                        sender.close(CloseCode::new(4000), &format!("you said {}", code.value()))
                    });
                }
                echo(ws)
            });
            if !of_one {
                upgrade = upgrade
                    .on_ping(|sender, payload| sender.pong(&[b"seen ", payload].concat()))
                    .on_pong(move |_, payload| ponged.send(payload.to_vec()).map_err(Error::application))
                    .on_close(|sender, frame| {
                        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code());
                        sender.close(CloseCode::new(4000), &format!("you said {}", code.value()))
                    });
            }
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
            let mut client = Client::open(server.address);
            client.send(PING, b"this");
            client.expect(PONG, b"seen this");
            client.send(TEXT - FIN, b"be");
            client.send(PONG, b"inside");
            client.send(CONTINUATION, b"tween");
            assert_eq!(reports.next(), b"inside");
            client.expect(TEXT, b"between");
            client.write(&close_frame(4321, ""));
            assert_eq!(client.expect_close(4000), "you said 4321");
            client.expect_end();
            server.finish();
        }
    });
}

/// The read returns the error of a control handler; the frame is handled and the connection stays usable. A close frame
/// is echoed even if its handler fails.
#[test]
fn reads_return_the_errors_of_control_handlers() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            ws.on_ping(|_, payload| Err(Error::application(payload.escape_ascii().to_string())));
            ws.on_close(|_, _| Err(Error::application("closed")));
            let mut errors = Vec::new();
            loop {
                match ws.recv().await {
                    Ok(Some(message)) => ws.send(message).await?,
                    Ok(None) => break,
                    Err(Error::Application(error)) => errors.push(error.to_string()),
                    Err(error) => return Err(error.into()),
                }
            }
            report.send((errors, ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.write(&[frame(PING, b"first"), frame(TEXT, b"message"), frame(PING, b"second")].concat());
        client.expect(TEXT, b"message");
        client.write(&close_frame(1000, "bye"));
        assert_eq!(client.expect_close(1000), "bye");
        client.expect_end();
        assert_eq!(reports.next(), (["first", "second", "closed"].map(String::from).to_vec(), true));
        server.finish();
    });
}

/// An error of a control handler while our close frame waits for its answer does not cut the handshake short.
#[test]
fn the_closing_handshake_goes_on_after_errors_of_control_handlers() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let closing = report.clone();
        let upgrade = websocket::upgrade(async move |mut ws: WebSocket| {
            if ws.recv().await?.is_some_and(|message| message.as_text() == Some("close")) {
                let closed = ws.close(CloseCode::NORMAL, "").await;
                closing.send(if matches!(closed, Err(Error::Application(_))) && ws.is_closed_cleanly() {
                    1
                } else {
                    0
                })?;
            }
            Ok(())
        });
        let upgrade = upgrade
            .on_pong(|_, _| Err(Error::application("as the test asked for")))
            .on_disconnect(move |ended| report.send(ended.close_code().value()).unwrap());
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        for message in ["return", "close"] {
            let mut client = Client::open(server.address);
            client.send(TEXT, message.as_bytes());
            client.expect_close(1000);
            client.write(&[frame(PONG, b"one"), frame(PONG, b"two"), close_frame(4321, "")].concat());
            client.expect_end();
            if message == "close" {
                assert_eq!(reports.next(), 1, "the error is returned after the handshake");
            }
            assert_eq!(reports.next(), 4321);
        }
        server.finish();
    });
}

#[test]
fn control_frames_with_a_deadline() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let past = Instant::now();
            ws.send_control(Opcode::Ping, b"even after it", past).await?;
            ws.send_control(Opcode::Pong, b"", later()).await?;
            ws.send_control(Opcode::ControlB, b"extended", later()).await?;
            for (opcode, payload) in [
                (Opcode::Text, &b""[..]),
                (Opcode::Ping, &[0; 126]),
                (Opcode::Close, b"\x03"),
                (Opcode::Close, b"\x03\xED"),
                (Opcode::Close, b"\x03\xE8\xFF"),
            ] {
                let Err(Error::Usage(error)) = ws.send_control(opcode, payload, later()).await else {
                    panic!("{opcode} of {payload:?} was sent");
                };
                report.send(error).unwrap();
            }
            assert_eq!(ws.recv().await?, Some(Message::from("go on")), "the connection is still open");
            ws.send_control(Opcode::Close, b"\x0F\xA0bye", past).await?;
            let late = ws.send_control(Opcode::Ping, b"", later()).await;
            assert!(late.is_err_and(|error| error.is_close_sent()));
            assert!(ws.recv().await?.is_none());
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect(PING, b"even after it");
        client.expect(PONG, b"");
        client.expect(RESERVED_CONTROL, b"extended");
        let opcode = Opcode::Text;
        assert_eq!(reports.next(), UsageError::NotControl { opcode });
        assert_eq!(reports.next(), UsageError::ControlTooLong { payload_bytes: 126 });
        assert_eq!(reports.next(), UsageError::CloseCodeCut);
        assert_eq!(reports.next(), UsageError::CloseCodeNotSendable { code: CloseCode::NO_STATUS });
        assert_eq!(reports.next(), UsageError::NotUtf8);
        client.send(TEXT, b"go on");
        assert_eq!(client.expect_close(4000), "bye");
        client.write(&close_frame(4000, ""));
        client.expect_end();
        server.finish();
    });
}

#[test]
fn reserved_bits_and_opcodes_are_refused_by_default() {
    on_every_engine_and_style(|setup| {
        let server = TestServer::echo(setup);
        for first in [RESERVED_CONTROL, 0x8F, TEXT | RSV2, PING | RSV2, TEXT | 0x40, TEXT | 0x10, 0x83] {
            let mut client = Client::open(server.address);
            client.send(first, b"");
            client.expect_close(1002);
            client.expect_end();
        }
        server.finish();
    });
}

/// For all connections of an upgrade, and for one connection alone.
#[test]
fn applications_can_allow_reserved_bits_and_opcodes() {
    on_every_engine(|setup| {
        for of_one in [false, true] {
            let mut config = WebSocketConfig::default();
            if !of_one {
                config.reserved_bits = ReservedBits::RSV2;
            }
            let mut upgrade = websocket::upgrade(move |mut ws: WebSocket| async move {
                if of_one {
                    ws.allow_reserved_bits(ReservedBits::RSV2);
                    ws.on_reserved_control(|sender, opcode, payload| {
                        sender.try_send(format!("{opcode}: {}", payload.escape_ascii()))
                    });
                }
                let sender = ws.sender();
                while let Some(message) = ws.recv().await? {
                    let bits = ws.reserved_bits();
                    sender.send_with_bits(message, bits).await?;
                    let Some(mut message) = ws.recv_stream().await? else { break };
                    let (bits, kind) = (message.reserved_bits(), message.kind());
                    while message.next().await?.is_some() {}
                    sender.send_with_bits(format!("{kind:?}"), bits).await?;
                }
                Ok(())
            })
            .config(config);
            if !of_one {
                upgrade = upgrade.on_reserved_control(|sender, opcode, payload| {
                    sender.try_send(format!("{opcode}: {}", payload.escape_ascii()))
                });
            }
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
            let mut client = Client::open(server.address);
            client.send(RESERVED_CONTROL, b"one");
            client.expect(TEXT, b"control 0xb: one");
            client.send(TEXT | RSV2, b"marked");
            client.expect(TEXT | RSV2, b"marked");
            client.send((BINARY - FIN) | RSV2, b"in ");
            client.send(0x8F, b"");
            client.expect(TEXT, b"control 0xf: ");
            client.send(CONTINUATION, b"pieces");
            client.expect(TEXT | RSV2, format!("{:?}", MessageKind::Binary).as_bytes());
            client.send(TEXT, b"without");
            client.expect(TEXT, b"without");
            client.send(BINARY, &[7; 10_000]);
            client.expect(TEXT, b"Binary");
            client.send(BINARY | RSV2, &[7; 10_000]);
            client.expect(BINARY | RSV2, &[7; 10_000]);
            // Other bits, and these on other frames, are still refused.
            client.send(PING | RSV2, b"");
            assert_eq!(client.next().unwrap().first, CLOSE);
            client.expect_end();
            server.finish();
        }
    });
}
