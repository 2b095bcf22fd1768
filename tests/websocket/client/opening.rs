//! The opening handshake of clients.

use std::time::Duration;

use tidegate::engine::{Engine, block_on};
use tidegate::prelude::*;
use tidegate::web::RequestHead;
use tidegate::websocket::{ConnectError, blocking, connect};

use super::run;
use crate::support::raw_server::{RawServer, field};
use crate::support::servers::{TestServer, echo, on_every_engine, setups};

/// The request that a server sees.
#[test]
fn a_request_has_the_applications_headers_and_not_the_reserved_ones() {
    let server = RawServer::start(setups().len(), |mut peer| {
        let head = peer.accept("Sec-WebSocket-Protocol: two\r\nX-Answer: 42\r\n");
        assert!(head.starts_with("GET /ws?a=b HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("Host", format!("{}", peer.stream.local_addr().unwrap())),
            ("Sec-WebSocket-Protocol", "one, two".to_owned()),
            ("Sec-WebSocket-Version", "13".to_owned()),
            ("Origin", "https://app.example".to_owned()),
            ("Authorization", "Basic bWU6c2VjcmV0".to_owned()),
            ("X-More", "1".to_owned()),
        ] {
            assert_eq!(field(&head, name), Some(value.as_str()), "{head}");
        }
        for reserved in ["evil.example", "chunked", "Content-Length"] {
            assert!(!head.contains(reserved), "{head}");
        }
        peer.expect(0x88, b"\x03\xe8");
        peer.send(0x88, b"\x03\xe8");
    });
    on_every_engine(|setup| {
        let url = format!("{}?a=b", server.url());
        run(setup, move || async move {
            let opened = connect(url)
                .header("X-More", "1")
                .header("Host", "evil.example")
                .header("Transfer-Encoding", "chunked")
                .header("Content-Length", "5")
                .header("Sec-WebSocket-Version", "8")
                .subprotocols(["one", "two"])
                .origin("https://app.example")
                .bearer("replaced")
                .basic_auth("me", "secret");
            let (mut ws, response) = opened.await.unwrap();
            assert_eq!((response.status().as_u16(), &response.headers()["x-answer"]), (101, &"42".parse().unwrap()));
            assert_eq!(ws.subprotocol(), Some("two"));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
    });
    server.finish();
}

#[test]
fn a_bearer_token_is_sent() {
    let server = RawServer::start(setups().len(), |mut peer| {
        let head = peer.accept("");
        assert_eq!(field(&head, "Authorization"), Some("Bearer me.secret"), "{head}");
        peer.expect(0x88, b"\x03\xe8");
        peer.send(0x88, b"\x03\xe8");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).basic_auth("me", "replaced").bearer("me.secret").await.unwrap();
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
    });
    server.finish();
}

/// From a handler's thread, from outside, and without an engine at all.
#[test]
fn clients_open_on_any_thread() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let url = format!("ws://{}/ws", server.address);
        let inside = url.clone();
        run(setup, move || async move {
            let (mut ws, _) = connect(inside).await.unwrap();
            ws.send("inside").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("inside".into()));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
            assert!(ws.is_closed_cleanly());
        });
        let client = Engine::client(setup.config.clone()).unwrap();
        block_on(async {
            let (mut ws, _) = connect(&*url).on_engine(&client.handle()).await.unwrap();
            ws.send("outside").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("outside".into()));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
        assert_eq!(client.shutdown(Shutdown::default()).forced, 0);
        let (mut ws, response) = blocking::connect(&*url).unwrap();
        assert_eq!(response.status().as_u16(), 101);
        ws.send("blocking").unwrap();
        assert_eq!(ws.recv().unwrap(), Some("blocking".into()));
        let timeout = ws.recv_timeout(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(timeout, websocket::Error::ReadDeadline), "{timeout}");
        ws.close(CloseCode::NORMAL, "").unwrap();
        assert!(ws.next().is_none());
        server.finish();
    });
}

#[test]
fn elsewhere_an_engine_has_to_be_named() {
    let error = block_on(async { connect("ws://127.0.0.1:1/").await }).unwrap_err();
    assert!(matches!(error, ConnectError::Connection(_)), "{error}");
    assert!(!error.is_temporary());
}

/// A handler that is a client of another server: its own WebSocket is closed with its result, the other with 1000.
#[test]
fn a_handler_can_be_a_client() {
    on_every_engine(|setup| {
        let upstream = TestServer::echo(setup);
        let url = format!("ws://{}/ws", upstream.address);
        let front = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let (mut other, _) = connect(url.clone()).await?;
            while let Some(message) = ws.recv().await? {
                other.send(message).await?;
                let answer = other.recv().await?.ok_or(websocket::Error::Lost)?;
                ws.send(answer).await?;
            }
            Ok(())
        });
        let (mut ws, _) = blocking::connect(format!("ws://{}/ws", front.address)).unwrap();
        for number in 0..100 {
            ws.send(number.to_string()).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(number.to_string().into()));
        }
        ws.close(CloseCode::NORMAL, "").unwrap();
        front.finish();
        upstream.finish();
    });
}

#[test]
fn a_client_connects_to_a_unix_socket() {
    on_every_engine(|setup| {
        let name = format!("@tidegate-client-{}-{}", std::process::id(), setup.name.replace('/', "-"));
        let app = Router::new().get("/ws", websocket::upgrade(echo));
        let server = Server::builder(app).bind_unix(&name).config(setup.config.clone()).start().unwrap();
        run(setup, move || async move {
            let (mut ws, _) = connect("ws://localhost/ws").unix_socket(name).await.unwrap();
            ws.send("over a file").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("over a file".into()));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
        assert_eq!(server.shutdown(Shutdown::default()).forced, 0);
    });
}

#[test]
fn redirects_are_followed_as_far_as_they_are_allowed() {
    on_every_engine(|setup| {
        let target = TestServer::start(
            setup,
            Router::new().get(
                "/ws",
                websocket::upgrade(async |mut ws| Ok(ws.send("arrived").await?)).authorize(
                    async |head: &RequestHead| {
                        // Another server than the one that the application named.
                        match head.header("Authorization") {
                            None => Ok(()),
                            Some(_) => Err("credentials went to another server"),
                        }
                    },
                ),
            ),
        );
        let location = format!("http://{}/ws", target.address);
        let redirect = |location: String| {
            async move |_request: Request| {
                let response = Response::text("").with_status(302.try_into().unwrap());
                response.with_header("Location".try_into().unwrap(), location.parse().unwrap())
            }
        };
        let app = Router::new()
            .get("/first", redirect("second?x=1".to_owned()))
            .get("/second", redirect(location))
            .get("/circle", redirect("/circle".to_owned()))
            .get("/file", redirect("file:///etc/passwd".to_owned()));
        let server = TestServer::start(setup, app);
        let url = format!("ws://{}", server.address);
        run(setup, move || async move {
            let first = connect(format!("{url}/first")).bearer("secret");
            let (mut ws, _) = first.clone().max_redirects(2).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("arrived".into()));
            assert_eq!(ws.recv().await.unwrap(), None);
            drop(ws);

            let refused = first.clone().await.unwrap_err();
            assert_eq!(refused.response().unwrap().status().as_u16(), 302);
            let too_many = first.max_redirects(1).await.unwrap_err();
            assert!(matches!(too_many, ConnectError::TooManyRedirects { .. }), "{too_many}");
            let circle = connect(format!("{url}/circle")).max_redirects(20).await.unwrap_err();
            assert!(matches!(circle, ConnectError::TooManyRedirects { .. }), "{circle}");
            let file = connect(format!("{url}/file")).max_redirects(1).await.unwrap_err();
            assert!(matches!(file, ConnectError::Redirect { .. }), "{file}");
        });
        server.finish();
        target.finish();
    });
}
