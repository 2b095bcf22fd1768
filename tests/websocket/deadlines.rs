//! Deadlines and timeouts, on every engine.
//!
//! No deadline may be accepted and then ignored. Tests that wait for time to pass run on all setups at once, to wait
//! only once.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use tidegate::engine::CloseCause;
use tidegate::prelude::*;
use tidegate::web::HttpConfig;
use tidegate::websocket::{Error, HandlerError, Opcode};

use crate::handler::reports;
use crate::support::client::{BINARY, Client, PATIENCE, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine, setups};

const SHORT: Duration = Duration::from_millis(100);

/// Long enough that a busy machine does not stall a client for as long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

pub fn on_every_engine_at_once(test: impl Fn(&Setup) + Sync) {
    thread::scope(|scope| {
        for setup in setups() {
            let test = &test;
            thread::Builder::new().name(setup.name.to_owned()).spawn_scoped(scope, move || test(&setup)).unwrap();
        }
    });
}

/// As [`on_every_engine_at_once`], also with echoes that are event handlers.
pub fn on_every_engine_and_style_at_once(test: impl Fn(&Setup) + Sync) {
    on_every_engine_at_once(|setup| {
        let events = Setup { events: true, ..setup.clone() };
        thread::scope(|scope| {
            scope.spawn(|| test(&events));
            test(setup);
        });
    });
}

#[test]
fn a_read_deadline_leaves_the_connection_usable() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let deadline = Instant::now() + SHORT;
            ws.set_read_deadline(Some(deadline));
            let result = ws.recv().await;
            report.send((matches!(result, Err(Error::ReadDeadline)), Instant::now() >= deadline)).unwrap();
            // A passed deadline does not withhold a message that has arrived.
            ws.send("say something").await?;
            ws.set_read_deadline(None);
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        assert_eq!(reports.next(), (true, true));
        client.expect(TEXT, b"say something");
        client.check_echo(TEXT, b"something");
        client.close();
        server.finish();
    });
}

#[test]
fn a_silent_peer_gets_close_1001() {
    let config = WebSocketConfig::default().idle_timeout(SHORT);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config.clone(), async move |ws: WebSocket| {
            let result = echo(ws).await;
            let error = result.as_ref().err().and_then(HandlerError::downcast_ref);
            report.send(matches!(error, Some(Error::Idle))).unwrap();
            result
        });
        let mut client = Client::open(server.address);
        client.expect_close(1001);
        assert!(reports.next());
        client.write(&close_frame(1001, ""));
        client.expect_end();
        server.finish();
    });
}

#[test]
fn any_frame_keeps_a_connection_from_being_idle() {
    let config = WebSocketConfig::default().idle_timeout(IDLE_TIMEOUT);
    on_every_engine_and_style_at_once(|setup| {
        let server = TestServer::echo_with(setup, config.clone());
        let mut client = Client::open(server.address);
        let end = Instant::now() + IDLE_TIMEOUT + SHORT * 5;
        while Instant::now() < end {
            client.send(PING, b"here");
            client.expect(PONG, b"here");
        }
        client.expect_close(1001);
        client.write(&close_frame(1001, ""));
        client.expect_end();
        server.finish();
    });
}

#[test]
fn a_write_deadline_ends_a_connection_that_does_not_read() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let result = loop {
                ws.set_write_deadline(Some(Instant::now() + SHORT));
                if let Err(error) = ws.send(vec![0; 1 << 20]).await {
                    break error;
                }
            };
            report.send(result).unwrap();
            Ok(())
        });
        let client = Client::open(server.address);
        let error = reports.next();
        assert!(matches!(error, Error::Closed(CloseCause::WriteDeadline)), "{error:?}");
        client.expect_reset();
        server.finish();
    });
}

/// Neither a pong nor a message waits for space forever, and no handler has to check.
#[test]
fn a_peer_that_takes_nothing_is_reset_after_the_write_timeout() {
    let config = WebSocketConfig::default().write_timeout(SHORT);
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config.clone(), async move |mut ws: WebSocket| {
            let result = match ws.recv().await {
                Ok(Some(_)) => loop {
                    if let Err(error) = ws.send(vec![0; 1 << 20]).await {
                        break Err(error);
                    }
                },
                other => other.map(drop),
            };
            report.send(result).unwrap();
            Ok(())
        });
        for flood in [frame(PING, &[0; 125]).repeat(100), frame(TEXT, b"send something")] {
            let mut client = Client::open(server.address);
            while client.stream.write_all(&flood).is_ok() {}
            let end = reports.next();
            assert!(matches!(end, Err(Error::Closed(CloseCause::WriteTimeout))), "{end:?}");
            drop(client);
        }
        server.finish();
    });
}

/// The timeouts of HTTP do not apply after an upgrade.
#[test]
fn timeouts_of_http_end_with_http() {
    on_every_engine_at_once(|setup| {
        let http = HttpConfig::default()
            .header_timeout(IDLE_TIMEOUT)
            .keep_alive_timeout(IDLE_TIMEOUT)
            .content_timeout(IDLE_TIMEOUT)
            .write_timeout(IDLE_TIMEOUT)
            .handler_timeout(IDLE_TIMEOUT);
        let app = Router::new().get("/ws", websocket::upgrade(echo));
        let builder = Server::builder(app).bind("127.0.0.1:0").unwrap().config(setup.config.clone()).http(http);
        let running = builder.start().unwrap();
        let address = running.local_addr().unwrap();
        let (mut silent, mut busy) = (Client::open(address), Client::open(address));
        let end = Instant::now() + IDLE_TIMEOUT + SHORT * 5;
        while Instant::now() < end {
            busy.write(&frame(TEXT, b"busy"));
            busy.expect(TEXT, b"busy");
        }
        silent.check_echo(TEXT, b"no longer silent");
        silent.close();
        busy.close();
        TestServer { running, address }.finish();
    });
}

/// A send whose deadline passes queues nothing, and the connection stays usable.
#[test]
fn a_send_waits_no_longer_than_its_deadline() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let sender = ws.sender();
            let mut sent = 0_usize;
            while sender.try_send(vec![7; 1 << 18]).is_ok() {
                sent += 1;
            }
            // Fills the kernel's buffers first, for a peer that reads nothing.
            loop {
                let message = ws.send_with_deadline(vec![7; 1 << 18], Instant::now() + SHORT).await;
                let ping = ws.send_control(Opcode::Ping, b"no space", Instant::now() + SHORT).await;
                sent += usize::from(message.is_ok());
                let refused = [message, ping].into_iter().filter_map(Result::err).collect::<Vec<_>>();
                assert!(refused.iter().all(|error| matches!(error, Error::SendDeadline)), "{refused:?}");
                if refused.len() == 2 {
                    break;
                }
            }
            // Refused until the queue is below the low mark, which can be soon.
            assert!(ws.queued_bytes() > 0);
            report.send(sent).unwrap();
            ws.send_with_deadline("the last", Instant::now() + PATIENCE).await?;
            assert!(ws.recv().await?.is_none());
            Ok(())
        });
        let mut client = Client::open(server.address);
        let (sent, mut messages) = (reports.next(), 0);
        let last = loop {
            let frame = client.next().expect("a frame before the end of the stream");
            match frame.first {
                BINARY => messages += usize::from(frame.payload == [7; 1 << 18]),
                PING => {}
                _ => break frame,
            }
        };
        assert!(last.first == TEXT && last.payload == b"the last", "{last:?}");
        assert_eq!(messages, sent);
        client.close();
        server.finish();
    });
}

/// A connection changes its own timeouts and limits while it is open.
#[test]
fn timeouts_and_limits_can_change_while_a_connection_is_open() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let config = WebSocketConfig::default().idle_timeout(SHORT);
        let server = TestServer::serve(setup, config, async move |mut ws: WebSocket| {
            ws.set_idle_timeout(None);
            ws.connection().timer().sleep(3 * SHORT).await;
            assert_eq!(ws.recv().await?, Some(Message::from("not idle")));
            ws.set_message_bytes_max(3);
            assert_eq!(ws.message_bytes_max(), 3);
            assert_eq!(ws.recv().await?, Some(Message::from("far")));
            ws.set_idle_timeout(Some(SHORT));
            report.send(ws.recv().await).unwrap();
            Ok(())
        });
        for too_far in [false, true] {
            let mut client = Client::open(server.address);
            // In one write: a busy machine must not come between them.
            let further = if too_far { frame(TEXT, b"further") } else { Vec::new() };
            client.write(&[frame(TEXT, b"not idle"), frame(TEXT, b"far"), further].concat());
            client.expect_close(if too_far { 1009 } else { 1001 });
            let result = reports.next();
            match too_far {
                false => {
                    assert!(matches!(result, Err(Error::Idle)), "{result:?}");
                    client.write(&close_frame(1001, ""));
                }
                true => assert!(matches!(result, Err(Error::Protocol(_))), "{result:?}"),
            }
            client.expect_end();
        }
        server.finish();
    });
}

/// The handler waits for something else than a read, for ever.
#[test]
fn the_idle_timeout_holds_whatever_the_handler_waits_for() {
    let mut config = WebSocketConfig::default();
    config.idle_timeout = Some(SHORT);
    config.close_timeout = SHORT;
    on_every_engine_at_once(|setup| {
        let server = TestServer::serve(setup, config.clone(), |mut ws: WebSocket| async move {
            ws.closed().await;
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.expect_close(1001);
        client.expect_reset();
        server.finish();
    });
}

#[test]
fn the_idle_timeout_comes_back_when_a_read_deadline_is_removed() {
    let mut config = WebSocketConfig::default();
    config.idle_timeout = Some(SHORT);
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config.clone(), move |mut ws: WebSocket| {
            let report = report.clone();
            async move {
                ws.set_read_deadline(Some(Instant::now() + Duration::from_secs(3600)));
                ws.set_read_deadline(None);
                report.send(matches!(ws.recv().await, Err(Error::Idle))).unwrap();
                Ok(())
            }
        });
        let mut client = Client::open(server.address);
        client.expect_close(1001);
        assert!(reports.next());
        client.write(&close_frame(1001, ""));
        client.expect_end();
        server.finish();
    });
}

/// The heartbeat of other libraries: each pong renews the deadline of reads.
#[test]
fn a_pong_handler_can_renew_the_read_deadline() {
    const PONG_WAIT: Duration = IDLE_TIMEOUT;
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| {
            let report = report.clone();
            async move {
                ws.set_read_deadline(Some(Instant::now() + PONG_WAIT));
                ws.on_pong(|sender, _payload| {
                    sender.set_read_deadline(Some(Instant::now() + PONG_WAIT));
                    sender.try_send("renewed")
                });
                report.send(matches!(ws.recv().await, Err(Error::ReadDeadline))).unwrap();
                Ok(())
            }
        });
        let mut client = Client::open(server.address);
        let end = Instant::now() + PONG_WAIT + SHORT * 5;
        while Instant::now() < end {
            client.send(PONG, b"");
            client.expect(TEXT, b"renewed");
        }
        assert!(reports.next());
        client.expect_close(1000);
        client.write(&close_frame(1000, ""));
        client.expect_end();
        server.finish();
    });
}
