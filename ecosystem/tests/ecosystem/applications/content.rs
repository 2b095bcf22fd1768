//! Content of requests and responses: forms, uploads, files, streams.

use std::io;

use axum::Router;
use futures_util::{StreamExt, stream};
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tidegate_ecosystem::apps;

use crate::support::*;

/// Bytes whose values reveal a loss, a repetition or a swap.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 ^ place >> 8) as u8).collect()
}

/// Sends `bytes` in pieces of unknown total length.
fn in_pieces(bytes: &[u8], piece: usize) -> reqwest::Body {
    let pieces: Vec<io::Result<Vec<u8>>> = bytes.chunks(piece).map(|piece| Ok(piece.to_vec())).collect();
    reqwest::Body::wrap_stream(stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread")]
async fn form() {
    on_every_server(apps::form::app, async |site| {
        assert!(get(site.url("/")).await.1.contains("<form"));
        let request = client().post(site.url("/")).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body("name=foo+bar&email=a%40b.c").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "email='a@b.c' name='foo bar'");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_form() {
    on_every_server(apps::multipart_form::app, async |site| {
        let form =
            Form::new().text("title", "a report").part("file", Part::bytes(pattern(3_000_000)).file_name("report.bin"));
        let response = client().post(site.url("/")).multipart(form).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "title  8; file report.bin 3000000");
        let form = Form::new().part("file", Part::bytes(pattern(9_000_000)).file_name("large"));
        let response = client().post(site.url("/")).multipart(form).send().await;
        // The server answers before it has read everything, and so the client can see the connection's end instead.
        assert!(response.is_err() || response.is_ok_and(|response| response.status() == 413));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_files() {
    on_every_server(apps::static_files::app, async |site| {
        let manifest = include_str!("../../../Cargo.toml");
        assert_eq!(get(site.url("/manifest")).await, (200, manifest.into()));
        assert_eq!(get(site.url("/assets/Cargo.toml")).await, (200, manifest.into()));
        assert_eq!(get(site.url("/assets/missing.js")).await, (404, "no such file".into()));
        let part = client().get(site.url("/manifest")).header("range", "bytes=1-7").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes 1-7/{}", manifest.len()));
        assert_eq!(part.text().await.unwrap(), "package");
        let head = client().head(site.url("/manifest")).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], manifest.len().to_string());
        let modified = head.headers()["last-modified"].clone();
        let same = client().get(site.url("/manifest")).header("if-modified-since", modified).send().await.unwrap();
        assert_eq!(same.status(), 304);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_to_file() {
    let folder = std::env::temp_dir().join(format!("tidegate-ecosystem-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = folder.clone();
    on_every_server(
        move || apps::stream_to_file::app(place.clone()),
        async |site| {
            let bytes = pattern(5_000_000);
            let url = site.url("/file/large.bin");
            let response = client().post(&url).body(in_pieces(&bytes, 70_000)).send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "5000000 bytes");
            let read = client().get(&url).send().await.unwrap().bytes().await.unwrap();
            assert!(read == bytes, "the file differs");
            assert_eq!(get(site.url("/file/missing")).await.0, 404);
        },
    )
    .await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types() {
    on_every_server(apps::content_types::app, async |site| {
        let post = |kind: &str, body: &'static str| {
            client().post(site.url("/")).header("content-type", kind.to_owned()).body(body).send()
        };
        let json = post("application/json", r#"{"foo":"bar"}"#).await.unwrap();
        assert_eq!(json.text().await.unwrap(), r#"{"foo":"bar"}"#);
        let form = post("application/x-www-form-urlencoded", "foo=bar").await.unwrap();
        assert_eq!(form.text().await.unwrap(), r#"{"foo":"bar"}"#);
        assert_eq!(post("text/plain", "foo").await.unwrap().status(), 415);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn print_bodies() {
    on_every_server(apps::print_bodies::app, async |site| {
        for body in [reqwest::Body::from("abc"), in_pieces(b"abc", 1)] {
            let response = client().post(site.url("/")).body(body).send().await.unwrap();
            assert_eq!(response.headers()["x-lengths"], "3 19");
            assert_eq!(response.text().await.unwrap(), "Hello from `POST /`");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn body_in_middleware() {
    on_every_server(apps::body_in_middleware::app, async |site| {
        let response = client().post(site.url("/")).body(pattern(100_000)).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "100000 bytes");
        assert_eq!(client().post(site.url("/")).send().await.unwrap().status(), 422);
        // axum's limit of 2 MB.
        let response = client().post(site.url("/")).body(pattern(2_500_000)).send().await.unwrap();
        assert_eq!(response.status(), 413);
    })
    .await;
}

/// Content passes through a proxy in pieces, in both directions: the request's content is read by another task, and the
/// response begins before the request has ended.
#[tokio::test(flavor = "multi_thread")]
async fn reverse_proxy() {
    let echo = async |request: axum::extract::Request| request.into_body();
    let backend =
        Router::new().route("/echo", axum::routing::post(echo)).layer(axum::extract::DefaultBodyLimit::disable());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, backend).into_future());
    on_every_server(
        move || apps::reverse_proxy::app(target.clone()),
        async |site| {
            let bytes = pattern(4_000_000);
            let request = client().post(site.url("/echo?a=b")).body(in_pieces(&bytes, 100_000));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.bytes().await.unwrap() == bytes, "the echo differs");
            assert_eq!(get(site.url("/echo")).await.0, 405);
        },
    )
    .await;
}

/// A handler answers with the request's own content: both are in progress at once.
#[tokio::test(flavor = "multi_thread")]
async fn content_is_echoed_while_it_arrives() {
    let echo = async |request: axum::extract::Request| request.into_body();
    on_every_server(
        || Router::new().route("/", axum::routing::post(echo)),
        async |site| {
            let (pieces, body) = tokio::sync::mpsc::channel::<io::Result<Vec<u8>>>(1);
            let body =
                reqwest::Body::wrap_stream(stream::unfold(body, async |mut body| Some((body.recv().await?, body))));
            let response = tokio::spawn(client().post(site.url("/")).body(body).send());
            pieces.send(Ok(b"first".to_vec())).await.unwrap();
            let mut echoed = response.await.unwrap().unwrap().bytes_stream();
            assert_eq!(echoed.next().await.unwrap().unwrap(), "first");
            for number in 0..20_u8 {
                pieces.send(Ok(vec![number; 1000])).await.unwrap();
                let mut piece = Vec::new();
                while piece.len() < 1000 {
                    piece.extend_from_slice(&echoed.next().await.unwrap().unwrap());
                }
                assert_eq!(piece, [number; 1000]);
            }
            drop(pieces);
            assert!(echoed.next().await.is_none());
        },
    )
    .await;
}

/// A reader on another thread that stops reading stops the peer: not everything is taken from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_on_another_thread_slows_the_client() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    for setup in setups() {
        println!("on {}", setup.name);
        let (resume, resumed) = tokio::sync::watch::channel(false);
        let handler = async move |request: axum::extract::Request| {
            let mut resumed = resumed.clone();
            let mut body = request.into_body().into_data_stream();
            let reading = tokio::spawn(async move {
                let first = body.next().await.unwrap().unwrap().len();
                resumed.wait_for(|resumed| *resumed).await.unwrap();
                body.fold(first, async |sum, piece| sum + piece.unwrap().len()).await
            });
            reading.await.unwrap().to_string()
        };
        let app = Router::new().route("/", axum::routing::post(handler));
        let server = TestServer::of(&setup, tidegate::axum::server(app));
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let pieces = stream::iter(0..1000).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(vec![1_u8; 100_000])
        });
        let response = tokio::spawn(client().post(server.url("/")).body(reqwest::Body::wrap_stream(pieces)).send());
        // The connection's buffer is full, and the rest waits in the kernel's and the client's.
        while server.paused() == 0 {
            tokio::task::yield_now().await;
        }
        let taken = sent.load(Ordering::Relaxed);
        assert!(taken < 500, "{taken} pieces were taken without a reader");
        resume.send(true).unwrap();
        assert_eq!(response.await.unwrap().unwrap().text().await.unwrap(), "100000000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression() {
    use std::io::{Read, Write};
    on_every_server(apps::compression::app, async |site| {
        let value = json!({ "text": "a".repeat(10_000) }).to_string();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(value.as_bytes()).unwrap();
        let request = client().post(site.url("/")).header("content-type", "application/json");
        let request = request.header("content-encoding", "gzip").header("accept-encoding", "gzip");
        let response = request.body(encoder.finish().unwrap()).send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() < 1000);
        let mut decoded = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut decoded).unwrap();
        assert_eq!(decoded, value);
    })
    .await;
}
