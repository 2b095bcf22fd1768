//! Large files: every byte is the file's, whatever happens to it meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_http::{
    ContentConnection, ContentStream, Files, Handler, Reply, Request, ResponseBody, Router, Server, ServerBuilder,
    StreamError,
};

use crate::files::pattern;
use crate::support::{Folder, connect, on_each};

/// A handler whose content passes through another stream.
struct Wrapped<H>(H);

struct Passed(Box<dyn ContentStream>);

impl<H: Handler> Handler for Wrapped<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.0.handle(request).map(|mut response| match response.take_body() {
            ResponseBody::Stream(stream) => response.with_body(ResponseBody::Stream(Box::new(Passed(stream)))),
            body => response.with_body(body),
        })
    }
}

impl ContentStream for Passed {
    fn begin(&mut self, connection: ContentConnection) {
        self.0.begin(connection);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.0.poll_next(cx)
    }

    fn length(&self) -> Option<u64> {
        self.0.length()
    }

    fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.0.take_trailers()
    }
}

fn server(folder: &Folder) -> ServerBuilder<Router> {
    let app = Router::new()
        .get("/read/*path", Files::new(&folder.0).expect("opens").zero_copy(false))
        .get("/wrapped/*path", Wrapped(Files::new(&folder.0).expect("opens").zero_copy(true)))
        .get("/default/*path", Files::new(&folder.0).expect("opens"))
        .get("/sent/*path", Files::new(&folder.0).expect("opens").zero_copy(true));
    Server::builder(app)
}

/// Sends a request and reads its response up to its announced end, or to that of the connection. Returns the announced
/// length and the content.
fn download(stream: &mut TcpStream, target: &str) -> (usize, Vec<u8>) {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let head_end = loop {
        let count = stream.read(&mut buffer).expect("a head");
        assert_ne!(count, 0, "a head");
        received.extend_from_slice(&buffer[..count]);
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = std::str::from_utf8(&received[..head_end]).expect("text").to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let announced = announced.parse().expect("a number");
    let mut content = received.split_off(head_end);
    while content.len() < announced {
        // A connection that ends early may be reset.
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => content.extend_from_slice(&buffer[..count]),
        }
    }
    (announced, content)
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection() {
    const BYTES: usize = 24 * 1024 * 1024;
    let folder = Folder::new("files-shorter");
    let content = pattern(3, BYTES);
    on_each(
        || server(&folder),
        |address| {
            for way in ["read", "wrapped", "default", "sent"] {
                folder.write("file.bin", &content);
                let mut stream = connect(address);
                write!(stream, "GET /{way}/file.bin HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
                let mut received = vec![0; 64 * 1024];
                stream.read_exact(&mut received).expect("a beginning");
                // More than the kernel buffers is still to be sent.
                let file = std::fs::File::options().write(true).open(folder.0.join("file.bin")).expect("opens");
                file.set_len(1024 * 1024).expect("shortened");
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..count]);
                }
                let head_end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
                let sent = &received[head_end..];
                assert!(sent.len() < BYTES, "{way}: what is gone was not replaced");
                // Without a copy the kernel sends what it has cut meanwhile as zeros.
                let is_own = |(at, byte): (usize, &u8)| *byte == content[at] || way == "sent" && *byte == 0;
                assert!(sent.iter().enumerate().all(is_own), "{way}: what came is the file's");
            }
        },
    );
}

/// Files that have just changed are copied, unless asked otherwise: what the kernel has taken is the file's, whatever
/// happens to it.
#[test]
fn bytes_of_a_file_that_has_just_changed_stay_as_they_were_read() {
    // About what the kernel takes for a client that reads nothing.
    const BYTES: usize = 140_000;
    const CUT: usize = 20_001;
    let folder = Folder::new("files-changed");
    let content = pattern(5, BYTES);
    on_each(
        || server(&folder),
        |address| {
            for way in ["read", "default"] {
                folder.write("file.bin", &content);
                let mut stream = connect(address);
                write!(stream, "GET /{way}/file.bin HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
                let mut received = vec![0; 1000];
                stream.read_exact(&mut received).expect("a beginning");
                let mut waiting = [0; 2 * CUT];
                while stream.peek(&mut waiting).expect("the rest") < waiting.len() {}
                let file = std::fs::File::options().write(true).open(folder.0.join("file.bin")).expect("opens");
                file.set_len(CUT as u64).expect("shortened");
                let mut buffer = vec![0; 64 * 1024];
                let head_end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
                while received.len() < head_end + BYTES {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => received.extend_from_slice(&buffer[..count]),
                    }
                }
                let sent = &received[head_end..];
                assert!(sent == &content[..sent.len()], "{way}: bytes that the file never had");
            }
        },
    );
}

/// Contents begin alike however long the files are, and differ between files.
const FILES: usize = 6;

fn write_file(folder: &Folder, number: usize, bytes: usize) {
    folder.write(&format!("{number}.next"), pattern(number * 31, bytes));
    std::fs::rename(folder.0.join(format!("{number}.next")), folder.0.join(format!("{number}.bin"))).expect("renamed");
}

fn check(address: SocketAddr, round: usize, contents: &[Vec<u8>], complete: &AtomicUsize) {
    let mut stream = connect(address);
    for step in 0..12 {
        let number = (round + step) % FILES;
        let way = ["wrapped", "read", "default"][(round + step) % 3];
        let (announced, content) = download(&mut stream, &format!("/{way}/{number}.bin"));
        assert!(content.len() <= announced);
        assert!(content == contents[number][..content.len()], "{way} {number}: foreign bytes");
        if content.len() < announced {
            // It became shorter. The connection is over.
            stream = connect(address);
        } else {
            complete.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn many_downloads_of_changing_files_have_no_foreign_byte() {
    const CLIENTS: usize = 24;
    let contents: Vec<_> = (0..FILES).map(|number| pattern(number * 31, 600_000)).collect();
    let folder = Folder::new("files-many");
    on_each(
        || server(&folder),
        |address| {
            (0..FILES).for_each(|number| write_file(&folder, number, 150_000 + number * 40_000));
            let (ended, complete) = (AtomicBool::new(false), AtomicUsize::new(0));
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut turn = 0;
                    while !ended.load(Ordering::Relaxed) {
                        turn += 1;
                        let number = turn % FILES;
                        let path = folder.0.join(format!("{number}.bin"));
                        let length = std::fs::metadata(&path).expect("there").len() as usize;
                        match (turn / FILES) % 3 {
                            // Replaced, cut in place, continued in place.
                            0 => write_file(&folder, number, 200_000 + (turn * 7919) % 300_000),
                            1 => {
                                let file = std::fs::File::options().write(true).open(path).expect("opens");
                                file.set_len((length - (turn * 104_729) % 150_000) as u64).expect("cut");
                            }
                            _ => {
                                let mut file = std::fs::File::options().append(true).open(path).expect("opens");
                                file.write_all(&contents[number][length..length + 60_000]).expect("continued");
                            }
                        }
                    }
                });
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|round| {
                        let (contents, complete) = (&contents, &complete);
                        scope.spawn(move || check(address, round, contents, complete))
                    })
                    .collect();
                let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
                ended.store(true, Ordering::Relaxed);
                writer.join().expect("writes");
                assert!(results.iter().all(Result::is_ok), "a client failed");
            });
            assert!(complete.load(Ordering::Relaxed) > 0, "some downloads are complete");
        },
    );
}

/// Files that are replaced and never changed in place.
#[test]
fn downloads_without_a_copy_have_no_foreign_byte() {
    let folder = Folder::new("files-zero-copy");
    let sizes = [130_000, 1024 * 1024 + 1, 5_000_003];
    for (number, bytes) in sizes.into_iter().enumerate() {
        write_file(&folder, number, bytes);
    }
    on_each(
        || server(&folder),
        |address| {
            thread::scope(|scope| {
                for client in 0..8 {
                    scope.spawn(move || {
                        let mut stream = connect(address);
                        for step in 0..6 {
                            let number = (client + step) % sizes.len();
                            let (announced, content) = download(&mut stream, &format!("/sent/{number}.bin"));
                            assert_eq!((announced, content.len()), (sizes[number], sizes[number]));
                            assert!(content == pattern(number * 31, sizes[number]), "{number}: foreign bytes");
                        }
                    });
                }
            });
        },
    );
}
