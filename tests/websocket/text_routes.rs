//! Requests as text messages, and their responses.

use serde_json::{Value, json};
use tidegate::http::Method;
use tidegate::prelude::*;
use tidegate::websocket::{MessageKind, Sender, TextRequest, TextResponse, TextRoutes, upgrade};

use crate::handler::{Gate, reports};
use crate::support::client::{BINARY, CONTINUATION, Client, FIN, PING, PONG, TEXT, frame};
use crate::support::servers::{Setup, TestServer, on_every_engine};

fn panics() -> Method {
    Method::from_bytes(b"PANIC").expect("a token")
}

fn routes(hub: Hub) -> TextRoutes {
    TextRoutes::new()
        .get("/rooms/:room/:name", async |request: TextRequest| {
            let params: Vec<_> = request.params().map(|(name, value)| format!("{name}={value}")).collect();
            TextResponse::ok()
                .with_body(&json!({"params": params, "query": request.query(), "method": request.method()}))
        })
        .get("/rooms/all", async |_request: TextRequest| TextResponse::new(299, "almost"))
        .post("/sum", async |request: TextRequest| {
            let numbers: Vec<i64> = request.body()?;
            Ok(TextResponse::ok().with_body(&numbers.iter().sum::<i64>()))
        })
        .put("/count", async |request: TextRequest| {
            let count = request.extensions().get::<u32>().map_or(1, |count| *count + 1);
            request.extensions().insert(count);
            TextResponse::ok().with_body(&count)
        })
        .delete("/nothing", async |_request: TextRequest| ())
        .route(panics(), "/at/once", |_request: TextRequest| -> std::future::Ready<()> {
            panic!("as the test asked for")
        })
        .route(panics(), "/later", async |_request: TextRequest| {
            tidegate::engine::time::sleep(std::time::Duration::from_millis(1)).await;
            if true {
                panic!("as the test asked for");
            }
        })
        .post("/tell", async move |request: TextRequest| {
            let queued = hub.broadcast(TextResponse::broadcast("news", request.body_json())).queue().await;
            queued.map(|_| TextResponse::ok()).map_err(|_| TextResponse::new(503, "closed"))
        })
}

fn serve(setup: &Setup) -> TestServer {
    let hub = Hub::default();
    let routes = routes(hub.clone());
    let handler = upgrade(async move |mut ws: WebSocket| {
        let _member = hub.register(&ws)?;
        Ok(routes.serve(&mut ws).await?)
    });
    TestServer::start(setup, Router::new().get("/ws", handler))
}

fn next_json(client: &mut Client) -> Value {
    let frame = client.next().expect("a response");
    assert_eq!(frame.first, TEXT);
    serde_json::from_slice(&frame.payload).expect("JSON")
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(TEXT, request.to_string().as_bytes());
    next_json(client)
}

#[test]
fn requests_are_answered_by_their_routes() {
    on_every_engine(|setup| {
        let server = serve(setup);
        let mut client = Client::open(server.address);
        let found = ask(&mut client, &json!({"id": 3, "method": "GET", "target": "/rooms/blue%20one/all?a=%20"}));
        let body = json!({"params": ["room=blue one", "name=all"], "query": "a=%20", "method": "GET"});
        assert_eq!(found, json!({"id": 3, "code": 200, "message": "", "body": body}));
        let table = [
            (json!({"id": u64::MAX, "method": "GET", "target": "/rooms/all"}), 299, Value::Null),
            (json!({"id": 1, "method": "POST", "target": "/sum", "body": [1, 2, -4]}), 200, json!(-1)),
            (json!({"id": 1, "method": "PUT", "target": "/count", "other": "ignored"}), 200, json!(1)),
            (json!({"id": 0, "method": "PUT", "target": "/count?again"}), 200, json!(2)),
            (json!({"id": 9, "method": "DELETE", "target": "/nothing", "body": null}), 200, Value::Null),
        ];
        for (request, code, body) in table {
            let response = ask(&mut client, &request);
            assert_eq!((&response["id"], &response["code"]), (&request["id"], &json!(code)), "{request}");
            assert_eq!(response["body"], body, "{request}");
        }
        client.close();
        server.finish();
    });
}

/// Invalid requests and failing handlers are answered, and the WebSocket stays open.
#[test]
fn failures_are_answered_with_their_codes() {
    let get = |id: u64, target: &str| json!({"id": id, "method": "GET", "target": target}).to_string();
    let table = [
        (get(7, "/nowhere"), 7, 404),
        (get(7, "rooms/all"), 7, 404),
        (get(7, ""), 7, 404),
        (get(7, "/rooms//x"), 7, 404),
        (r#"{"id":7,"method":"POST","target":"/rooms/all"}"#.to_owned(), 7, 404),
        (r#"{"id":7,"method":"get","target":"/rooms/all"}"#.to_owned(), 7, 404),
        (r#"{"id":7,"method":"G T","target":"/rooms/all"}"#.to_owned(), 7, 404),
        (get(8, "/rooms/%ff/x"), 8, 400),
        (String::new(), 0, 400),
        ("no JSON".to_owned(), 0, 400),
        ("[1]".to_owned(), 0, 400),
        (r#"{"id":7,"method":"GET","target":"#.to_owned(), 0, 400),
        (r#"{"id":-1,"method":"GET","target":"/rooms/all"}"#.to_owned(), 0, 400),
        (r#"{"id":5,"target":"/rooms/all"}"#.to_owned(), 5, 400),
        ("[".repeat(100_000), 0, 400),
        (r#"{"id":6,"method":"POST","target":"/sum","body":"text"}"#.to_owned(), 6, 400),
        (
            format!(r#"{{"id":6,"method":"POST","target":"/sum","body":{}1{}}}"#, "[".repeat(500), "]".repeat(500)),
            6,
            400,
        ),
        (r#"{"id":10,"method":"PANIC","target":"/at/once"}"#.to_owned(), 10, 500),
        (r#"{"id":11,"method":"PANIC","target":"/later"}"#.to_owned(), 11, 500),
    ];
    on_every_engine(|setup| {
        let server = serve(setup);
        let mut client = Client::open(server.address);
        for (request, id, code) in &table {
            client.send(TEXT, request.as_bytes());
            let response = next_json(&mut client);
            let shown = &request[..request.len().min(100)];
            assert_eq!((&response["id"], &response["code"]), (&json!(id), &json!(code)), "{shown}");
            assert_eq!(response["body"], Value::Null, "{shown}");
            let message = response["message"].as_str().expect("a text");
            assert!(!message.is_empty() && !message.contains("as the test asked for"), "{message}");
        }
        client.send(BINARY, b"{}");
        assert_eq!(next_json(&mut client)["code"], json!(400));
        let after = ask(&mut client, &json!({"id": 1, "method": "GET", "target": "/rooms/all"}));
        assert_eq!(after["code"], json!(299));
        client.close();
        server.finish();
    });
}

#[test]
fn subscribers_get_broadcasts() {
    on_every_engine(|setup| {
        let server = serve(setup);
        let (mut teller, mut other) = (Client::open(server.address), Client::open(server.address));
        // A client that has an answer is registered.
        assert_eq!(ask(&mut other, &json!({"id": 1, "method": "DELETE", "target": "/nothing"}))["code"], json!(200));
        let request = json!({"id": 2, "method": "POST", "target": "/tell", "body": "spring"});
        teller.send(TEXT, request.to_string().as_bytes());
        let news = json!({"id": 0, "code": 0, "message": "news", "body": "\"spring\""});
        assert_eq!(next_json(&mut other), news);
        // A client is told the news before that it has told them.
        let told = [next_json(&mut teller), next_json(&mut teller)];
        assert_eq!(told, [news, json!({"id": 2, "code": 200, "message": "", "body": null})]);
        teller.close();
        other.close();
        server.finish();
    });
}

/// `answer` is for connections that also receive other messages.
#[test]
fn requests_and_other_messages_can_be_mixed() {
    on_every_engine(|setup| {
        let routes = routes(Hub::default());
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let extensions = ws.extensions();
            while let Some(message) = ws.recv().await? {
                let answer = match message.as_text() {
                    Some(text) => routes.answer(text, &extensions).await.into(),
                    None => message,
                };
                ws.send(answer).await?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.check_echo(BINARY, b"echoed");
        let response = ask(&mut client, &json!({"id": 1, "method": "PUT", "target": "/count"}));
        assert_eq!(response["body"], json!(1));
        client.close();
        server.finish();
    });
}

/// Requests run side by side up to the bound, in the order of their arrival; meanwhile pings are answered.
#[test]
fn reading_goes_on_while_a_route_runs() {
    on_every_engine(|setup| {
        for running_max in [1, 2] {
            let gates = [Gate::default(), Gate::default(), Gate::default()];
            let (report, reports) = reports();
            let passed = gates.clone();
            let routes =
                TextRoutes::new().running_max(running_max).get("/pass/:gate", async move |request: TextRequest| {
                    let number: usize = request.param("gate").and_then(|gate| gate.parse().ok()).expect("a number");
                    report.send(number).unwrap();
                    passed[number].pass().await;
                });
            let handler = upgrade(async move |mut ws: WebSocket| Ok(routes.serve(&mut ws).await?));
            let server = TestServer::start(setup, Router::new().get("/ws", handler));
            let mut client = Client::open(server.address);
            let pass = |id: usize| json!({"id": id, "method": "GET", "target": format!("/pass/{id}")}).to_string();
            let requests = (0..running_max).flat_map(|id| frame(TEXT, pass(id).as_bytes())).collect::<Vec<_>>();
            client.write(&[requests, frame(PING, b"still there?")].concat());
            client.expect(PONG, b"still there?");
            client.send(TEXT, pass(2).as_bytes());
            let started: Vec<_> = (0..running_max).map(|_| reports.next()).collect();
            assert_eq!(started, (0..running_max).collect::<Vec<_>>());
            // The last one answers first, and makes space for the one that waits.
            gates[running_max - 1].open();
            assert_eq!(next_json(&mut client)["id"], json!(running_max - 1));
            assert_eq!(reports.next(), 2);
            gates.iter().for_each(Gate::open);
            let mut rest: Vec<_> = (0..running_max).map(|_| next_json(&mut client)["id"].as_u64()).collect();
            rest.sort();
            let expected = if running_max == 1 { vec![Some(2)] } else { vec![Some(0), Some(2)] };
            assert_eq!(rest, expected);
            client.close();
            server.finish();
        }
    });
}

/// A route whose client has left is dropped.
#[test]
fn routes_end_with_their_connection() {
    struct Told(std::sync::mpsc::Sender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let routes = TextRoutes::new().get("/wait", async move |_request: TextRequest| {
            let told = Told(report.clone());
            report.send("begun").unwrap();
            std::future::pending::<()>().await;
            drop(told);
        });
        let handler = upgrade(async move |mut ws: WebSocket| Ok(routes.serve(&mut ws).await?));
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let mut client = Client::open(server.address);
        client.send(TEXT, json!({"id": 1, "method": "GET", "target": "/wait"}).to_string().as_bytes());
        assert_eq!(reports.next(), "begun");
        client.close();
        assert_eq!(reports.next(), "dropped");
        server.finish();
    });
}

/// A route can send a stream to its own connection while other routes answer: their responses wait for it.
#[test]
fn a_route_can_stream_to_its_own_connection() {
    on_every_engine(|setup| {
        let routes = TextRoutes::new()
            .get("/stream", async |request: TextRequest| {
                let sender = request.extensions().get::<Sender>().expect("kept by the handler");
                let mut message = sender.send_stream(MessageKind::Text).await.expect("open");
                message.write(b"piece").await.expect("open");
                request.extensions().get::<Gate>().expect("kept by the handler").pass().await;
                message.finish().await.expect("open");
            })
            .get("/open", async |request: TextRequest| request.extensions().get::<Gate>().expect("kept").open());
        let handler = upgrade(async move |mut ws: WebSocket| {
            ws.extensions().insert(ws.sender());
            ws.extensions().insert(Gate::default());
            Ok(routes.serve(&mut ws).await?)
        });
        let server = TestServer::start(setup, Router::new().get("/ws", handler));
        let mut client = Client::open(server.address);
        for (id, target) in [(1, "/stream"), (2, "/nowhere"), (3, "/open")] {
            client.send(TEXT, json!({"id": id, "method": "GET", "target": target}).to_string().as_bytes());
        }
        client.expect(TEXT - FIN, b"piece");
        client.expect(CONTINUATION, b"");
        let mut ids: Vec<_> = (0..3).map(|_| next_json(&mut client)["id"].as_u64()).collect();
        ids.sort();
        assert_eq!(ids, [Some(1), Some(2), Some(3)]);
        client.close();
        server.finish();
    });
}

#[test]
fn mistakes_in_routes_panic_with_the_route() {
    let refused = |paths: &[&str]| {
        let added = std::panic::catch_unwind(|| {
            paths.iter().fold(TextRoutes::new(), |routes, path| routes.get(path, async |_request: TextRequest| ()))
        });
        *added.expect_err("a mistake").downcast::<String>().expect("a text")
    };
    for (path, reason) in [
        ("", "must begin with a slash"),
        ("a", "must begin with a slash"),
        ("/a?b", "must be percent-encoded as in a request, and have no query or fragment"),
        ("/a b", "must be percent-encoded as in a request, and have no query or fragment"),
        ("/:", "a parameter's name must be letters, digits and underscores, as in `:user_id` or `{user_id}`"),
        ("/:a-b", "a parameter's name must be letters, digits and underscores, as in `:user_id` or `{user_id}`"),
        ("/:a/:a", "two parameters are named \"a\"; rename one"),
    ] {
        assert_eq!(refused(&[path]), format!("invalid route {path:?}: {reason}"));
    }
    assert_eq!(refused(&["/:a", "/:b"]), "conflicting route GET \"/:b\": it has a handler already; remove one");
}
