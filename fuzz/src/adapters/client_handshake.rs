//! A client's reading of responses.

use http::{Response, Uri};
use tidegate_http::Limits;
use tidegate_http::client::{InvalidResponse, ResponseEvent, ResponseReader};
use tidegate_websocket::handshake::{ClientHandshake, Nonce};

/// A response that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The status, and the fields in order. `None` if the head did not come.
    pub head: Option<(u16, Vec<(String, Vec<u8>)>)>,
    pub content: Vec<u8>,
    /// The bytes of the input that belong to the response.
    pub used: usize,
    /// Whether the response was complete before the end of the input.
    pub is_complete: bool,
    pub error: Option<InvalidResponse>,
    /// Whether the head accepts our WebSocket.
    pub accepts: bool,
}

/// The most bytes of a head in the fuzz target.
pub const HEAD_BYTES_MAX: usize = 1024;

/// Reads a response that arrives in pieces.
pub struct Reading {
    reader: ResponseReader,
    read: Read,
}

impl Reading {
    pub fn new(answers_connect: bool) -> Reading {
        let limits = Limits::default().head_bytes_max(HEAD_BYTES_MAX).target_bytes_max(100).fields_max(20);
        let reader = if answers_connect { ResponseReader::for_connect(limits) } else { ResponseReader::new(limits) };
        let read = Read { head: None, content: Vec::new(), used: 0, is_complete: false, error: None, accepts: false };
        Reading { reader, read }
    }

    /// Takes a piece. False once the response is over.
    pub fn take(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        loop {
            let progress = match self.reader.receive(rest) {
                Ok(progress) => progress,
                Err(error) => {
                    self.read.error = Some(error);
                    return false;
                }
            };
            assert!(progress.consumed <= rest.len());
            self.read.used += progress.consumed;
            match progress.event {
                Some(ResponseEvent::Head(head)) => {
                    assert!(self.read.head.is_none(), "a second head");
                    self.read.accepts = accepts(&head);
                    let fields = head.headers().iter();
                    let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
                    self.read.head = Some((head.status().as_u16(), fields));
                }
                Some(ResponseEvent::Content(range)) => {
                    assert!(range.end <= progress.consumed && !range.is_empty());
                    self.read.content.extend_from_slice(&rest[range]);
                }
                Some(_) => {
                    self.read.is_complete = true;
                    assert!(self.reader.is_ended());
                    return false;
                }
                None => {
                    assert_eq!(progress.consumed, rest.len(), "input is left without an event");
                    return true;
                }
            }
            rest = &rest[progress.consumed..];
        }
    }

    /// Ends the input.
    pub fn end(mut self) -> Read {
        if self.read.error.is_none() && !self.read.is_complete {
            self.read.error = self.reader.end().err();
        }
        self.read
    }
}

/// Returns whether a client takes this response as the acceptance of its WebSocket.
fn accepts(head: &Response<()>) -> bool {
    let nonce = Nonce::new(*b"the sample nonce");
    let client = ClientHandshake::new(&Uri::from_static("ws://a"), nonce).expect("a client");
    client.check_response(head.status(), head.version(), head.headers()).is_ok()
}
