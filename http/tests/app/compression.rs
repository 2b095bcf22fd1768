//! Compressed responses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_http::{Compressed, Event, Files, Request, Response, Router, Server, ServerBuilder, sync_handler};

use crate::support::{Answer, Folder, connect, exchange, get_bytes, on_each};

/// A text that compresses well, and not to nothing.
fn text(bytes: usize) -> String {
    (0..)
        .map(|number: u32| format!("line {number} of {}\n", number % 7))
        .flat_map(String::into_bytes)
        .take(bytes)
        .map(char::from)
        .collect()
}

const LARGE_BYTES: usize = 400_000;

fn app(folder: &Folder) -> Compressed<Router> {
    let value = HeaderValue::from_static;
    let large = || Response::text(text(LARGE_BYTES));
    let app = Router::new()
        .get("/small", sync_handler(|_request| Response::text(text(1023))))
        .get(
            "/text",
            sync_handler(|_request| {
                Response::text(text(20_000)).with_header(header::ETAG, HeaderValue::from_static("\"1\""))
            }),
        )
        .get("/short", sync_handler(|_request| Response::text(text(5000))))
        .get("/later", async |_request: Request| Response::text(text(20_000)))
        .get("/large", sync_handler(move |_request| large()))
        .get("/stream", async |_request: Request| {
            Response::stream(|mut writer| async move {
                for piece in text(LARGE_BYTES).as_bytes().chunks(10_000) {
                    writer.write(piece.to_vec()).await;
                }
                Ok(())
            })
            .with_header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))
        })
        .get(
            "/image",
            sync_handler(move |_request| {
                Response::text(text(20_000)).with_header(header::CONTENT_TYPE, value("image/png"))
            }),
        )
        .get(
            "/encoded",
            sync_handler(move |_request| {
                Response::text(text(20_000)).with_header(header::CONTENT_ENCODING, value("gzip"))
            }),
        )
        .get(
            "/fixed",
            sync_handler(move |_request| {
                Response::text(text(20_000)).with_header(header::CACHE_CONTROL, value("max-age=1, no-transform"))
            }),
        )
        .get(
            "/part",
            sync_handler(move |_request| {
                let part = Response::text(text(20_000)).with_status(StatusCode::PARTIAL_CONTENT);
                part.with_header(header::CONTENT_RANGE, value("bytes 0-19999/30000"))
            }),
        )
        .get("/none", sync_handler(|_request| StatusCode::NO_CONTENT))
        .get("/unchanged", sync_handler(|_request| StatusCode::NOT_MODIFIED))
        .get(
            "/vary",
            sync_handler(move |_request| {
                let mut response = Response::text(text(20_000)).with_header(header::VARY, value("origin"));
                response.append_header(header::VARY, value("cookie"));
                response
            }),
        )
        .get(
            "/varied",
            sync_handler(move |_request| {
                Response::text(text(20_000)).with_header(header::VARY, value("Accept-Encoding"))
            }),
        )
        .get(
            "/noise",
            sync_handler(move |_request| {
                Response::bytes(noise()).with_header(header::CONTENT_TYPE, value("text/plain"))
            }),
        )
        .get("/events", async |_request: Request| {
            Response::sse(|mut events| async move {
                for number in 0..3 {
                    events.send(Event::data(format!("event {number}"))).await?;
                    tidegate_engine::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                std::future::pending().await
            })
        })
        .post("/text", async |_request: Request| Response::text(text(20_000)))
        .files("/files", Files::new(&folder.0).expect("opens"));
    Compressed::new(app)
}

/// Bytes without a pattern.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as u8
    };
    (0..2000).map(|_| next()).collect()
}

fn server(folder: &Folder) -> ServerBuilder<Compressed<Router>> {
    Server::builder(app(folder))
}

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn decompress(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(content).read_to_end(&mut out).expect("gzip"),
        "deflate" => flate2::read::ZlibDecoder::new(content).read_to_end(&mut out).expect("zlib"),
        "br" => brotli::Decompressor::new(content, 4096).read_to_end(&mut out).expect("brotli"),
        "zstd" => zstd::stream::read::Decoder::new(content).expect("zstd").read_to_end(&mut out).expect("zstd"),
        _ => panic!("{coding}"),
    };
    out
}

fn get(address: SocketAddr, target: &str, accepted: &str) -> (Answer, Vec<u8>) {
    get_bytes(address, target, &format!("Accept-Encoding: {accepted}\r\n"))
}

#[test]
fn content_is_compressed_with_the_coding_that_was_asked_for() {
    let folder = Folder::new("compressed");
    folder.write("large.txt", text(LARGE_BYTES));
    on_each(
        || server(&folder),
        |address| {
            for coding in CODINGS {
                for (target, bytes) in [
                    ("/short", 5000),
                    ("/text", 20_000),
                    ("/later", 20_000),
                    ("/large", LARGE_BYTES),
                    ("/stream", LARGE_BYTES),
                    ("/files/large.txt", LARGE_BYTES),
                ] {
                    // Again, with what the first one left in the pool.
                    for _ in 0..2 {
                        let (answer, content) = get(address, target, coding);
                        assert_eq!(answer.status, 200);
                        assert_eq!(answer.field("content-encoding"), Some(coding), "{target}");
                        assert_eq!(answer.field("vary"), Some("accept-encoding"), "{target}");
                        assert_eq!(answer.field("accept-ranges"), None);
                        assert!(content.len() < bytes / 2, "{target} {coding}: {} of {bytes}", content.len());
                        assert!(decompress(coding, &content) == text(bytes).as_bytes(), "{target} {coding}");
                    }
                }
            }
            let (answer, _) = get(address, "/text", "gzip");
            assert_eq!(answer.field("etag"), Some("W/\"1\""));
            let post = b"POST /text HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(Answer::parse(&exchange(address, post)).field("content-encoding"), Some("gzip"));
        },
    );
}

#[test]
fn what_does_not_gain_or_must_not_change_is_sent_as_it_is() {
    let folder = Folder::new("not-compressed");
    on_each(
        || server(&folder),
        |address| {
            let all = "gzip, deflate, br, zstd";
            for (target, vary) in [
                ("/small", None),
                ("/image", None),
                ("/encoded", None),
                ("/fixed", None),
                ("/part", None),
                ("/none", None),
                ("/unchanged", Some("accept-encoding")),
                ("/noise", Some("accept-encoding")),
            ] {
                let (answer, _) = get(address, target, all);
                let expected = if target == "/encoded" { Some("gzip") } else { None };
                assert_eq!(answer.field("content-encoding"), expected, "{target}");
                assert_eq!(answer.field("vary"), vary, "{target}");
            }
            for accepted in ["identity", "", "gzip;q=0", "compress", "*;q=0, identity"] {
                let (answer, content) = get(address, "/text", accepted);
                assert_eq!((answer.field("content-encoding"), content.len()), (None, 20_000), "{accepted:?}");
                assert_eq!(answer.field("vary"), Some("accept-encoding"));
                assert_eq!(answer.field("etag"), Some("\"1\""));
            }
            assert_eq!(get(address, "/vary", "gzip").0.field("vary"), Some("origin, cookie, accept-encoding"));
            assert_eq!(get(address, "/varied", "gzip").0.field("vary"), Some("Accept-Encoding"));
        },
    );
}

#[test]
fn a_client_that_refuses_plain_content_gets_a_coding_or_406() {
    let folder = Folder::new("identity-refused");
    on_each(
        || server(&folder),
        |address| {
            let (small, content) = get(address, "/small", "gzip, identity;q=0");
            assert_eq!(small.field("content-encoding"), Some("gzip"));
            assert_eq!(decompress("gzip", &content), text(1023).as_bytes());
            for refusal in ["identity;q=0", "*;q=0", "compress, *;q=0"] {
                assert_eq!(get(address, "/text", refusal).0.status, 406, "{refusal}");
            }
        },
    );
}

#[test]
fn head_is_answered_with_the_head_of_get() {
    let folder = Folder::new("compressed-head");
    on_each(
        || server(&folder),
        |address| {
            for target in ["/text", "/large", "/stream", "/small"] {
                let request =
                    format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
                let head = Answer::parse(&exchange(address, request.as_bytes()));
                let (get, _) = get(address, target, "gzip");
                assert_eq!((head.status, head.content.as_str()), (200, ""));
                assert_eq!(head.fields, get.fields, "{target}");
            }
        },
    );
}

/// An event that waited in a compressor for more would never arrive.
#[test]
fn each_event_arrives_when_it_is_sent() {
    let folder = Folder::new("compressed-events");
    on_each(
        || server(&folder),
        |address| {
            let mut stream = connect(address);
            stream.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").expect("sent");
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert_ne!(reader.read_line(&mut line).expect("a head"), 0);
            }
            let (mut compressed, mut events) = (Vec::new(), String::new());
            while !events.contains("event 2") {
                let mut size = String::new();
                reader.read_line(&mut size).expect("a chunk");
                let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).expect("a chunk");
                compressed.extend_from_slice(&chunk[..size]);
                let mut decoder = flate2::read::GzDecoder::new(compressed.as_slice());
                let mut decoded = Vec::new();
                // The end is missing, and everything before it is there.
                let _ = decoder.read_to_end(&mut decoded);
                events = String::from_utf8(decoded).expect("text");
            }
            assert_eq!(events.matches("data: event").count(), 3, "{events}");
        },
    );
}
