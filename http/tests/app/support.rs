//! Servers and a client for these tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown};
use tidegate_http::{Handler, ServerBuilder};

/// A test that waits this long fails.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The engines and placements.
pub fn matrix() -> impl Iterator<Item = (EngineKind, HandlerPlacement)> {
    [EngineKind::Auto, EngineKind::Portable].into_iter().flat_map(|kind| {
        [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(1)]
            .map(|placement| (kind, placement))
    })
}

/// Runs a test against a server on every engine and placement.
pub fn on_each<H: Handler>(server: impl Fn() -> ServerBuilder<H>, test: impl Fn(SocketAddr)) {
    on_each_running(server, |running| {
        test(running.local_addr().expect("an address"));
        running.shutdown(Shutdown::immediate());
    });
}

/// As [`on_each`], for a test that shuts the server down itself.
pub fn on_each_running<H: Handler>(server: impl Fn() -> ServerBuilder<H>, test: impl Fn(Running)) {
    for (kind, placement) in matrix() {
        test(start(server(), kind, placement));
    }
}

/// Starts a server on a free port.
pub fn start<H: Handler>(server: ServerBuilder<H>, kind: EngineKind, placement: HandlerPlacement) -> Running {
    let server = server.bind("127.0.0.1:0").expect("resolves");
    server.engine(kind).workers(1).placement(placement).start().expect("starts")
}

/// Connects to a server.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream.set_write_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

/// Sends bytes and reads until the server closes.
pub fn exchange_bytes(address: SocketAddr, input: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(input).expect("sent");
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("received");
    output
}

/// Sends a request with these fields as the only one of its connection. Returns the head and the content of its
/// response.
pub fn get_bytes(address: SocketAddr, target: &str, fields: &str) -> (Answer, Vec<u8>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let output = exchange_bytes(address, request.as_bytes());
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let head = std::str::from_utf8(&output[..end]).expect("text");
    let (answer, content) = (Answer::parse(head), output[end..].to_vec());
    let is_chunked = answer.field("transfer-encoding") == Some("chunked");
    (answer, if is_chunked { dechunk(&content) } else { content })
}

/// Returns the content of chunks, which must be complete.
fn dechunk(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&chunks[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a size");
        let chunk = &chunks[end + 2..];
        content.extend_from_slice(&chunk[..size]);
        assert_eq!(&chunk[size..size + 2], b"\r\n");
        chunks = &chunk[size + 2..];
        if size == 0 {
            assert_eq!(chunks, b"", "nothing follows the last chunk");
            return content;
        }
    }
}

/// A folder for the files of one test, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("created");
        Folder(folder)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(path, content).expect("written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends bytes and reads until the server closes.
pub fn exchange(address: SocketAddr, input: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(input).expect("sent");
    read_to_end(&mut stream)
}

/// Reads until the server closes.
pub fn read_to_end(stream: &mut TcpStream) -> String {
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("received");
    String::from_utf8_lossy(&output).into_owned()
}

/// Sends a request whole, byte by byte, and with another request behind it. Returns the status of its response, its
/// fields and its content, which must be the same each time.
pub fn ask(address: SocketAddr, head: &str, content: &[u8]) -> Answer {
    let request = |end: &str| {
        let head = format!("{head}\r\nHost: a\r\n{end}Content-Length: {}\r\n\r\n", content.len());
        [head.as_bytes(), content].concat()
    };
    let last = request("Connection: close\r\n");
    let whole = Answer::parse(&exchange(address, &last));

    let mut stream = connect(address);
    for byte in &last {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(Answer::parse(&read_to_end(&mut stream)), whole, "byte by byte: {head}");

    let mut two = request("");
    two.extend_from_slice(b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let both = exchange(address, &two);
    let (first, second) = both.rsplit_once("HTTP/1.1 ").expect("two responses");
    assert!(second.starts_with("404"), "{both}");
    assert_eq!(Answer::parse(first).content, whole.content, "with another request behind: {head}");
    whole
}

/// A response: its status, its fields except for Date, and its content.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: String,
}

impl Answer {
    pub fn parse(text: &str) -> Answer {
        let (head, content) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let fields = fields.filter(|(name, _)| name != "date").collect();
        Answer { status, fields, content: content.to_owned() }
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}
