//! The client's half of the WebSocket opening handshake (RFC 6455 section 4.1), with blocking reads and writes.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The longest response head accepted, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The constant of RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed or took too long.
    #[error("handshake: {0}")]
    Io(#[from] io::Error),
    /// The connection ended before the response head did.
    #[error("handshake: the server closed the connection")]
    Closed,
    /// The response head exceeds 16 KiB.
    #[error("handshake: the response head exceeds {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// The response does not accept the upgrade as requested.
    #[error("handshake: {0}")]
    Refused(String),
}

/// The context of compressors in permessage-deflate (RFC 7692 section 7.1.1), which a client asks for when it offers
/// the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Both ends keep it from message to message.
    Kept,
    /// Both ends compress each message by itself.
    Reset,
}

impl Context {
    /// Returns the offer of the extension.
    fn offer(self) -> &'static str {
        match self {
            Self::Kept => "permessage-deflate",
            Self::Reset => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        }
    }

    /// Returns whether the server's choice of extensions agrees to the offer. Our own messages are always compressed by
    /// themselves, so only the server's context matters.
    fn is_agreed(self, chosen: &str) -> bool {
        let mut words = chosen.split(';').map(str::trim);
        words.next() == Some("permessage-deflate")
            && words.any(|word| word == "server_no_context_takeover") == (self == Self::Reset)
            && !chosen.contains(',')
    }
}

impl FromStr for Context {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "kept" => Ok(Self::Kept),
            "reset" => Ok(Self::Reset),
            _ => Err("must be kept or reset"),
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kept => "kept",
            Self::Reset => "reset",
        })
    }
}

/// An upgrade request, the `Sec-WebSocket-Accept` it must get, and the compression it asks for.
#[derive(Debug, Clone)]
pub struct Upgrade {
    request: Vec<u8>,
    accept: String,
    deflate: Option<Context>,
}

impl Upgrade {
    /// Returns a request to `host` for `path`. `number` varies the key.
    #[must_use]
    pub fn new(host: &str, path: &str, number: u64) -> Self {
        let key = key(number);
        Self { request: request(host, path, &key).into_bytes(), accept: accept(&key), deflate: None }
    }

    /// Offers permessage-deflate, which the server must agree to.
    #[must_use]
    pub fn deflate(mut self, context: Context) -> Self {
        self.request.truncate(self.request.len() - 2);
        self.request.extend(format!("Sec-WebSocket-Extensions: {}\r\n\r\n", context.offer()).into_bytes());
        self.deflate = Some(context);
        self
    }

    /// Returns the request as sent.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Looks for the response head at the beginning of `bytes`. Returns its length, or `None` if it is incomplete.
    ///
    /// # Errors
    /// If the head is too long or does not upgrade as requested.
    pub fn read(&self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            check(&bytes[..end], &self.accept, self.deflate)?;
            return Ok(Some(end + 4));
        }
        if bytes.len() > HEAD_BYTES_MAX { Err(HandshakeError::TooLong) } else { Ok(None) }
    }
}

/// Performs the handshake and returns the bytes that followed the response.
///
/// # Errors
/// Any failure. The stream is unusable afterwards.
pub fn open(stream: &mut (impl Read + Write), upgrade: &Upgrade) -> Result<Vec<u8>, HandshakeError> {
    stream.write_all(upgrade.request())?;
    let mut head = Vec::new();
    let mut block = [0; 4096];
    loop {
        let length = stream.read(&mut block)?;
        if length == 0 {
            return Err(HandshakeError::Closed);
        }
        head.extend_from_slice(&block[..length]);
        if let Some(end) = upgrade.read(&head)? {
            return Ok(head.split_off(end));
        }
    }
}

fn request(host: &str, path: &str, key: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Returns a key: sixteen bytes in base64.
fn key(number: u64) -> String {
    let mut nonce = [0x5a; 16];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    STANDARD.encode(nonce)
}

fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Checks the head, without its empty line, against RFC 6455 section 4.1. The client offers no subprotocol and no
/// extension but `deflate`, so the server must choose no other.
fn check(head: &[u8], accept: &str, deflate: Option<Context>) -> Result<(), HandshakeError> {
    let refuse = |why: String| Err(HandshakeError::Refused(why));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').take(2).ne(["HTTP/1.1", "101"]) {
        return refuse(format!("expected status 101 with HTTP/1.1, got {status:?}"));
    }
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let values = |name: &'static str| {
        fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if !values("upgrade").any(|value| value.eq_ignore_ascii_case("websocket")) {
        return refuse("expected Upgrade: websocket".into());
    }
    let mut options = values("connection").flat_map(|value| value.split(','));
    if !options.any(|option| option.trim().eq_ignore_ascii_case("upgrade")) {
        return refuse("expected upgrade in the Connection field".into());
    }
    if values("sec-websocket-accept").ne([accept]) {
        return refuse(format!("expected one Sec-WebSocket-Accept of {accept}"));
    }
    if let Some(value) = values("sec-websocket-protocol").next() {
        return refuse(format!("sec-websocket-protocol {value:?} was not offered"));
    }
    let chosen: Vec<&str> = values("sec-websocket-extensions").collect();
    match (deflate, &chosen[..]) {
        (None, []) => Ok(()),
        (Some(context), [chosen]) if context.is_agreed(chosen) => Ok(()),
        (None, _) => refuse(format!("sec-websocket-extensions {chosen:?} was not offered")),
        (Some(context), _) => refuse(format!("expected {:?} to be agreed to, got {chosen:?}", context.offer())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and its accept value in RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn head(status: &str, fields: &[&str]) -> Vec<u8> {
        [&[status], fields].concat().join("\r\n").into_bytes()
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let fields = ["upgrade: WebSocket", "Connection: keep-alive, Upgrade", ACCEPT];
        check(&head("HTTP/1.1 101 Switching Protocols", &fields), &accept(KEY), None).unwrap();
        check(&head("HTTP/1.1 101", &fields), &accept(KEY), None).unwrap();
    }

    #[test]
    fn compression_must_be_agreed_to_as_offered() {
        let agreed = |context, chosen: &[&str]| {
            let chosen: Vec<String> =
                chosen.iter().map(|chosen| format!("Sec-WebSocket-Extensions: {chosen}")).collect();
            let mut fields = vec!["Upgrade: websocket", "Connection: Upgrade", ACCEPT];
            fields.extend(chosen.iter().map(String::as_str));
            check(&head("HTTP/1.1 101 Switching", &fields), &accept(KEY), Some(context)).is_ok()
        };
        let (bare, reset) = ("permessage-deflate", "permessage-deflate; server_no_context_takeover");
        assert!(agreed(Context::Kept, &[bare]) && agreed(Context::Reset, &[reset]));
        assert!(agreed(Context::Kept, &["permessage-deflate; client_no_context_takeover"]));
        assert!(!agreed(Context::Kept, &[reset]) && !agreed(Context::Reset, &[bare]));
        for wrong in [&[][..], &[bare, bare], &["permessage-deflate, other"], &["x-webkit-deflate-frame"]] {
            assert!(!agreed(Context::Kept, wrong), "{wrong:?}");
        }
        let request = Upgrade::new("h", "/", 0).deflate(Context::Reset);
        let request = String::from_utf8(request.request().to_vec()).unwrap();
        assert!(
            request.ends_with(
                "13\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
            client_no_context_takeover\r\n\r\n"
            ),
            "{request}"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let (upgrade, connection) = ("Upgrade: websocket", "Connection: Upgrade");
        let cases: [(&str, &[&str]); 8] = [
            ("HTTP/1.1 200 OK", &[upgrade, connection, ACCEPT]),
            ("HTTP/1.0 101 Switching", &[upgrade, connection, ACCEPT]),
            ("HTTP/1.1 101 Switching", &[connection, ACCEPT]),
            ("HTTP/1.1 101 Switching", &[upgrade, ACCEPT]),
            ("HTTP/1.1 101 Switching", &[upgrade, connection]),
            ("HTTP/1.1 101 Switching", &[upgrade, connection, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="]),
            ("HTTP/1.1 101 Switching", &[upgrade, connection, ACCEPT, ACCEPT]),
            ("HTTP/1.1 101 Switching", &[upgrade, connection, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate"]),
        ];
        for (status, fields) in cases {
            assert!(check(&head(status, fields), &accept(KEY), None).is_err(), "{status} {fields:?}");
        }
    }

    /// Reads `input` in pieces and keeps the written bytes.
    struct Script<'a> {
        input: &'a [u8],
        piece: usize,
        written: Vec<u8>,
    }

    impl Read for Script<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(buffer.len());
            (&mut self.input).take(length as u64).read(buffer)
        }
    }

    impl Write for Script<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn opens_however_the_response_is_cut_and_keeps_what_follows() {
        let accept = accept(&key(7));
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\nrest"
        );
        for piece in 1..=response.len() {
            let mut stream = Script { input: response.as_bytes(), piece, written: Vec::new() };
            let mut rest = open(&mut stream, &Upgrade::new("127.0.0.1:80", "/ws", 7)).unwrap();
            rest.extend_from_slice(stream.input);
            assert_eq!(rest, b"rest");
            assert!(stream.written.starts_with(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
            assert!(stream.written.ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn a_response_without_an_end_is_refused() {
        let endless = vec![b'a'; HEAD_BYTES_MAX * 2];
        let mut stream = Script { input: &endless, piece: 4096, written: Vec::new() };
        assert!(matches!(open(&mut stream, &Upgrade::new("h", "/", 0)), Err(HandshakeError::TooLong)));
        let mut stream = Script { input: b"HTTP/1.1 101", piece: 4096, written: Vec::new() };
        assert!(matches!(open(&mut stream, &Upgrade::new("h", "/", 0)), Err(HandshakeError::Closed)));
    }
}
