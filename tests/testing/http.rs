//! Requests and responses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tidegate::engine::testing::{PeerEnd, TestConfig};
use tidegate::http::{HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use tidegate::prelude::*;
use tidegate::web::testing::{Oneshot, TestError, TestServer};
use tidegate::web::{Files, Rejection, RequestInfo};

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Order {
    item: String,
    count: u32,
}

async fn order(mut request: Request) -> Result<Response, Rejection> {
    let order: Order = request.json().await?;
    Ok(Response::json(&Order { count: order.count * 2, ..order }))
}

fn app() -> Router {
    Router::new()
        .get("/hello/{name}", async |request: Request| format!("Hello, {}", request.param("name").unwrap_or_default()))
        .get("/query", async |request: Request| request.query("q").unwrap_or_default().into_owned())
        .post("/order", order)
        .post("/form", async |mut request: Request| {
            request.form::<Vec<(String, String)>>().await.map(|fields| Response::json(&fields))
        })
        .post("/echo", async |mut request: Request| request.bytes().await.map(Response::bytes))
        .get("/peer", async |request: Request| request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default())
        .get("/panic", async |_request: Request| -> Response { panic!("as the test asked for") })
        .get("/close", async |_request: Request| {
            Response::text("bye").with_header(header::CONNECTION, HeaderValue::from_static("close"))
        })
}

#[test]
fn requests_are_answered_as_by_a_server() {
    let server = TestServer::new(app());
    assert_eq!(server.get("/hello/Ann").send().assert_status(200).text(), "Hello, Ann");
    assert_eq!(server.get("/query?q=a%20b").send().text(), "a b");
    server.get("/nowhere").send().assert_status(404);
    server.post("/hello/Ann").send().assert_status(405);
    let response = server.request(Method::HEAD, "/hello/Ann").send();
    assert_eq!((response.header("content-length"), response.bytes().len()), (Some("10"), 0));
    assert_eq!(response.header("server"), Some("tidegate"));
}

#[test]
fn content_is_read_by_the_extractors() {
    let server = TestServer::new(app());
    let order = Order { item: "rope".to_owned(), count: 3 };
    let answer: Order = server.post("/order").json(&order).send().assert_status(200).json();
    assert_eq!(answer, Order { item: "rope".to_owned(), count: 6 });
    server.post("/order").body("{}").send().assert_status(415);
    server.post("/order").header("content-type", "application/json").body("{").send().assert_status(400);
    server.post("/order").json(&[1, 2]).send().assert_status(422);
    let form = server.post("/form").form(&[("a", "1 2"), ("b", "&")]).send();
    assert_eq!(form.text(), r#"[["a","1 2"],["b","&"]]"#);
    let large = vec![7; 1 << 20];
    assert!(server.post("/echo").body(large.clone()).send().bytes() == &large);
}

#[test]
fn one_request_needs_no_server() {
    let request = HttpRequest::get("/hello/Ann").header("x-number", "1").body("").unwrap();
    assert_eq!(app().oneshot(request).text(), "Hello, Ann");
    let request = HttpRequest::post("http://example.com/echo?a=b").body("hello").unwrap();
    assert_eq!(app().oneshot(request).text(), "hello");
    let handler = async |_request: Request| StatusCode::IM_A_TEAPOT;
    assert_eq!(handler.oneshot(HttpRequest::get("/").body("").unwrap()).status(), 418);
}

#[test]
fn malformed_requests_are_refused() {
    let server = TestServer::new(app());
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.5\r\nHost: a\r\n\r\n", 505),
        ("NO SPACES HERE PLEASE\r\n\r\n", 400),
        ("GET /hello/Ann HTTP/1.0\r\n\r\n", 200),
    ] {
        assert_eq!(server.raw(request).response().status(), status, "{request:?}");
    }
}

#[test]
fn a_panic_is_answered_with_500_and_closes_the_connection() {
    let server = TestServer::new(app());
    let mut client = server.client();
    client.get("/panic").send().assert_status(500);
    assert!(!client.is_connected());
    client.get("/hello/Ann").send().assert_status(200);
}

#[test]
fn a_client_keeps_its_connection_and_its_cookies() {
    let app = app().get("/set", async |request: Request| {
        let set = HeaderValue::from_static(if request.cookie("user").is_some() {
            "user=; Max-Age=0; Path=/"
        } else {
            "user=Ann; Path=/; HttpOnly"
        });
        let mut response = Response::text(request.header("cookie").unwrap_or_default().to_owned());
        response.append_header(header::SET_COOKIE, set);
        response.append_header(header::SET_COOKIE, HeaderValue::from_static("theme=dark"));
        response
    });
    let server = TestServer::new(app);
    let mut client = server.client();
    assert_eq!(client.get("/set").send().cookie("user"), Some("Ann"));
    assert_eq!(client.cookie("theme"), Some("dark"));
    assert_eq!(client.get("/set").cookie("own", "1").send().text(), "own=1; theme=dark; user=Ann");
    assert_eq!(client.get("/set").send().text(), "theme=dark", "a cookie is forgotten when the server asks for it");
    assert!(client.is_connected());
    assert_eq!(server.stats().accepted_total, 1);
    client.get("/close").send().assert_status(200);
    assert!(!client.is_connected());
    client.get("/hello/Ann").send().assert_status(200);
    assert_eq!(server.stats().accepted_total, 2);
}

#[test]
fn the_peer_has_the_address_that_the_test_gives_it() {
    let address: SocketAddr = "192.0.2.7:5000".parse().unwrap();
    let server = TestServer::new(app());
    assert_eq!(server.get("/peer").peer_addr(address).send().text(), "192.0.2.7:5000");
    assert_eq!(server.client().peer_addr(address).get("/peer").send().text(), "192.0.2.7:5000");
    assert!(server.get("/peer").send().text().starts_with("127.0.0.1:"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let app = async |request: Request| request.client_addr().map(|client| client.to_string()).unwrap_or_default();
    let builder = Server::builder(app).trusted_proxies(["192.0.2.0/24"]).unwrap();
    let server = TestServer::start(builder).unwrap();
    let ask = |address: &str| {
        let request = server.get("/").peer_addr(address.parse().unwrap());
        request.header("x-forwarded-for", "203.0.113.9").send().text().to_owned()
    };
    assert!(ask("192.0.2.7:5000").starts_with("203.0.113.9"));
    assert_eq!(ask("198.51.100.1:5000"), "198.51.100.1:5000");
}

#[test]
fn on_response_sees_every_response() {
    let seen: Arc<Mutex<Vec<u16>>> = Arc::default();
    let log = Arc::clone(&seen);
    let builder = Server::builder(app()).on_response(move |_request: &RequestInfo, response: &mut Response| {
        log.lock().unwrap().push(response.status().as_u16());
        response.set_header(header::VIA, HeaderValue::from_static("test"));
    });
    let server = TestServer::start(builder).unwrap();
    for target in ["/hello/Ann", "/nowhere", "/panic"] {
        assert_eq!(server.get(target).send().header("via"), Some("test"));
    }
    assert_eq!(server.raw("GET\r\n\r\n").response().header("via"), Some("test"));
    assert_eq!(*seen.lock().unwrap(), [200, 404, 500, 400]);
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let config = HttpConfig::default().header_timeout(std::time::Duration::ZERO);
    let error = TestServer::start(Server::builder(app()).http(config)).unwrap_err();
    assert_eq!(error.to_string(), "invalid header_timeout \"0s\": must be above zero");
}

/// However the bytes of a request are cut, it is the same request.
#[test]
fn bytes_can_arrive_one_by_one() {
    let config = TestConfig::default().receive_bytes_max(1);
    let server = TestServer::start_with(Server::builder(app()), config).unwrap();
    let order = Order { item: "rope".to_owned(), count: 3 };
    assert_eq!(server.post("/order").json(&order).send().json::<Order>().count, 6);
    let mut streamed = server.post("/echo").streamed().start();
    streamed.write("one ");
    streamed.write("two");
    streamed.finish();
    assert_eq!(streamed.response().text(), "one two");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::new(app());
    let mut peer = server.connect();
    let requests = "GET /hello/Ann HTTP/1.1\r\nHost: a\r\n\r\nGET /close HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(peer.write(requests.as_bytes()), requests.len());
    let answers = String::from_utf8(peer.read()).unwrap();
    let (ann, bye) = (answers.find("Hello, Ann").unwrap(), answers.find("bye").unwrap());
    assert!(ann < bye && answers.matches("HTTP/1.1 200").count() == 2, "{answers}");
    assert_eq!(peer.ended(), Some(PeerEnd::Finished));
}

#[test]
fn a_streamed_request_can_have_a_length() {
    let server = TestServer::new(app());
    let mut upload = server.post("/echo").header("content-length", "6").streamed().start();
    upload.write("abc");
    assert!(!upload.is_answered());
    upload.write("def");
    assert_eq!(upload.response().text(), "abcdef");
    let mut cut = server.post("/echo").header("content-length", "6").streamed().start();
    cut.write("abc");
    assert_eq!(cut.received(), "");
}

#[test]
fn a_response_that_breaks_off_is_an_error() {
    let app = async |_request: Request| {
        Response::stream(|mut writer| async move {
            writer.write("some").await;
            Err(tidegate::web::StreamError::new("as the test asked for"))
        })
    };
    let server = TestServer::new(app);
    let error = server.get("/").try_send().unwrap_err();
    assert!(matches!(&error, TestError::Closed { request, .. } if request == "GET /"), "{error}");
}

#[test]
fn an_upgrade_hands_the_connection_over() {
    let app = async |_request: Request| {
        Response::upgrade(HeaderValue::from_static("shout"), |mut connection| async move {
            while let Ok(Some(chunk)) = connection.receive().await {
                if connection.sender().send(chunk.to_ascii_uppercase()).await.is_err() {
                    break;
                }
            }
        })
    };
    let server = TestServer::new(app);
    let ask = || server.get("/").header("connection", "upgrade").header("upgrade", "shout");
    let (headers, mut peer, rest) = ask().start().upgraded().unwrap();
    assert_eq!((&headers[header::UPGRADE], &rest[..]), (&HeaderValue::from_static("shout"), &b""[..]));
    peer.write(b"hello");
    assert_eq!(peer.read(), b"HELLO");
    peer.finish();
    server.engine().run_until_idle();
    assert_eq!(peer.ended(), Some(PeerEnd::Finished));
    let refused = server.get("/").start().upgraded();
    assert!(
        matches!(refused, Err(tidegate::web::testing::UpgradeFailure::Response(response)) if response.status() == 426)
    );
}

/// Files are read at once, those that are sent in pieces too.
#[test]
fn files_are_served() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("files-in-memory");
    std::fs::create_dir_all(&folder).unwrap();
    let large: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    std::fs::write(folder.join("small.txt"), "small").unwrap();
    std::fs::write(folder.join("large.bin"), &large).unwrap();
    let server = TestServer::new(Router::new().get("/files/{*path}", Files::new(&folder).unwrap()));
    let small = server.get("/files/small.txt").send().assert_status(200);
    assert_eq!((small.text(), small.header("content-type")), ("small", Some("text/plain; charset=utf-8")));
    server.get("/files/small.txt").header("if-none-match", small.header("etag").unwrap()).send().assert_status(304);
    assert!(server.get("/files/large.bin").send().bytes() == &large);
    let part = server.get("/files/large.bin").header("range", "bytes=1000-1009").send().assert_status(206);
    assert_eq!(part.bytes()[..], large[1000..1010]);
}

/// Servers share nothing, and their handlers are dropped at the end.
#[test]
fn the_end_of_a_server_drops_its_handlers() {
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let waiting = |dropped: &Arc<AtomicU64>| {
        let dropped = Arc::clone(dropped);
        TestServer::new(async move |_request: Request| -> &'static str {
            let _counted = Counted(Arc::clone(&dropped));
            std::future::pending().await
        })
    };
    let servers = [waiting(&dropped), waiting(&dropped)];
    let [first, second] = servers.each_ref().map(|server| server.get("/").start());
    drop((first, servers));
    second.reset();
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}
