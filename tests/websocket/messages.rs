//! Messages and control frames in both directions.

use std::future::poll_fn;
use std::pin::pin;
use std::thread;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Error, HandlerError, UsageError};

use crate::handler::reports;
use crate::support::client::{BINARY, CONTINUATION, Client, FIN, PING, PONG, TEXT, close_frame, frame, pattern};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

const MULTILINGUAL: &str = "Gezeiten, marée, прилив, 潮汐, \u{1f30a}";

/// Echoes borrowed messages.
async fn echo_borrowed(mut ws: WebSocket) -> websocket::Result {
    let sender = ws.sender();
    while let Some(message) = ws.recv_ref().await? {
        match message.payload() {
            PayloadRef::Text(text) => sender.send_text(text).await?,
            PayloadRef::Binary(bytes) => sender.send_binary(bytes).await?,
        }
    }
    Ok(())
}

/// Drops every read that is not ready at once, and begins another at the next wake.
async fn echo_impatiently(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = poll_fn(|cx| pin!(ws.recv()).poll(cx)).await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Calls `test` with a client of an echo server that receives owned messages, of one that borrows them, of one that
/// drops reads, and of an event handler.
fn against_every_echo(test: impl Fn(&mut Client)) {
    on_every_engine(|setup: &Setup| {
        let owned = TestServer::echo(setup);
        let borrowed = TestServer::serve(setup, WebSocketConfig::default(), echo_borrowed);
        let impatient = TestServer::serve(setup, WebSocketConfig::default(), echo_impatiently);
        let events = TestServer::echo(&Setup { events: true, ..setup.clone() });
        for server in [owned, borrowed, impatient, events] {
            let mut client = Client::open(server.address);
            test(&mut client);
            client.close();
            server.finish();
        }
    });
}

/// Messages larger than the receive buffer must not hang, and large echoes must not be truncated.
#[test]
fn messages_of_every_size_come_back() {
    let large = pattern(5_000_000);
    let text = MULTILINGUAL.repeat(20_000);
    against_every_echo(|client| {
        for len in [0, 1, 125, 126, 127, 4_095, 4_096, 4_097, 65_535, 65_536, 300_000, large.len()] {
            client.check_echo(BINARY, &large[..len]);
        }
        client.check_echo(TEXT, b"");
        client.check_echo(TEXT, MULTILINGUAL.as_bytes());
        client.check_echo(TEXT, text.as_bytes());
    });
}

#[test]
fn messages_in_one_segment_come_back_in_order() {
    let messages: Vec<_> = (0..200).map(|number| format!("{number} {}", "x".repeat(number))).collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(TEXT, message.as_bytes())).collect();
    against_every_echo(|client| {
        client.write(&bytes);
        for message in &messages {
            client.expect(TEXT, message.as_bytes());
        }
    });
}

/// A conversation with one byte in each segment: text with two pings inside.
#[test]
fn frames_can_arrive_byte_by_byte() {
    let text = MULTILINGUAL.as_bytes();
    let bytes = [
        frame(TEXT - FIN, &text[..13]),
        frame(PING, b""),
        frame(CONTINUATION - FIN, &text[13..14]),
        frame(PING, b"inside"),
        frame(CONTINUATION, &text[14..]),
    ];
    against_every_echo(|client| {
        for byte in bytes.concat() {
            client.write(&[byte]);
        }
        client.expect(PONG, b"");
        client.expect(PONG, b"inside");
        client.expect(TEXT, text);
    });
}

/// Work must not be quadratic in the number of fragments, and their number has no bound.
#[test]
fn a_message_can_have_any_number_of_fragments() {
    let text = MULTILINGUAL.repeat(1_700);
    assert!(text.len() > 1 << 16);
    let mut bytes = frame(TEXT - FIN, b"");
    for byte in text.as_bytes() {
        bytes.extend(frame(CONTINUATION - FIN, &[*byte]));
    }
    bytes.extend(frame(CONTINUATION, b""));
    against_every_echo(|client| {
        client.write(&bytes);
        client.expect(TEXT, text.as_bytes());
    });
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    against_every_echo(|client| {
        client.send(BINARY - FIN, b"one ");
        client.send(PING, b"now");
        client.expect(PONG, b"now");
        client.send(CONTINUATION - FIN, b"two ");
        client.send(PONG, b"nobody asked");
        client.send(CONTINUATION, b"three");
        client.expect(BINARY, b"one two three");
    });
}

/// A half-close must not be treated as a disconnect.
#[test]
fn echoes_still_arrive_after_a_half_close() {
    let large = pattern(3_000_000);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |ws: WebSocket| {
            let result = echo(ws).await;
            let error = result.as_ref().err().and_then(HandlerError::downcast_ref);
            report.send(matches!(error, Some(Error::Lost))).unwrap();
            result
        });
        let mut client = Client::open(server.address);
        let mut writer = client.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                use std::io::Write;
                writer.write_all(&frame(BINARY, &large)).unwrap();
                writer.write_all(&frame(TEXT, b"the last")).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            client.expect(BINARY, &large);
        });
        client.expect(TEXT, b"the last");
        assert!(reports.next(), "the end without a close frame is reported after all messages");
        drop(client);
        server.finish();
    });
}

/// A message that lies whole in a chunk is borrowed from it.
#[test]
fn borrowed_messages_are_not_copied() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            while let Some(message) = ws.recv_ref().await? {
                let bytes = message.as_bytes();
                report.send((bytes.as_ptr().addr(), bytes.to_vec())).unwrap();
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        let (first, second) = (frame(BINARY, b"first"), frame(TEXT, b"second"));
        client.write(&[&first[..], &second].concat());
        let (first_at, first_bytes) = reports.next();
        let (second_at, second_bytes) = reports.next();
        assert_eq!((&first_bytes[..], &second_bytes[..]), (&b"first"[..], &b"second"[..]));
        assert_eq!(second_at - first_at, first.len(), "as far apart as in the segment");
        client.close();
        server.finish();
    });
}

/// An owned message holds nothing of the connection, whether reads continue or not.
#[test]
fn owned_messages_pin_no_receive_buffer() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            while ws.recv().await?.is_some() {
                report.send(ws.connection().inbound_bytes()).unwrap();
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        for (first, payload) in [(TEXT, &b"text"[..]), (BINARY, &[0; 1000])] {
            client.send(first, payload);
            assert_eq!(reports.next(), 0);
        }
        client.close();
        server.finish();
    });
}

/// Kept messages must not hold receive buffers that other connections need, and their bytes must not change.
#[test]
fn kept_messages_stay_as_they_were() {
    const MESSAGES: usize = 200;
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let (sender, mut kept) = (ws.sender(), Vec::new());
            loop {
                let next = match kept.len() % 2 {
                    0 => ws.recv().await?,
                    _ => match ws.recv_ref().await? {
                        Some(message) => {
                            sender.send_ref(&message).await?;
                            kept.push(message.to_message());
                            continue;
                        }
                        None => None,
                    },
                };
                let Some(message) = next else { break };
                ws.send(message.clone()).await?;
                kept.push(message);
            }
            report.send(kept).unwrap();
            Ok(())
        });
        let payload = |round: usize| pattern(1 + (round * 2711) % 50_000);
        let mut clients = [Client::open(server.address), Client::open(server.address)];
        for round in 0..MESSAGES {
            for client in &mut clients {
                client.check_echo(BINARY, &payload(round));
            }
        }
        clients.into_iter().for_each(Client::close);
        for _ in 0..2 {
            let kept: Vec<_> = reports.next();
            assert_eq!(kept.len(), MESSAGES);
            for (round, message) in kept.iter().enumerate() {
                assert!(message.as_bytes() == payload(round), "message {round}");
            }
        }
        server.finish();
    });
}

/// Every message is whole, those of one thread are in order, and nothing follows the close frame.
#[test]
fn threads_share_a_sender() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 300;
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| {
            report.send(ws.sender()).unwrap();
            async move {
                assert!(ws.recv().await?.is_none());
                Ok(())
            }
        });
        let mut client = Client::open(server.address);
        let sender = reports.next();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for number in 0..MESSAGES {
                        block_on(sender.send(tagged(thread, number))).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0; THREADS];
        for _ in 0..THREADS * MESSAGES {
            let frame = client.next().expect("a message");
            let thread = usize::from(frame.payload[0]);
            assert!(frame.first == BINARY && frame.payload == tagged(thread, next[thread]), "{frame:?}");
            next[thread] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        sender.close(CloseCode::NORMAL, "").unwrap();
        let late = thread::spawn(move || block_on(sender.send("too late"))).join().unwrap();
        assert!(matches!(late, Err(Error::Usage(UsageError::CloseSent))), "{late:?}");
        client.expect_close(1000);
        client.write(&close_frame(1000, ""));
        client.expect_end();
        server.finish();
    });
}

/// Returns a message with its thread and number, of a length that depends on both: some are copied, some shared.
fn tagged(thread: usize, number: usize) -> Vec<u8> {
    let mut bytes = vec![thread as u8];
    bytes.extend((number as u32).to_be_bytes());
    bytes.resize(5 + (number * 67 + thread) % 10_000, number as u8);
    bytes
}

/// Control frames carry at most 125 bytes.
#[test]
fn servers_ping_and_pong() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            ws.ping(&[b'i'; 125])?;
            report.send(ws.ping(&[0; 126])).unwrap();
            report.send(ws.pong(&[0; 126])).unwrap();
            ws.pong(b"")?;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        client.expect(PING, &[b'i'; 125]);
        client.expect(PONG, b"");
        for _ in 0..2 {
            let result = reports.next();
            let expected = matches!(result, Err(Error::Usage(UsageError::ControlTooLong { payload_bytes: 126 })));
            assert!(expected, "{result:?}");
        }
        client.send(PONG, &[b'i'; 125]);
        client.check_echo(TEXT, b"still open");
        client.close();
        server.finish();
    });
}
