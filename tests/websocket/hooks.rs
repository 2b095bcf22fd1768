//! The hooks of applications around their WebSockets: before the 101, after it, and at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::web::{HttpConfig, RequestHead};
use tidegate::websocket::{Closed, DeflateConfig, Disconnected, Error, Extensions, HandlerError, upgrade};

use crate::deadlines::on_every_engine_at_once;
use crate::handler::{Gate, reports};
use crate::support::client::{Client, HANDSHAKE, PATIENCE, TEXT, close_frame, frame};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

struct User(String);

/// Returns the response to [`HANDSHAKE`] with another target and one more field.
fn ask(server: &TestServer, target: &str, field: &str) -> (Client, u16, String) {
    let mut client = Client::connect(server.address);
    let request = HANDSHAKE.replace("GET /ws", &format!("GET {target}"));
    client.write(request.replacen("\r\n", &format!("\r\n{field}\r\n"), 1).as_bytes());
    let response = client.http_response();
    (client, response.status, response.body)
}

/// `authorize` answers with any response, or attaches its value to the connection.
#[test]
fn authorizing_answers_or_attaches_a_value() {
    on_every_engine(|setup| {
        let greet = upgrade(|mut ws: WebSocket| async move {
            let user = ws.extension::<User>().expect("a user was attached");
            ws.send(format!("hello {}", user.0)).await?;
            echo(ws).await
        });
        let greet = greet.authorize(async |head: &RequestHead| match head.header("authorization") {
            // It can wait.
            Some(name) => {
                tidegate::engine::time::sleep(Duration::from_millis(1)).await;
                Ok(User(format!("{name} of {}", head.param("room").unwrap_or_default())))
            }
            None => Err(Response::text(head.raw_query().unwrap_or_default().to_owned())
                .with_status(http::StatusCode::UNAUTHORIZED)),
        });
        let server = TestServer::start(setup, Router::new().get("/ws/:room", greet));
        let (mut client, status, body) = ask(&server, "/ws/blue?who=you", "X-Nothing: 1");
        assert_eq!((status, body.as_str()), (401, "who=you"));
        client.write(HANDSHAKE.replace("GET /ws", "GET /nowhere").as_bytes());
        assert_eq!(client.http_response().status, 404, "the connection is still HTTP");
        drop(client);
        let (mut client, status, _) = ask(&server, "/ws/blue", "Authorization: Ada");
        assert_eq!(status, 101);
        client.expect(TEXT, b"hello Ada of blue");
        client.check_echo(TEXT, b"and on");
        client.close();
        server.finish();
    });
}

/// `authorize` runs last, only on requests that would be accepted. Frames behind them wait; its panic is answered with
/// 500.
#[test]
fn authorizing_is_the_last_check() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let handler = upgrade(echo).authorize(async move |head: &RequestHead| {
            report.send(head.target().to_owned()).unwrap();
            tidegate::engine::time::sleep(Duration::from_millis(1)).await;
            assert_ne!(head.raw_query(), Some("panic"), "as the test asked for");
            Ok::<_, Response>(())
        });
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let (_, status, _) = ask(&server, "/ws?evil", "Origin: http://evil.example");
        assert_eq!(status, 403);
        let (_, status, _) = ask(&server, "/ws?twice", "Sec-WebSocket-Version: 13");
        assert_eq!(status, 400);
        let (_, status, body) = ask(&server, "/ws?panic", "X-Nothing: 1");
        assert_eq!((status, body.contains("as the test")), (500, false));
        assert_eq!(reports.next(), "/ws?panic", "it did not run on the other requests");
        let mut client = Client::connect(server.address);
        client.write(&[HANDSHAKE.as_bytes(), &frame(TEXT, b"early")].concat());
        client.expect_upgraded();
        client.expect(TEXT, b"early");
        client.close();
        server.finish();
    });
}

/// `authorize` is dropped when the peer disconnects.
#[test]
fn authorizing_ends_with_the_peer() {
    struct Asked(Sender<()>);
    impl Drop for Asked {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    on_every_engine(|setup| {
        let (tell, told) = channel();
        let (report, reports) = reports();
        let handler = upgrade(echo).handshake_timeout(Duration::from_secs(3600));
        let handler = handler.authorize(async move |_head: &RequestHead| {
            let _asked = Asked(tell.clone());
            report.send(()).unwrap();
            Gate::default().pass().await;
            Ok::<_, Response>(())
        });
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let mut client = Client::connect(server.address);
        client.write(HANDSHAKE.as_bytes());
        reports.next();
        // A FIN alone is not enough: half-closed clients get their answers.
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        told.recv_timeout(PATIENCE).expect("`authorize` is dropped");
        server.finish();
    });
}

/// An `authorize` that takes longer than the handshake timeout is answered with 503.
#[test]
fn authorizing_too_slowly_is_answered_with_503() {
    on_every_engine(|setup| {
        let never = upgrade(echo)
            .authorize(async |_head: &RequestHead| {
                Gate::default().pass().await;
                Ok::<_, Response>(())
            })
            .handshake_timeout(Duration::from_millis(20));
        let server = TestServer::start(setup, Router::new().get("/ws", never));
        let (client, status, _) = ask(&server, "/ws", "X-Nothing: 1");
        assert_eq!(status, 503);
        drop(client);
        server.finish();
    });
}

/// Attackers send their handshakes slowly.
#[test]
fn a_handshake_that_takes_too_long_to_arrive_is_answered_with_408() {
    on_every_engine_at_once(|setup| {
        let app = Router::new().get("/ws", upgrade(echo));
        let http = HttpConfig::default().header_timeout(Duration::from_secs(3));
        let builder = Server::builder(app).bind("127.0.0.1:0").unwrap().config(setup.config.clone()).http(http);
        let running = builder.start().unwrap();
        let mut client = Client::connect(running.local_addr().unwrap());
        client.write(&HANDSHAKE.as_bytes()[..HANDSHAKE.len() - 1]);
        assert_eq!(client.http_response().status, 408);
        drop(client);
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    });
}

/// An error of `on_connect` closes with its code; the handler and `on_disconnect` do not run.
#[test]
fn an_error_after_the_handshake_closes_with_its_code() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let refuse = upgrade(|ws: WebSocket| echo(ws))
            .keep_request()
            .on_connect(async |ws: &mut WebSocket| {
                ws.send("a moment").await?;
                match ws.request().and_then(|head| head.raw_query()) {
                    Some("code") => Err(HandlerError::close(CloseCode::new(4123), "not today")),
                    Some("error") => Err(std::io::Error::other("secret").into()),
                    Some("text") => Err(HandlerError::new("secret")),
                    Some("full") => Err(Error::Full.into()),
                    _ => Ok(()),
                }
            })
            .on_disconnect(move |_: &Disconnected<'_>| report.send(()).unwrap());
        let server = TestServer::start(setup, Router::new().get("/ws", refuse));
        for (target, code, reason) in
            [("/ws?code", 4123, "not today"), ("/ws?error", 1008, ""), ("/ws?text", 1008, ""), ("/ws?full", 1013, "")]
        {
            let (mut client, status, _) = ask(&server, target, "X-Nothing: 1");
            assert_eq!(status, 101);
            client.expect(TEXT, b"a moment");
            assert_eq!(client.expect_close(code), reason);
            client.write(&close_frame(code, ""));
            client.expect_end();
        }
        let (mut client, _, _) = ask(&server, "/ws", "X-Nothing: 1");
        client.expect(TEXT, b"a moment");
        client.check_echo(TEXT, b"welcome");
        client.close();
        reports.next();
        server.finish();
        assert!(reports.is_over(), "refused peers have not connected");
    });
}

/// A call of an `on_disconnect` hook.
#[derive(Debug, PartialEq)]
struct Told {
    query: String,
    code: u16,
    panicked: bool,
}

/// Starts a server whose handler does what the query of the request says.
fn told_server(setup: &Setup) -> (TestServer, Receiver<Told>) {
    let (tell, told) = channel();
    let handler = upgrade(|mut ws: WebSocket| async move {
        let query = ws.request().and_then(|head| head.raw_query()).unwrap_or_default().to_owned();
        ws.extensions().insert(query.clone());
        ws.send("ready").await?;
        ws.recv().await?;
        match query.as_str() {
            "panic" => panic!("as the test asked for"),
            "abort" => ws.abort(),
            "drop" => drop(ws),
            "error" => return Err(HandlerError::new("as the test asked for")),
            _ => return echo(ws).await,
        }
        Ok(())
    });
    let handler = handler.keep_request().on_disconnect(move |ended: &Disconnected<'_>| {
        let query = ended.extensions().get::<String>().expect("the handler kept it");
        assert_eq!(ended.request().and_then(|head| head.raw_query()), Some(query.as_str()));
        let code = ended.close_code().value();
        tell.send(Told { query: (*query).clone(), code, panicked: ended.panicked() }).unwrap();
        assert_ne!(*query, "panic", "a hook that panics while its handler does");
    });
    (TestServer::start(setup, Router::new().get("/ws", handler)), told)
}

/// `on_disconnect` runs once after returns, errors, panics, aborts, losses and a shutdown.
#[test]
fn every_connection_that_connected_disconnects_once() {
    on_every_engine(|setup| {
        let (server, told) = told_server(setup);
        let ends = [("panic", 1006), ("abort", 1006), ("drop", 1000), ("error", 1011), ("close", 4000), ("lost", 1006)];
        for (query, code) in ends {
            let (mut client, _, _) = ask(&server, &format!("/ws?{query}"), "X-Nothing: 1");
            client.expect(TEXT, b"ready");
            match query {
                "close" => client.write(&close_frame(4000, "")),
                "lost" => {
                    client.finish_writing();
                }
                _ => client.send(TEXT, b"go on"),
            }
            if matches!(query, "drop" | "error") {
                client.expect_close(code);
                client.write(&close_frame(code, ""));
            }
            let end = told.recv_timeout(PATIENCE).expect("the hook runs");
            assert_eq!(end, Told { query: query.to_owned(), code, panicked: query == "panic" });
            drop(client);
        }
        let (mut client, _, _) = ask(&server, "/ws?shutdown", "X-Nothing: 1");
        client.expect(TEXT, b"ready");
        let shutdown = Shutdown::default().drain_timeout(Duration::ZERO);
        server.running.shutdown(shutdown);
        assert_eq!(told.recv_timeout(PATIENCE).expect("the hook runs").query, "shutdown");
        assert!(told.recv_timeout(PATIENCE).is_err(), "the hook runs once for each, and the server is gone");
    });
}

/// With many connections at once, `on_connect` and `on_disconnect` run equally often.
#[test]
fn as_many_connections_disconnect_as_have_connected() {
    const CONNECTIONS: usize = 60;
    on_every_engine(|setup| {
        let connected = Arc::new(AtomicIsize::new(0));
        let (up, down) = (Arc::clone(&connected), Arc::clone(&connected));
        let (tell, told) = channel();
        let handler = upgrade(|mut ws: WebSocket| async move {
            match ws.recv().await?.as_ref().and_then(Message::as_text) {
                Some("panic") => panic!("as the test asked for"),
                Some("abort") => ws.abort(),
                _ => {}
            }
            Ok(())
        });
        let handler = handler
            .on_connect(async move |_ws: &mut WebSocket| {
                up.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .on_disconnect(move |_: &Disconnected<'_>| {
                down.fetch_sub(1, Ordering::SeqCst);
                tell.send(()).unwrap();
            });
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::open(server.address)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 4 {
                0 => client.send(TEXT, b"panic"),
                1 => client.send(TEXT, b"abort"),
                2 => client.write(&close_frame(1000, "")),
                // These disconnect without a close frame.
                _ => client.finish_writing(),
            }
        }
        drop(clients);
        for _ in 0..CONNECTIONS {
            told.recv_timeout(PATIENCE).expect("the hook runs for each");
        }
        server.running.shutdown(Shutdown::default());
        assert!(told.recv().is_err(), "once");
        assert_eq!(connected.load(Ordering::SeqCst), 0);
    });
}

/// A WebSocket that was given to a thread stays connected until it is dropped.
#[test]
fn a_web_socket_that_was_given_away_disconnects_when_it_is_dropped() {
    on_every_engine(|setup| {
        let (tell, told) = channel();
        let handler = upgrade(move |ws: WebSocket| async move {
            thread::spawn(move || block_on(echo(ws)));
            Ok(())
        });
        let handler = handler.on_disconnect(move |ended: &Disconnected<'_>| {
            tell.send((ended.close_code().value(), ended.panicked())).unwrap();
        });
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let mut client = Client::open(server.address);
        client.check_echo(TEXT, b"by a thread");
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        client.close();
        assert_eq!(told.recv_timeout(PATIENCE), Ok((1000, false)));
        server.finish();
    });
}

/// `or_else` answers requests that are skipped, and those that ask for no WebSocket.
#[test]
fn skipped_requests_and_ordinary_ones_go_to_the_next_handler() {
    on_every_engine(|setup| {
        let page = |_request: Request| async { Response::text("page") };
        let handler =
            upgrade(echo).or_else(page).skip(|head| head.raw_query() == Some("skip")).skip_paths(["/ws/skipped"]);
        let bare = upgrade(echo).skip_paths(["/bare"]);
        let app = Router::new().get("/ws/:name", handler).get("/bare", bare);
        let server = TestServer::start(setup, app);
        for target in ["/ws/skipped", "/ws/other?skip"] {
            let (_, status, body) = ask(&server, target, "X-Nothing: 1");
            assert_eq!((status, body.as_str()), (200, "page"), "{target}");
        }
        let (_, status, _) = ask(&server, "/bare", "X-Nothing: 1");
        assert_eq!(status, 404);
        let mut client = Client::connect(server.address);
        client.write(b"GET /ws/other HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(client.http_response().body, "page");
        drop(client);
        let (client, status, _) = ask(&server, "/ws/other", "X-Nothing: 1");
        assert_eq!(status, 101);
        client.close();
        server.finish();
    });
}

/// The request, the extensions and `closed` of a connection are valid for its whole life.
#[test]
fn the_attachments_of_a_connection_live_as_long_as_it() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let handler = upgrade(async move |mut ws: WebSocket| {
            let (extensions, closed) = (ws.extensions(), ws.closed());
            extensions.insert(0_u32);
            report.send((extensions.clone(), closed)).unwrap();
            while let Some(message) = ws.recv().await? {
                let head = ws.request().expect("the request is kept");
                let name = message.as_text().unwrap_or_default();
                let answer = head.param(name).or(head.header(name)).or(head.raw_query()).unwrap_or_default().to_owned();
                let count = extensions.get::<u32>().map_or(0, |count| *count);
                ws.send(format!("{answer} {count}")).await?;
            }
            Ok(())
        });
        let server = TestServer::start(setup, Router::new().get("/ws/:room", handler.keep_request()));
        let (mut client, _, _) = ask(&server, "/ws/blue%20one?a=b", "X-Color: red");
        let (extensions, closed): (Extensions, _) = reports.next();
        for (number, (name, value)) in [("room", "blue one"), ("x-color", "red"), ("", "a=b")].into_iter().enumerate() {
            extensions.insert(number as u32);
            client.send(TEXT, name.as_bytes());
            client.expect(TEXT, format!("{value} {number}").as_bytes());
        }
        assert!(!closed.is_closed());
        client.close();
        block_on(closed.clone());
        assert!(closed.is_closed());
        server.finish();
    });
}

/// `Closed` completes when the connection ends, even while the handler does not read.
#[test]
fn closed_completes_whatever_the_handler_does() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let closed: Closed = ws.closed();
            drop(closed.clone());
            ws.recv().await?;
            ws.send("unread").await?;
            report.send((closed.clone(), ws.closed())).unwrap();
            passed.pass().await;
            assert!(closed.is_closed());
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"go");
        let (first, second) = reports.next();
        assert!(!first.is_closed() && !second.is_closed());
        // Closing a socket with unread input resets the connection.
        assert_eq!(client.stream.peek(&mut [0]).unwrap(), 1);
        drop(client);
        block_on(first);
        block_on(second);
        gate.open();
        server.finish();
    });
}

/// Agreements, extensions and the kept request do not interfere.
#[test]
fn a_connection_can_have_everything_at_once() {
    on_every_engine(|setup| {
        let (tell, told) = channel();
        let handler = upgrade(|mut ws: WebSocket| async move {
            let closed = ws.closed();
            let about = format!(
                "{} {} {} {} {}",
                ws.subprotocol().unwrap_or_default(),
                ws.request().and_then(|head| head.param("room")).unwrap_or_default(),
                ws.extension::<User>().map(|user| user.0.clone()).unwrap_or_default(),
                ws.compression().is_some(),
                closed.is_closed()
            );
            ws.send(about).await?;
            echo(ws).await
        });
        let handler = handler
            .subprotocols(["chat"])
            .compression(DeflateConfig::default())
            .keep_request()
            .authorize(async |_head: &RequestHead| Ok::<_, Response>(User("Ada".to_owned())))
            .on_connect(async |ws: &mut WebSocket| {
                ws.extensions().insert(7_u8);
                Ok(())
            })
            .on_disconnect(move |ended: &Disconnected<'_>| {
                tell.send((ended.close_code().value(), ended.extensions().get::<u8>().map(|value| *value))).unwrap();
            });
        let server = TestServer::start(setup, Router::new().get("/:room", handler));
        let mut client = Client::connect(server.address);
        let fields = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate";
        let request = HANDSHAKE.replace("GET /ws", "GET /blue");
        client.write(request.replacen("\r\n", &format!("\r\n{fields}\r\n"), 1).as_bytes());
        let response = client.http_response();
        assert_eq!(response.status, 101);
        assert!(response.head.contains("sec-websocket-protocol: chat\r\n"), "{response:?}");
        assert!(response.head.contains("sec-websocket-extensions: permessage-deflate"), "{response:?}");
        client.expect(TEXT, b"chat blue Ada true false");
        client.check_echo(TEXT, b"short, and so not compressed");
        client.close();
        assert_eq!(told.recv_timeout(PATIENCE), Ok((1000, Some(7))));
        server.finish();
    });
}
