//! The layers of tower-http around this crate's router and handlers.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use tidegate::http::{HeaderName, HeaderValue, StatusCode};
use tidegate::prelude::*;
use tidegate::web::StreamError;
use tidegate::web::tower::{Addresses, HandlerExt};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::support::*;

fn stamp(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// The routes of most tests: text, an echo, and content that is streamed with a trailer.
fn routes() -> Router {
    Router::new()
        .get("/", async |_request: Request| "hello")
        .post("/echo", async |mut request: Request| -> web::Result<web::Response> {
            Ok(Response::bytes(request.bytes().await?))
        })
        .get("/stream", async |_request: Request| {
            Response::stream(|mut writer| async move {
                for number in 0..1000 {
                    writer.write(format!("line {number}\n")).await;
                    if number % 100 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            })
        })
}

fn streamed() -> String {
    (0..1000).map(|number| format!("line {number}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cors() {
    on_every_engine(async |setup| {
        let cors = CorsLayer::new().allow_origin(tower_http::cors::Any).allow_methods([Method::GET]);
        let server = TestServer::start(&setup, routes().layer(cors));
        let response = client().get(server.url("/")).header("origin", "http://a").send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.text().await.unwrap(), "hello");
        // The answers without a route have it too.
        let missing = client().get(server.url("/missing")).header("origin", "http://a").send().await.unwrap();
        assert_eq!(
            (missing.status().as_u16(), &missing.headers()["access-control-allow-origin"]),
            (404, &"*".parse().unwrap())
        );
        let preflight = client().request(Method::OPTIONS, server.url("/")).header("origin", "http://a");
        let response = preflight.header("access-control-request-method", "GET").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["access-control-allow-methods"]),
            (200, &"GET".parse().unwrap())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_of_whole_and_streamed_content() {
    on_every_engine(async |setup| {
        let server = TestServer::start(&setup, routes().layer(CompressionLayer::new()));
        let response = client().get(server.url("/stream")).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let bytes = response.bytes().await.unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, streamed());
        // Too small to be compressed, and without an encoding that the client accepts.
        let small = client().get(server.url("/")).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(small.headers().get("content-encoding"), None);
        assert_eq!(get(server.url("/stream")).await, (200, streamed()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decompression_of_requests() {
    on_every_engine(async |setup| {
        let server = TestServer::start(&setup, routes().layer(RequestDecompressionLayer::new()));
        let text = "abc".repeat(100_000);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let request = client().post(server.url("/echo")).header("content-encoding", "gzip");
        let response = request.body(encoder.finish().unwrap()).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), text);
        let invalid = client().post(server.url("/echo")).header("content-encoding", "gzip").body("no gzip");
        assert_eq!(invalid.send().await.unwrap().status(), 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trace() {
    on_every_engine(async |setup| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (responses, chunks) = (Arc::clone(&lines), Arc::clone(&lines));
        let trace = TraceLayer::new_for_http()
            .on_response(move |response: &http::Response<_>, _: Duration, _: &tracing::Span| {
                responses.lock().unwrap().push(response.status().as_u16() as usize);
            })
            .on_body_chunk(move |chunk: &bytes::Bytes, _: Duration, _: &tracing::Span| {
                chunks.lock().unwrap().push(chunk.len());
            });
        let server = TestServer::start(&setup, routes().layer(trace));
        assert_eq!(get(server.url("/")).await.1, "hello");
        assert_eq!(get(server.url("/stream")).await.1, streamed());
        let lines = lines.lock().unwrap();
        assert_eq!(lines[..3], [200, 5, 200]);
        assert_eq!(lines[3..].iter().sum::<usize>(), streamed().len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids() {
    on_every_engine(async |setup| {
        let name = HeaderName::from_static("x-request-id");
        let layers = ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(name.clone(), MakeRequestUuid))
            .layer(PropagateRequestIdLayer::new(name));
        let app = Router::new().get("/", async |request: Request| {
            // The layer has set the field and an extension.
            let id = request.extensions().get::<RequestId>().expect("the extension of the layer");
            assert_eq!(request.header("x-request-id").map(str::as_bytes), Some(id.header_value().as_bytes()));
            request.header("x-request-id").unwrap_or_default().to_owned()
        });
        let server = TestServer::start(&setup, app.layer(layers));
        let response = client().get(server.url("/")).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!((id.len(), response.text().await.unwrap()), (36, id));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts() {
    on_every_engine(async |setup| {
        let slow = async |_request: Request| std::future::pending::<&'static str>().await;
        let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(20));
        let server = TestServer::start(&setup, routes().get("/slow", slow).layer(timeout));
        assert_eq!(get(server.url("/slow")).await.0, 504);
        assert_eq!(get(server.url("/")).await, (200, "hello".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_content() {
    on_every_engine(async |setup| {
        let server = TestServer::start(&setup, routes().layer(RequestBodyLimitLayer::new(1000)));
        let post = |body: reqwest::Body| client().post(server.url("/echo")).body(body).send();
        assert_eq!(post("a".repeat(1000).into()).await.unwrap().text().await.unwrap(), "a".repeat(1000));
        assert_eq!(post("a".repeat(1001).into()).await.unwrap().status(), 413);
        // Without an announced length, the limit is found while the handler reads.
        let pieces = futures_util::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>("a".repeat(100))));
        assert_eq!(post(reqwest::Body::wrap_stream(pieces)).await.unwrap().status(), 413);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization() {
    on_every_engine(async |setup| {
        #[expect(deprecated, reason = "the short form of a layer that checks a token")]
        let layer = ValidateRequestHeaderLayer::bearer("secret");
        let server = TestServer::start(&setup, routes().layer(layer));
        assert_eq!(get(server.url("/")).await.0, 401);
        let response = client().get(server.url("/")).bearer_auth("secret").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_responses() {
    on_every_engine(async |setup| {
        let server = TestServer::start(&setup, routes().layer(stamp("x-stamp", "1")));
        let response = client().get(server.url("/")).send().await.unwrap();
        assert_eq!((&response.headers()["x-stamp"], response.content_length()), (&"1".parse().unwrap(), Some(5)));
        let head = client().head(server.url("/")).send().await.unwrap();
        assert_eq!(
            (&head.headers()["x-stamp"], &head.headers()["content-length"]),
            (&"1".parse().unwrap(), &"5".parse().unwrap())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panics() {
    on_every_engine(async |setup| {
        let app = Router::new()
            .get("/panic", async |_request: Request| -> &'static str { panic!("as the test asked for") })
            .get("/stream", async |_request: Request| {
                Response::stream(|mut writer| async move {
                    writer.write("streamed").await;
                    Ok(())
                })
            });
        let server = TestServer::start(&setup, app.layer(stamp("x-stamp", "1")).layer(CatchPanicLayer::new()));
        let response = client().get(server.url("/panic")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (500, "Service panicked".into()));
        assert_eq!(get(server.url("/stream")).await, (200, "streamed".into()));
    })
    .await;
}

/// Layers around one route, around a nested router, and around everything.
#[tokio::test(flavor = "multi_thread")]
async fn layers_have_their_scope() {
    on_every_engine(async |setup| {
        let api = Router::new()
            .get("/users/:name", async |request: Request| request.param("name").unwrap_or("none").to_owned())
            .fallback(async |_request: Request| (StatusCode::NOT_FOUND, "not in the api"))
            .layer(stamp("x-api", "1"))
            .get("/outside", async |_request: Request| "outside");
        let one =
            (async |request: Request| request.param("id").unwrap_or("none").to_owned()).layer(stamp("x-one", "1"));
        let app =
            Router::new().get("/one/:id", one).nest("/v1", Router::new().nest("/api", api)).layer(stamp("x-all", "1"));
        let server = TestServer::start(&setup, app);
        for (path, text, api, one) in [
            ("/v1/api/users/ann%20b", "ann b", true, false),
            ("/v1/api/missing", "not in the api", true, false),
            ("/v1/api/outside", "outside", false, false),
            ("/one/7", "7", false, true),
            ("/missing", "not found\n", false, false),
        ] {
            let response = client().get(server.url(path)).send().await.unwrap();
            let has = |name: &str| response.headers().contains_key(name);
            assert_eq!((has("x-api"), has("x-one"), has("x-all")), (api, one, true), "{path}");
            assert_eq!(response.text().await.unwrap(), text);
        }
    })
    .await;
}

/// A handler inside a layer sees the connection, and an error of its content reaches the client.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_inside_layers_keep_their_connection() {
    on_every_engine(async |setup| {
        let app = Router::new()
            .get("/peer", async |request: Request| {
                assert!(request.extensions().get::<Addresses>().is_none(), "it has become the head's");
                format!(
                    "{:?} {:?}",
                    request.peer_addr().is_some(),
                    request.local_addr().and_then(|it| it.ip()).map(|it| it.port())
                )
            })
            .get("/broken", async |_request: Request| {
                Response::stream(|mut writer| async move {
                    writer.write("begun").await;
                    Err(StreamError::new("as the test asked for"))
                })
            });
        let server = TestServer::start(&setup, app.layer(stamp("x-stamp", "1")));
        assert_eq!(get(server.url("/peer")).await.1, format!("true Some({})", server.address.port()));
        let broken = client().get(server.url("/broken")).send().await.unwrap();
        assert!(broken.bytes().await.is_err(), "the content was incomplete");
    })
    .await;
}

/// WebSockets are upgraded inside layers.
#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass_layers() {
    use futures_util::{SinkExt, StreamExt};
    on_every_engine(async |setup| {
        let app = Router::new().get(
            "/ws",
            websocket::upgrade(async |mut ws| {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            }),
        );
        let layers = ServiceBuilder::new().layer(TraceLayer::new_for_http()).layer(CompressionLayer::new());
        let server = TestServer::start(&setup, app.layer(stamp("x-stamp", "1")).layer(layers));
        let (mut ws, response) = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
        assert_eq!(response.headers()["x-stamp"], "1");
        ws.send(tokio_tungstenite::tungstenite::Message::text("through")).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "through");
        ws.close(None).await.unwrap();
    })
    .await;
}
