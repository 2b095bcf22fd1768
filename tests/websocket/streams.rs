//! Messages that are read and sent in pieces.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::pin::pin;
use std::task::Poll;
use std::thread;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::web::SharedAcrossThreads;
use tidegate::websocket::{Error, MessageKind, PreparedMessage, ProtocolError, RecvStream, UsageError};

use crate::handler::{Gate, reports};
use crate::support::client::{
    BINARY, CONTINUATION, Client, FIN, PING, PONG, TEXT, close_frame, frame, header, pattern,
};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

const MULTILINGUAL: &str = "Gezeiten, marée, прилив, 潮汐, \u{1f30a}";

/// Returns a whole message, and checks that the pieces of text are text and that no piece is empty.
async fn gather(message: &mut RecvStream<'_>) -> Result<Message, Error> {
    let kind = message.kind();
    let (mut text, mut bytes) = (String::new(), Vec::new());
    while let Some(piece) = message.next().await? {
        match piece {
            PayloadRef::Text(piece) => {
                assert!(kind == MessageKind::Text && !piece.is_empty());
                text.push_str(piece);
            }
            PayloadRef::Binary(piece) => {
                assert!(kind == MessageKind::Binary && !piece.is_empty());
                bytes.extend_from_slice(piece);
            }
        }
    }
    assert!(message.next().await?.is_none(), "the end is final");
    Ok(if kind == MessageKind::Text { text.into() } else { bytes.into() })
}

async fn echo_gathered(mut ws: WebSocket) -> websocket::Result {
    while let Some(mut message) = ws.recv_stream().await? {
        let message = gather(&mut message).await?;
        ws.send(message).await?;
    }
    Ok(())
}

/// Polls once.
async fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits for the wake that an earlier poll asked for.
async fn wake() {
    let mut woken = false;
    poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Drops every read that is not ready at once, and begins one of the other kind at the next wake.
async fn echo_impatiently(mut ws: WebSocket) -> websocket::Result {
    loop {
        match once(ws.recv_stream()).await {
            Poll::Ready(message) => match message? {
                Some(mut message) => {
                    let message = gather(&mut message).await?;
                    ws.send(message).await?;
                    continue;
                }
                None => return Ok(()),
            },
            Poll::Pending => wake().await,
        }
        match once(ws.recv()).await {
            Poll::Ready(message) => match message? {
                Some(message) => ws.send(message).await?,
                None => return Ok(()),
            },
            Poll::Pending => wake().await,
        }
    }
}

/// Sends every message back while it arrives, one frame for each piece.
async fn echo_streaming(mut ws: WebSocket) -> websocket::Result {
    let sender = ws.sender();
    while let Some(mut message) = ws.recv_stream().await? {
        let mut echo = sender.send_stream(message.kind()).await?;
        while let Some(piece) = message.next().await? {
            match piece {
                PayloadRef::Text(piece) => echo.write(piece.as_bytes()).await?,
                PayloadRef::Binary(piece) => echo.write(piece).await?,
            }
        }
        echo.finish().await?;
    }
    Ok(())
}

fn serve<F>(setup: &Setup, handler: F) -> TestServer
where
    F: AsyncFn(WebSocket) -> websocket::Result + SharedAcrossThreads,
{
    TestServer::serve(setup, WebSocketConfig::default(), handler)
}

/// Returns the next message, and checks the order of its frames. Pongs are skipped.
fn next_message(client: &mut Client) -> (u8, Vec<u8>) {
    let (mut kind, mut payload) = (None, Vec::new());
    loop {
        let frame = client.next().expect("a frame before the end of the stream");
        match frame.first & 0x0F {
            0 => assert!(kind.is_some(), "nothing to continue: {frame:?}"),
            1 | 2 => assert!(kind.replace(frame.first | FIN).is_none(), "a message inside another: {frame:?}"),
            _ => panic!("{frame:?} inside a message"),
        }
        payload.extend(frame.payload);
        if frame.first & FIN != 0 {
            return (kind.unwrap(), payload);
        }
    }
}

/// Owned, borrowed and streamed reads agree for all fragments and segments.
#[test]
fn messages_read_in_pieces_are_complete() {
    let large = pattern(3_000_000);
    let text = MULTILINGUAL.repeat(2_000);
    let fragments = [
        frame(TEXT - FIN, b""),
        frame(CONTINUATION - FIN, &MULTILINGUAL.as_bytes()[..13]),
        frame(PING, b"inside"),
        frame(CONTINUATION - FIN, b""),
        frame(CONTINUATION - FIN, &MULTILINGUAL.as_bytes()[13..14]),
        frame(CONTINUATION, &MULTILINGUAL.as_bytes()[14..]),
        frame(BINARY, b"between"),
        frame(BINARY - FIN, b"one "),
        frame(CONTINUATION, b"two"),
        frame(TEXT, b""),
    ];
    on_every_engine(|setup| {
        for server in [serve(setup, echo_gathered), serve(setup, echo_impatiently)] {
            let mut client = Client::open(server.address);
            for byte in fragments.concat() {
                client.write(&[byte]);
            }
            client.write(&fragments.concat());
            for _ in 0..2 {
                client.expect(PONG, b"inside");
                client.expect(TEXT, MULTILINGUAL.as_bytes());
                client.expect(BINARY, b"between");
                client.expect(BINARY, b"one two");
                client.expect(TEXT, b"");
            }
            client.check_echo(BINARY, &large);
            client.check_echo(TEXT, text.as_bytes());
            client.close();
            server.finish();
        }
    });
}

#[test]
fn pieces_come_before_the_end_of_the_message() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |mut ws: WebSocket| {
            while let Some(mut message) = ws.recv_stream().await? {
                while let Some(piece) = message.next().await? {
                    report.send(matches!(piece, PayloadRef::Text(_))).unwrap();
                }
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        // One frame that never arrives whole; then a message in two fragments with a ping between them.
        client.write(&header(TEXT, 1 << 20));
        for _ in 0..4 {
            let same_masked = [0x37, 0xfa, 0x21, 0x3d].repeat(1 << 16);
            client.write(&same_masked);
            assert!(reports.next());
        }
        client.send(BINARY - FIN, b"one");
        while reports.next() {}
        client.send(PING, b"now");
        client.expect(PONG, b"now");
        client.send(CONTINUATION, b"two");
        assert!(!reports.next());
        client.close();
        server.finish();
    });
}

/// The next read, of any kind, skips the rest of a dropped message.
#[test]
fn the_rest_of_a_dropped_message_is_skipped() {
    on_every_engine(|setup| {
        let server = serve(setup, |mut ws: WebSocket| async move {
            for round in 0.. {
                let Some(mut message) = ws.recv_stream().await? else { break };
                let begun = matches!(message.next().await?, Some(PayloadRef::Binary([b'a', ..])));
                assert!(begun, "a piece of the dropped message");
                let next = match round % 3 {
                    0 => ws.recv().await?,
                    1 => ws.recv_ref().await?.map(|message| message.to_message()),
                    _ => match ws.recv_stream().await? {
                        Some(mut message) => Some(gather(&mut message).await?),
                        None => None,
                    },
                };
                ws.send(next.expect("the message after it")).await?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        for round in 0_u8..6 {
            client.send(BINARY - FIN, b"a");
            client.send(PING, &[round]);
            client.expect(PONG, &[round]);
            client.send(CONTINUATION - FIN, &pattern(100_000));
            client.send(CONTINUATION, b"its end");
            let next = [b"the next ", &[b'0' + round][..]].concat();
            client.send(TEXT, &next);
            client.expect(TEXT, &next);
        }
        client.close();
        server.finish();
    });
}

/// The limit applies to all fragments together, and text fails at its first invalid byte.
#[test]
fn streamed_reads_enforce_the_rules() {
    let config = WebSocketConfig::default().message_bytes_max(10);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config.clone(), async move |mut ws: WebSocket| {
            let result = async {
                while let Some(mut message) = ws.recv_stream().await? {
                    gather(&mut message).await?;
                }
                Ok(())
            };
            report.send(result.await).unwrap();
            Ok(())
        });
        let too_big = [frame(BINARY - FIN, &[0; 6]), frame(CONTINUATION - FIN, b""), frame(CONTINUATION, &[0; 5])];
        let mut client = Client::open(server.address);
        client.write(&too_big.concat());
        client.expect_close(1009);
        client.expect_end();
        let end = reports.next();
        assert!(matches!(end, Err(Error::Protocol(ProtocolError::MessageTooBig { message_bytes: 11, .. }))), "{end:?}");

        let mut client = Client::open(server.address);
        client.write(&[frame(TEXT - FIN, b"ok \xED"), header(CONTINUATION, 5), vec![0xA0 ^ 0x37]].concat());
        client.expect_close(1007);
        client.expect_end();
        let end = reports.next();
        assert!(matches!(end, Err(Error::Protocol(ProtocolError::InvalidUtf8))), "{end:?}");
        server.finish();
    });
}

/// A part of a message must not look like the whole.
#[test]
fn a_message_that_the_connection_cuts_off_is_incomplete() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |mut ws: WebSocket| {
            let mut message = ws.recv_stream().await?.expect("a message begins");
            let first = gather(&mut message).await;
            let second = gather(&mut message).await;
            report.send((first, second)).unwrap();
            Ok(())
        });
        let mut closing = Client::open(server.address);
        closing.send(TEXT - FIN, b"half");
        closing.write(&close_frame(1000, ""));
        let (first, second) = reports.next();
        assert!(matches!((&first, &second), (Err(Error::Incomplete), Err(Error::Incomplete))), "{first:?} {second:?}");
        closing.expect_close(1000);
        closing.expect_end();
        let mut lost = Client::open(server.address);
        lost.send(TEXT - FIN, b"half");
        lost.finish_writing();
        let (first, second) = reports.next();
        assert!(matches!((&first, &second), (Err(Error::Lost), Err(Error::Incomplete))), "{first:?} {second:?}");
        drop(lost);
        server.finish();
    });
}

#[test]
fn messages_are_sent_back_while_they_arrive() {
    let large = pattern(5_000_000);
    let text = MULTILINGUAL.repeat(20_000);
    on_every_engine(|setup| {
        let server = serve(setup, echo_streaming);
        let mut client = Client::open(server.address);
        for (first, payload) in [(BINARY, &large[..]), (TEXT, b""), (TEXT, text.as_bytes()), (BINARY, b"short")] {
            let mut writer = client.stream.try_clone().unwrap();
            thread::scope(|scope| {
                scope.spawn(move || std::io::Write::write_all(&mut writer, &frame(first, payload)).unwrap());
                let (kind, echo) = next_message(&mut client);
                assert!(kind == first && echo == payload, "{} bytes came back", echo.len());
            });
        }
        client.close();
        server.finish();
    });
}

/// Only control frames come between the pieces; messages of others wait or follow.
#[test]
fn nothing_but_control_frames_comes_between_pieces() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let (go, hub) = (Gate::default(), Hub::<()>::default());
        let (gate, members) = (go.clone(), hub.clone());
        let server = serve(setup, async move |mut ws: WebSocket| {
            let _member = members.register(&ws)?;
            let mut message = ws.sender().send_stream(MessageKind::Text).await?;
            message.write(b"one ").await?;
            report.send(ws.sender()).unwrap();
            assert!(matches!(ws.sender().try_send("between"), Err(Error::Full)));
            ws.ping(b"ours")?;
            // Reads continue, and answer the peer's ping.
            assert_eq!(ws.recv().await?, Some(Message::from("go on")));
            gate.pass().await;
            message.write_bytes(vec![b'-'; 10_000].into()).await?;
            message.write(b"").await?;
            message.finish().await?;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        client.expect(TEXT - FIN, b"one ");
        let sender = reports.next();
        client.expect(PING, b"ours");
        client.send(PING, b"theirs");
        client.expect(PONG, b"theirs");
        client.send(TEXT, b"go on");
        let delivered = block_on(hub.broadcast("from the hub")).unwrap();
        assert_eq!(delivered.count, 1, "{delivered:?}");
        let waiting = thread::spawn(move || {
            let waits = block_on(once(sender.send("waits"))).is_pending();
            let second = block_on(once(sender.send_stream(MessageKind::Binary))).is_pending();
            go.open();
            block_on(sender.send("from a thread")).unwrap();
            (waits, second)
        });
        client.expect(CONTINUATION - FIN, &[b'-'; 10_000]);
        client.expect(CONTINUATION, b"");
        client.expect(TEXT, b"from the hub");
        client.expect(TEXT, b"from a thread");
        assert_eq!(waiting.join().unwrap(), (true, true));
        client.check_echo(TEXT, b"and so on");
        client.close();
        server.finish();
    });
}

/// A send that only the end of its own task's stream could let through is an error at once.
#[test]
fn a_send_that_would_wait_for_its_own_stream_fails() {
    fn is_refused<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Usage(UsageError::StreamOpen)))
    }
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let (go, passed) = (Gate::default(), Gate::default());
        let (gate, pass) = (go.clone(), passed.clone());
        let server = serve(setup, async move |mut ws: WebSocket| {
            let sender = ws.sender();
            let mut message = sender.send_stream(MessageKind::Text).await?;
            let later = std::time::Instant::now() + crate::support::client::PATIENCE;
            let prepared = PreparedMessage::from("prepared");
            assert!(is_refused(ws.send("at once").await));
            message.write(b"one ").await?;
            assert!(is_refused(ws.send("owned").await));
            assert!(is_refused(ws.send_text("borrowed").await));
            assert!(is_refused(ws.send_prepared(&prepared).await));
            assert!(is_refused(ws.send_with_deadline("deadline", later).await));
            assert!(is_refused(sender.send(vec![0; 100_000]).await));
            assert!(is_refused(sender.send_stream(MessageKind::Binary).await.map(drop)));
            // Calls that do not wait have space later, and control frames do not wait.
            assert!(matches!(sender.try_send("between"), Err(Error::Full)));
            ws.ping(b"ours")?;
            report.send(ws.sender()).unwrap();
            gate.pass().await;
            message.finish().await?;
            ws.send("two").await?;
            ws.recv().await?;
            // Another task takes the stream over with its first piece: then this task waits for it.
            let mut message = sender.send_stream(MessageKind::Text).await?;
            let pass = pass.clone();
            let other = thread::spawn(move || {
                block_on(async {
                    message.write(b"three").await?;
                    pass.pass().await;
                    assert!(is_refused(sender.send("of the thread").await));
                    message.finish().await
                })
            });
            while is_refused(ws.send("four").await) {
                thread::yield_now();
            }
            other.join().expect("no panic")?;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        client.expect(TEXT - FIN, b"one ");
        client.expect(PING, b"ours");
        let sender = reports.next();
        let waiting = thread::spawn(move || {
            let waits = block_on(once(sender.send("waits"))).is_pending();
            go.open();
            block_on(sender.send("from a thread")).unwrap();
            waits
        });
        client.expect(CONTINUATION, b"");
        let mut texts = [client.next().expect("a message").payload, client.next().expect("a message").payload];
        texts.sort();
        assert_eq!(texts, [b"from a thread".to_vec(), b"two".to_vec()]);
        assert!(waiting.join().unwrap(), "a send of another task waits");
        client.send(TEXT, b"go on");
        client.expect(TEXT - FIN, b"three");
        passed.open();
        client.expect(CONTINUATION, b"");
        client.expect(TEXT, b"four");
        client.check_echo(TEXT, b"and so on");
        client.close();
        server.finish();
    });
}

/// An unfinished message closes the connection; one without a piece has no effect.
#[test]
fn a_part_of_a_message_is_never_taken_for_the_whole() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |mut ws: WebSocket| {
            drop(ws.send_stream(MessageKind::Binary).await?);
            let mut message = ws.send_stream(MessageKind::Text).await?;
            let refused = message.write(b"\xFF").await;
            report.send(refused).unwrap();
            message.write("é".as_bytes()).await?;
            message.finish().await?;
            let mut message = ws.send_stream(MessageKind::Text).await?;
            message.write(b"cut: \xC3").await?;
            report.send(message.finish().await).unwrap();
            report.send(ws.send("too late").await).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect(TEXT - FIN, "é".as_bytes());
        client.expect(CONTINUATION, b"");
        client.expect(TEXT - FIN, b"cut: \xC3");
        client.expect_close(1011);
        client.write(&close_frame(1011, ""));
        client.expect_end();
        for _ in 0..2 {
            let result = reports.next();
            assert!(matches!(result, Err(Error::Usage(UsageError::NotUtf8))), "{result:?}");
        }
        let result = reports.next();
        assert!(matches!(result, Err(Error::Usage(UsageError::CloseSent))), "{result:?}");
        server.finish();
    });
}

/// The writer waits for a peer that does not read, and no part of the message is lost.
#[test]
fn a_streamed_message_is_bounded_by_the_queue() {
    const PIECES: usize = 400;
    let piece = pattern(50_000);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let written = piece.clone();
        let server = serve(setup, async move |mut ws: WebSocket| {
            let sender = ws.sender();
            let mut message = ws.send_stream(MessageKind::Binary).await?;
            let mut queued_max = 0;
            for number in 0..PIECES {
                if number % 2 == 0 {
                    message.write(&written).await?;
                } else {
                    message.write_bytes(written.clone().into()).await?;
                }
                queued_max = queued_max.max(sender.queued_bytes());
            }
            message.finish().await?;
            report.send(queued_max).unwrap();
            assert!(ws.recv().await?.is_none());
            Ok(())
        });
        let mut client = Client::open(server.address);
        let (kind, payload) = next_message(&mut client);
        assert!(kind == BINARY && payload == piece.repeat(PIECES), "{} bytes came", payload.len());
        let queued_max = reports.next();
        assert!(queued_max <= 1 << 20, "{queued_max} bytes were queued");
        client.close();
        server.finish();
    });
}

/// The close frame of a shutdown does not wait for a message.
#[test]
fn a_shutdown_ends_a_message_that_is_being_sent() {
    on_every_engine(|setup| {
        let gate = Gate::default();
        let passed = gate.clone();
        let server = serve(setup, async move |mut ws: WebSocket| {
            let mut message = ws.send_stream(MessageKind::Text).await?;
            message.write(b"begun").await?;
            passed.pass().await;
            let late = message.write(b"too late").await;
            assert!(late.is_err_and(|error| error.is_close_sent()));
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect(TEXT - FIN, b"begun");
        server.running.handle().begin_shutdown(Shutdown::default());
        client.expect_close(1001);
        gate.open();
        client.write(&close_frame(1001, ""));
        client.expect_end();
        assert_eq!(server.running.join().forced, 0);
    });
}

/// Messages are read as one run of bytes, each with its terminator, while they arrive.
#[test]
fn messages_are_joined_to_one_run_of_bytes() {
    let large = pattern(1_000_000);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |mut ws: WebSocket| {
            let mut lines = ws.byte_stream("\r\n");
            assert_eq!(lines.read(&mut []).await?, 0, "an empty buffer");
            let mut all = Vec::new();
            for size in (1..=7).chain([10_000]).cycle() {
                let mut buffer = vec![0; size];
                match lines.read(&mut buffer).await? {
                    0 => break,
                    len => all.extend_from_slice(&buffer[..len]),
                }
                if all == b"one\r\n" {
                    report.send(std::mem::take(&mut all)).unwrap();
                }
            }
            assert_eq!(lines.read(&mut [0]).await?, 0, "the end is final");
            report.send(all).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT - FIN, b"on");
        client.send(CONTINUATION, b"e");
        assert_eq!(reports.next(), b"one\r\n");
        client.send(BINARY, b"");
        client.send(PING, b"inside");
        client.send(BINARY, &large);
        client.send(TEXT, b"end");
        client.write(&close_frame(1000, ""));
        client.expect(PONG, b"inside");
        client.expect_close(1000);
        client.expect_end();
        assert!(reports.next() == [b"\r\n", &large[..], b"\r\nend\r\n"].concat());
        server.finish();
    });
}

/// The same for code that blocks, on another thread. A message that is cut off is an error.
#[test]
fn joined_messages_are_read_by_blocking_code() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |mut ws: WebSocket| {
            let end = Gate::default();
            let (ended, report) = (end.clone(), report.clone());
            thread::spawn(move || {
                let mut lines = BufReader::new(ws.byte_stream("\n").into_blocking());
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|len| len > 0) {
                    report.send(Ok(std::mem::take(&mut line))).unwrap();
                }
                report.send(lines.read(&mut [0]).map_err(|error| error.kind()).map(|_| String::new())).unwrap();
                ended.open();
            });
            end.pass().await;
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"one");
        assert_eq!(reports.next(), Ok("one\n".to_owned()));
        client.send(TEXT, b"two\nand three");
        assert_eq!(reports.next(), Ok("two\n".to_owned()));
        assert_eq!(reports.next(), Ok("and three\n".to_owned()));
        client.send(TEXT - FIN, b"cut");
        client.write(&close_frame(1000, ""));
        assert_eq!(reports.next(), Err(ErrorKind::UnexpectedEof));
        client.expect_close(1000);
        client.expect_end();
        server.finish();
    });
}
