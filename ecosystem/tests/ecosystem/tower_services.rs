//! Tower services as handlers.

use std::convert::Infallible;

use http_body_util::{BodyExt, StreamBody};
use tidegate::http::{HeaderMap, HeaderValue, StatusCode};
use tidegate::prelude::*;
use tidegate::web::tower::{Addresses, Content, service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::service_fn;
use tower_http::services::{ServeDir, ServeFile};

use crate::support::*;

/// Sends a request and returns everything that the server answers until it closes.
async fn exchange(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_by_tower_http() {
    on_every_engine(async |setup| {
        let folder = env!("CARGO_MANIFEST_DIR");
        let app = Router::new()
            .get("/manifest", service(ServeFile::new(format!("{folder}/Cargo.toml"))))
            .fallback(service(ServeDir::new(folder)));
        let server = TestServer::start(&setup, app);
        let manifest = include_str!("../../Cargo.toml");
        for path in ["/manifest", "/Cargo.toml"] {
            assert_eq!(get(server.url(path)).await, (200, manifest.into()));
        }
        assert_eq!(get(server.url("/missing")).await.0, 404);
        assert_eq!(get(server.url("/../Cargo.lock")).await.0, 404);
        let part = client().get(server.url("/src/lib.rs")).header("range", "bytes=0-2").send().await.unwrap();
        assert_eq!((part.status().as_u16(), part.text().await.unwrap()), (206, "//!".into()));
        let head = client().head(server.url("/manifest")).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], manifest.len().to_string());
    })
    .await;
}

/// Content and trailers pass through in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_received_and_sent() {
    on_every_engine(async |setup| {
        let echo = service_fn(async |request: http::Request<Content>| {
            let collected = request.into_body().collect().await.unwrap();
            let sum = collected.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", sum.unwrap_or_else(|| HeaderValue::from_static("none")));
            let frames = [
                Ok::<_, Infallible>(http_body::Frame::data(collected.to_bytes())),
                Ok(http_body::Frame::trailers(trailers)),
            ];
            Ok::<_, Infallible>(http::Response::new(StreamBody::new(futures_util::stream::iter(frames))))
        });
        let server = TestServer::start(&setup, Router::new().post("/", service(echo)));
        let request =
            b"POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                        3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-sum: 7\r\n\r\n";
        let answer = exchange(&server, request).await;
        assert!(answer.ends_with("\r\n\r\n7\r\nabcdefg\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
    })
    .await;
}

/// The content is asked for only when it is read: the service answers first, and 100 (Continue) is not sent.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_read_is_not_asked_for() {
    on_every_engine(async |setup| {
        let refuse = service_fn(async |request: http::Request<Content>| {
            let reads = request.uri().path() == "/read";
            if reads {
                request.into_body().collect().await.unwrap();
            }
            let mut response = http::Response::new(Content::default());
            *response.status_mut() = if reads { StatusCode::OK } else { StatusCode::FORBIDDEN };
            Ok::<_, Infallible>(response)
        });
        let server = TestServer::start(&setup, service(refuse));
        let head = "HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\n";
        let answer = exchange(&server, format!("POST /refused {head}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        let answer = exchange(&server, format!("POST /read {head}abc").as_bytes()).await;
        assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_see_the_connection_and_can_fail() {
    on_every_engine(async |setup| {
        let app = service_fn(async |request: http::Request<Content>| {
            let addresses = request.extensions().get::<Addresses>().copied().ok_or("no addresses")?;
            if request.uri().path() == "/fail" {
                return Err(tidegate::web::tower::BoxError::from("as the test asked for"));
            }
            let text = format!("{} {}", addresses.peer.ip().unwrap().ip(), addresses.local);
            Ok(http::Response::new(Content::from(bytes::Bytes::from(text))))
        });
        let server = TestServer::start(&setup, service(app));
        assert_eq!(get(server.url("/")).await, (200, format!("127.0.0.1 {}", server.address)));
        assert_eq!(get(server.url("/fail")).await, (500, "internal server error\n".into()));
    })
    .await;
}

/// The service that a timer wakes answers before the request behind it, which needs no wait.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    on_every_engine(async |setup| {
        let app = service_fn(async |request: http::Request<Content>| {
            if request.uri().path() == "/slow" {
                woken_by_a_timer_of_tokio().await;
            }
            let path = request.uri().path().to_owned();
            Ok::<_, Infallible>(http::Response::new(Content::from(bytes::Bytes::from(path))))
        });
        let server = TestServer::start(&setup, service(app));
        let request = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /slow HTTP/1.1\r\nhost: a\r\n\r\n\
                       GET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = exchange(&server, request.as_bytes()).await;
        let bodies: Vec<_> = answer.match_indices("\r\n\r\n/").map(|(at, _)| &answer[at + 4..at + 6]).collect();
        assert_eq!(bodies, ["/1", "/s", "/3"], "{answer}");
    })
    .await;
}
