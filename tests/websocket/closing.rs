//! The closing handshake, from either side, and connections that end without it.

use std::future::{Ready, poll_fn};
use std::io::Write;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, Sender};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use tidegate::engine::{CloseCause, block_on};
use tidegate::prelude::*;
use tidegate::web::SharedAcrossThreads;
use tidegate::websocket::{Error, HandlerError, UsageError};

use crate::events::on_every_engine_and_style;
use crate::handler::{Gate, Reports, received_bytes, reports, wait_until};
use crate::support::client::{BINARY, CLOSE, Client, PATIENCE, PING, TEXT, close_frame, frame, pattern};
use crate::support::servers::{Setup, TestServer, on_every_engine};

/// Settings with a short close timeout.
fn impatient() -> WebSocketConfig {
    WebSocketConfig::default().close_timeout(Duration::from_millis(100))
}

/// Starts a server whose handler reports to the test.
fn reporting<T, F>(setup: &Setup, config: WebSocketConfig, handler: F) -> (TestServer, Reports<T>)
where
    T: Send + 'static,
    F: AsyncFn(WebSocket, Sender<T>) -> websocket::Result + SharedAcrossThreads,
{
    let (report, reports) = reports();
    let server = TestServer::serve(setup, config, async move |ws| handler(ws, report.clone()).await);
    (server, reports)
}

/// The result of a handler decides on the close code; the text of an error is never sent.
#[test]
fn the_result_of_a_handler_decides_on_the_close_code() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            match ws.recv().await?.as_ref().and_then(Message::as_text) {
                Some("return") => Ok(()),
                Some("fail") => Err(HandlerError::new("as the test asked for")),
                Some("parse") => {
                    "secret".parse::<u64>()?;
                    Ok(())
                }
                Some("refuse") => Err(HandlerError::close(CloseCode::new(4123), "not today")),
                Some("misuse") => Ok(ws.ping(&[0; 126])?),
                Some("refuse badly") => Err(HandlerError::close(CloseCode::ABNORMAL, "must not be sent")),
                Some("overload") => Err(Error::Full.into()),
                Some("lose") => Err(Error::Lost.into()),
                Some("wait") => {
                    ws.set_read_deadline(Some(std::time::Instant::now()));
                    ws.recv().await?;
                    Ok(())
                }
                Some("close") => {
                    ws.sender().close(CloseCode::new(4000), "")?;
                    Ok(ws.send("too late").await?)
                }
                Some("drop") => {
                    drop(ws);
                    Ok(())
                }
                other => panic!("as the test asked for: {other:?}"),
            }
        });
        let table = [
            ("return", 1000, ""),
            ("fail", 1011, ""),
            ("parse", 1011, ""),
            ("refuse", 4123, "not today"),
            ("refuse badly", 1011, ""),
            ("misuse", 1011, ""),
            ("overload", 1013, ""),
            ("lose", 1000, ""),
            ("wait", 1001, ""),
            ("close", 4000, ""),
            ("drop", 1000, ""),
            ("panic", 1011, ""),
            ("return", 1000, ""),
        ];
        for (command, code, reason) in table {
            let mut client = Client::open(server.address);
            client.send(TEXT, command.as_bytes());
            assert_eq!(client.expect_close(code), reason, "{command}: the text of an error is not sent");
            client.write(&close_frame(code, ""));
            client.expect_end();
        }
        server.finish();
    });
}

/// A future can keep its WebSocket when it completes.
#[test]
fn a_handler_that_holds_its_web_socket_to_the_end_closes_with_its_code() {
    struct Holding(WebSocket);
    impl Future for Holding {
        type Output = websocket::Result;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let message = ready!(Pin::new(&mut self.0.recv()).poll(cx))?;
            Poll::Ready(Err(HandlerError::new(format!("as the test asked for: {message:?}"))))
        }
    }
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), Holding);
        let mut client = Client::open(server.address);
        client.send(TEXT, b"fail");
        client.expect_close(1011);
        client.send(TEXT, b"the answer is waited for");
        client.write(&close_frame(1011, ""));
        client.expect_end();
        server.finish();
    });
}

/// A handler can panic before it returns a future.
#[test]
fn a_handler_that_panics_at_once_closes_with_1011() {
    on_every_engine(|setup| {
        fn refuse(ws: WebSocket) -> Ready<websocket::Result> {
            panic!("as the test asked for: {:?}", ws.peer_addr())
        }
        let server = TestServer::serve(setup, WebSocketConfig::default(), refuse);
        for _ in 0..2 {
            let mut client = Client::open(server.address);
            client.expect_close(1011);
            client.write(&close_frame(1011, ""));
            client.expect_end();
        }
        server.finish();
    });
}

/// Dropping a WebSocket closes it, even while its handler continues.
#[test]
fn a_web_socket_that_is_dropped_is_closed_at_once() {
    on_every_engine(|setup| {
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            ws.recv().await?;
            drop(ws);
            passed.pass().await;
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"drop it");
        client.expect_close(1000);
        client.write(&close_frame(1000, ""));
        client.expect_end();
        gate.open();
        server.finish();
    });
}

/// `close` waits for the peer's close frame. Messages that arrive before it are dropped.
#[test]
fn closing_waits_for_the_answer() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            let result = ws.close(CloseCode::new(4001), "enough").await;
            let answer = ws.close_frame().map(|frame| (frame.code().value(), frame.reason().to_owned()));
            report.send((result.is_ok(), ws.is_closed_cleanly(), answer)).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        assert_eq!(client.expect_close(4001), "enough");
        client.send(TEXT, b"on its way");
        client.send(PING, b"too");
        client.write(&close_frame(4002, "so be it"));
        assert_eq!(reports.next(), (true, true, Some((4002, "so be it".to_owned()))));
        client.expect_end();
        server.finish();
    });
}

/// A peer that does not answer is closed after the close timeout.
#[test]
fn closing_does_not_wait_forever() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, impatient(), async |mut ws, report| {
            let result = ws.close(CloseCode::NORMAL, "").await;
            report.send((matches!(result, Err(Error::Lost)), ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect_close(1000);
        assert_eq!(reports.next(), (true, false));
        client.expect_end();
        server.finish();
    });
}

/// The close timeout applies to a peer that keeps sending, too.
#[test]
fn closing_does_not_wait_forever_while_the_peer_floods() {
    let flood = [frame(BINARY, &[0; 100]), frame(PING, b"")].concat().repeat(100);
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, impatient(), async |mut ws, report| {
            let result = ws.close(CloseCode::NORMAL, "").await;
            report.send(matches!(result, Err(Error::Lost))).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        let mut writer = client.stream.try_clone().unwrap();
        thread::scope(|scope| {
            // Ends when the socket is shut down below.
            scope.spawn(|| while writer.write_all(&flood).is_ok() {});
            client.expect_close(1000);
            assert!(reports.next(), "the handler continues");
            // The server can have reset the connection by now.
            let _ = client.stream.shutdown(Shutdown::Both);
        });
        drop(client);
        server.finish();
    });
}

/// The same when another thread sent the close frame, while the handler reads.
#[test]
fn a_close_frame_of_another_sender_is_not_waited_on_forever() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, impatient(), async |mut ws, report| {
            let sender = ws.sender();
            thread::spawn(move || sender.close(CloseCode::NORMAL, "").unwrap());
            report.send(matches!(ws.recv().await, Err(Error::Lost))).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect_close(1000);
        assert!(reports.next());
        client.expect_end();
        server.finish();
    });
}

/// A short read deadline, for polling, must not shorten the close timeout.
#[test]
fn a_read_deadline_does_not_replace_the_close_timeout() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            ws.sender().close(CloseCode::NORMAL, "")?;
            for _ in 0..2 {
                ws.set_read_deadline(Some(Instant::now()));
                let pending = poll_fn(|cx| Poll::Ready(pin!(ws.recv()).poll(cx).is_pending())).await;
                // The deadline passes meanwhile.
                ws.connection().timer().sleep(Duration::from_millis(50)).await;
                report.send((pending, false)).unwrap();
            }
            let end = ws.recv().await;
            report.send((matches!(end, Ok(None)), ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect_close(1000);
        assert_eq!([reports.next(), reports.next()], [(true, false); 2]);
        client.write(&close_frame(1000, ""));
        assert_eq!(reports.next(), (true, true));
        client.expect_end();
        server.finish();
    });
}

/// The peer's close frame has arrived, but ours cannot be sent: close frames were not exchanged.
#[test]
fn a_close_that_cannot_be_answered_is_not_clean() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let (lend, senders) = mpsc::channel();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            ws.recv().await?;
            ws.send("unread").await?;
            lend.send(ws.sender()).unwrap();
            passed.pass().await;
            let end = ws.recv().await;
            report.send((matches!(end, Ok(None)), ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"go");
        let sender = senders.recv_timeout(PATIENCE).unwrap();
        let before = received_bytes(&server);
        let farewell = close_frame(1000, "");
        client.write(&farewell);
        wait_until("the close frame", || received_bytes(&server) - before == farewell.len() as u64);
        // Closing a socket with unread input resets the connection.
        assert_eq!(client.stream.peek(&mut [0]).unwrap(), 1);
        drop(client);
        wait_until("the reset", || sender.is_finished());
        gate.open();
        assert_eq!(reports.next(), (true, false));
        server.finish();
    });
}

/// Reads after a final error return `None`.
#[test]
fn nothing_follows_a_final_error() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            let first = ws.recv().await;
            let rest = matches!((ws.recv().await, ws.recv().await), (Ok(None), Ok(None)));
            report.send((first, rest, ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut lost = Client::open(server.address);
        lost.finish_writing();
        let (first, rest, clean) = reports.next();
        assert!(matches!(first, Err(Error::Lost)) && rest && !clean, "{first:?}, {rest}, {clean}");
        lost.expect_end();

        let mut wrong = Client::open(server.address);
        wrong.send(0x83, b"opcode 3");
        let (first, rest, clean) = reports.next();
        assert!(matches!(first, Err(Error::Protocol(_))) && rest && !clean, "{first:?}, {rest}, {clean}");
        wrong.expect_close(1002);
        wrong.expect_end();
        server.finish();
    });
}

#[test]
fn aborting_resets() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            if ws.recv().await?.is_some() {
                ws.abort();
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"go");
        client.expect_reset();
        server.finish();
    });
}

/// The peer's close frame is an orderly end.
#[test]
fn the_close_of_the_peer_is_the_end_of_the_messages() {
    let table = [
        (close_frame(4000, "bye"), Some((4000, "bye"))),
        (close_frame(1001, ""), Some((1001, ""))),
        (frame(CLOSE, b""), None),
    ];
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            let (first, second) = (ws.recv().await, ws.recv().await);
            let ends = matches!((first, second), (Ok(None), Ok(None)));
            let frame = ws.close_frame().map(|frame| (frame.code().value(), frame.reason().to_owned()));
            report.send((ends, ws.is_closed_cleanly(), frame)).unwrap();
            Ok(())
        });
        for (bytes, expected) in &table {
            let mut client = Client::open(server.address);
            client.write(bytes);
            let expected = expected.map(|(code, reason)| (code, reason.to_owned()));
            assert_eq!(reports.next(), (true, true, expected));
            assert_eq!(frame(CLOSE, &client.next().expect("the answer").payload), *bytes);
            client.expect_end();
        }
        server.finish();
    });
}

/// The end of the stream without a close frame is an error, and a reset is another one.
#[test]
fn the_loss_of_the_peer_is_an_error() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            assert!(ws.recv().await?.is_some());
            ws.send("answer").await?;
            let result = ws.recv().await;
            report.send((result, ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"question");
        client.expect(TEXT, b"answer");
        client.finish_writing();
        let (result, clean) = reports.next();
        assert!(matches!(result, Err(Error::Lost)) && !clean, "{result:?}");
        client.expect_end();

        let mut client = Client::open(server.address);
        client.send(TEXT, b"question");
        // Closing a socket with unread input resets the connection.
        client.stream.peek(&mut [0]).unwrap();
        drop(client);
        let (result, clean) = reports.next();
        assert!(matches!(result, Err(Error::Closed(CloseCause::Reset))) && !clean, "{result:?}");
        server.finish();
    });
}

/// Every send after the close frame fails, and reads continue to the end.
#[test]
fn nothing_is_sent_after_the_close_frame() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            let sender = ws.sender();
            sender.send("first").await?;
            sender.close(CloseCode::NORMAL, "ebb")?;
            let results = [
                sender.send("after").await,
                sender.try_send("after"),
                sender.send_text("after").await,
                sender.send_binary(&[0; 10_000]).await,
                sender.ping(b""),
                sender.pong(b""),
                sender.close(CloseCode::NORMAL, ""),
                ws.send("after").await,
            ];
            report.send(results).unwrap();
            assert!(sender.is_finished());
            assert!(ws.recv().await?.is_none());
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"first");
        assert_eq!(client.expect_close(1000), "ebb");
        for result in reports.next() {
            assert!(matches!(result, Err(Error::Usage(UsageError::CloseSent))), "{result:?}");
        }
        client.send(PING, b"no pong is due");
        client.write(&close_frame(1000, "flow"));
        client.expect_end();
        server.finish();
    });
}

/// 1004 to 1006, 1015 and unassigned codes are never sent, nor is a reason of more than 123 bytes.
#[test]
fn a_close_that_must_not_be_sent_is_refused_and_changes_nothing() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
                report.send(ws.close(CloseCode::new(code), "").await).unwrap();
                report.send(ws.sender().close(CloseCode::new(code), "")).unwrap();
            }
            report.send(ws.close(CloseCode::NORMAL, &"r".repeat(124)).await).unwrap();
            ws.send("still open").await?;
            Ok(ws.close(CloseCode::NORMAL, &"r".repeat(123)).await?)
        });
        let mut client = Client::open(server.address);
        for _ in 0..17 {
            let result = reports.next();
            let refused = matches!(
                result,
                Err(Error::Usage(UsageError::CloseCodeNotSendable { .. } | UsageError::CloseReasonTooLong { .. }))
            );
            assert!(refused, "{result:?}");
        }
        client.expect(TEXT, b"still open");
        assert_eq!(client.expect_close(1000), "r".repeat(123));
        client.write(&close_frame(1000, ""));
        client.expect_end();
        server.finish();
    });
}

/// Both sides close before either has received the other's close frame.
#[test]
fn close_frames_can_cross() {
    on_every_engine(|setup| {
        let (server, reports) = reporting(setup, WebSocketConfig::default(), async |mut ws, report| {
            assert!(ws.recv().await?.is_some());
            let result = ws.close(CloseCode::new(4001), "ours").await;
            let frame = ws.close_frame().map(|frame| frame.code().value());
            report.send((result.is_ok(), ws.is_closed_cleanly(), frame)).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.write(&[frame(TEXT, b"close now"), close_frame(4002, "theirs")].concat());
        assert_eq!(client.expect_close(4001), "ours", "not an echo of the peer's");
        client.expect_end();
        assert_eq!(reports.next(), (true, true, Some(4002)));
        server.finish();
    });
}

/// Messages that were accepted before the close frame arrive before it, even if the peer begins to read only after the
/// close timeout of the handler.
#[test]
fn a_close_frame_waits_behind_a_large_message() {
    let large = pattern(12 << 20);
    on_every_engine(|setup| {
        let message = large.clone();
        let (server, reports) = reporting(setup, impatient(), async move |mut ws, report| {
            ws.send(message.clone()).await?;
            let result = ws.close(CloseCode::NORMAL, "").await;
            report.send(matches!(result, Err(Error::Lost))).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        assert!(reports.next());
        client.expect(BINARY, &large);
        client.expect_close(1000);
        client.expect_end();
        server.finish();
    });
}

/// RFC 6455 section 1.4: data after a close frame is discarded.
#[test]
fn data_after_the_close_frame_of_the_peer_is_ignored() {
    on_every_engine_and_style(|setup| {
        let server = TestServer::echo(setup);
        let mut client = Client::open(server.address);
        let rest = [frame(TEXT, b"ignored"), frame(PING, b"ignored"), b"\xff\xff\xff".to_vec(), vec![0; 1 << 20]];
        client.write(&[frame(TEXT, b"before"), close_frame(1000, ""), rest.concat()].concat());
        client.expect(TEXT, b"before");
        client.expect_close(1000);
        client.expect_end();
        server.finish();
    });
}

/// A WebSocket can outlive its handler's future. Dropping it closes it.
#[test]
fn a_web_socket_can_move_to_a_thread() {
    on_every_engine(|setup| {
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let passed = passed.clone();
            thread::spawn(move || {
                block_on(async move {
                    passed.pass().await;
                    while let Some(message) = ws.recv().await? {
                        ws.send(message).await?;
                    }
                    Ok::<(), Error>(())
                })
            });
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"who is there?");
        gate.open();
        client.expect(TEXT, b"who is there?");
        client.close();
        server.finish();
    });
}
