//! A request in progress: content that is sent piece by piece, a response that is read as it comes.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};
use tidegate_engine::testing::{PeerEnd, Step, Stuck, TestPeer};

use super::receive::{Part, ResponseReader};
use super::{TestClient, TestError, TestResponse};
use crate::client::InvalidResponse;

/// A request in progress, from [`TestRequest::start`](super::TestRequest::start). Dropping it closes its connection,
/// as a client does that gives up.
///
/// ```
/// use tidegate_http::testing::TestServer;
/// use tidegate_http::{Request, Response, Router};
///
/// async fn echo(mut request: Request) -> Response {
///     Response::stream(move |mut writer| async move {
///         while let Some(piece) = request.body_mut().chunk().await? {
///             writer.write(piece).await;
///         }
///         Ok(())
///     })
/// }
///
/// let server = TestServer::new(Router::new().post("/echo", echo));
/// let mut exchange = server.post("/echo").streamed().start();
/// exchange.write("one ");
/// assert_eq!(exchange.content().unwrap(), "one ");
/// exchange.write("two");
/// exchange.finish();
/// assert_eq!(exchange.response().text(), "two");
/// ```
#[derive(Debug)]
pub struct TestExchange<'c> {
    peer: TestPeer,
    /// The client that gets the connection back.
    client: Option<&'c mut TestClient>,
    /// The method and the target, for errors.
    what: String,
    unsent: BytesMut,
    sending: Sending,
    reader: ResponseReader,
    head: Option<Parts>,
    content: BytesMut,
    trailers: HeaderMap,
    is_complete: bool,
}

/// How the test sends the rest of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Chunks,
    Bytes,
    /// There is no more.
    Over,
}

impl<'c> TestExchange<'c> {
    /// Prepares an exchange. The request is sent by the next call.
    pub(super) fn new(
        peer: TestPeer,
        client: Option<&'c mut TestClient>,
        what: String,
        is_head: bool,
        request: Vec<u8>,
        sending: Sending,
    ) -> TestExchange<'c> {
        TestExchange {
            peer,
            client,
            what,
            unsent: BytesMut::from(&request[..]),
            sending,
            reader: ResponseReader::new(Vec::new(), is_head),
            head: None,
            content: BytesMut::new(),
            trailers: HeaderMap::new(),
            is_complete: false,
        }
    }

    #[track_caller]
    pub(super) fn raw(peer: TestPeer, request: Vec<u8>) -> TestExchange<'c> {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let what = String::from_utf8_lossy(line).into_owned();
        let is_head = request.starts_with(b"HEAD ");
        let mut exchange = TestExchange::new(peer, None, what, is_head, request, Sending::Over);
        exchange.run();
        exchange
    }
}

/// # The request
impl TestExchange<'_> {
    /// Sends a piece of the content, and lets the server work on it.
    ///
    /// # Panics
    /// If the request is not [`streamed`](super::TestRequest::streamed), or is finished, or a handler blocks its
    /// thread.
    #[track_caller]
    pub fn write(&mut self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        match self.sending {
            Sending::Chunks if piece.is_empty() => {}
            Sending::Chunks => {
                // Writing to memory cannot fail.
                let _ = write!(self.unsent, "{:x}\r\n", piece.len());
                self.unsent.extend_from_slice(piece);
                self.unsent.extend_from_slice(b"\r\n");
            }
            Sending::Bytes => self.unsent.extend_from_slice(piece),
            Sending::Over => panic!("the content of {} is complete; build the request with `streamed`", self.what),
        }
        self.run();
    }

    /// Ends the content.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn finish(&mut self) {
        self.end_content();
        self.run();
    }

    pub(super) fn end_content(&mut self) {
        if self.sending == Sending::Chunks {
            self.unsent.extend_from_slice(b"0\r\n\r\n");
        }
        self.sending = Sending::Over;
    }

    /// Returns the bytes of the request that the server has not taken: its handler does not read, and the buffers on
    /// the way are full.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn unsent_bytes(&mut self) -> usize {
        self.run();
        self.unsent.len()
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.peer.reset();
    }
}

/// # The response
impl TestExchange<'_> {
    /// Returns whether the head of the response is there. Does not wait for other threads.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn is_answered(&mut self) -> bool {
        self.run();
        self.head.is_some()
    }

    /// Waits for the head of the response and returns its status.
    ///
    /// # Panics
    /// If it does not come: with the text of a [`TestError`].
    #[track_caller]
    pub fn status(&mut self) -> StatusCode {
        self.wait_for_head().status
    }

    /// Waits for the head of the response and returns its fields.
    ///
    /// # Panics
    /// As [`status`](TestExchange::status).
    #[track_caller]
    pub fn headers(&mut self) -> &HeaderMap {
        &self.wait_for_head().headers
    }

    /// Waits for the head of the response and returns its version.
    ///
    /// # Panics
    /// As [`status`](TestExchange::status).
    #[track_caller]
    pub fn version(&mut self) -> Version {
        self.wait_for_head().version
    }

    /// Waits for content, and returns all that has arrived since the last call; `None` at its end.
    ///
    /// # Panics
    /// If none comes: with the text of a [`TestError`].
    #[track_caller]
    pub fn content(&mut self) -> Option<Bytes> {
        match self.wait(|exchange| !exchange.content.is_empty() || exchange.is_complete) {
            Ok(()) => (!self.content.is_empty()).then(|| self.content.split().freeze()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the content that has arrived since the last call, perhaps none. Does not wait for other threads.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn received(&mut self) -> Bytes {
        self.run();
        self.content.split().freeze()
    }

    /// Returns whether the server has closed the connection, after all that it has sent. Does not wait for other
    /// threads.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.run();
        self.peer.ended().is_some()
    }

    /// Waits for the end of the response and returns it, with the content that was not taken before.
    ///
    /// # Panics
    /// If it does not end: with the text of a [`TestError`].
    #[track_caller]
    pub fn response(self) -> TestResponse {
        match self.try_response() {
            Ok(response) => response,
            Err(error) => panic!("{error}"),
        }
    }

    /// Does as [`response`](TestExchange::response).
    ///
    /// # Errors
    /// [`TestError`].
    pub fn try_response(mut self) -> Result<TestResponse, TestError> {
        self.wait(|exchange| exchange.is_complete || exchange.is_upgraded())?;
        let Some(head) = self.head.take() else {
            return Err(TestError::Malformed { request: self.what, reason: "it has no head".to_owned() });
        };
        let content = self.content.split().freeze();
        let trailers = std::mem::take(&mut self.trailers);
        let response = TestResponse { status: head.status, headers: head.headers, content, trailers };
        if self.is_complete
            && self.reader.is_persistent
            && self.unsent.is_empty()
            && let Some(client) = self.client
        {
            client.idle = Some(self.peer);
        }
        Ok(response)
    }

    /// Waits for the head of the response, and returns its fields with the connection and the bytes that arrived behind
    /// the head: for an upgrade.
    ///
    /// # Errors
    /// [`TestError`]; the response itself, complete, if its status is not 101.
    pub fn upgraded(mut self) -> Result<(HeaderMap, TestPeer, Vec<u8>), UpgradeFailure> {
        self.wait(|exchange| exchange.head.is_some())?;
        match self.head.take_if(|head| head.status == StatusCode::SWITCHING_PROTOCOLS) {
            Some(head) => Ok((head.headers, self.peer, self.reader.buffer)),
            None => Err(UpgradeFailure::Response(Box::new(self.try_response()?))),
        }
    }
}

/// Why a connection is not upgraded.
#[derive(Debug)]
pub enum UpgradeFailure {
    /// The server has answered with another status than 101.
    Response(Box<TestResponse>),
    /// It has not answered.
    Error(TestError),
}

impl From<TestError> for UpgradeFailure {
    fn from(error: TestError) -> UpgradeFailure {
        UpgradeFailure::Error(error)
    }
}

impl TestExchange<'_> {
    fn is_upgraded(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS)
    }

    #[track_caller]
    fn wait_for_head(&mut self) -> &Parts {
        match self.wait(|exchange| exchange.head.is_some()) {
            Ok(()) => self.head.as_ref().expect("waited for it"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Exchanges bytes until nothing more happens by itself.
    #[track_caller]
    pub(super) fn run(&mut self) {
        let engine = self.peer.engine().clone();
        let run = engine.drive_until_idle(|| match self.exchange_bytes() {
            // An early end is found again by the call that waits for the response.
            Ok(true) => Step::Again,
            Ok(false) | Err(_) => Step::<()>::Waiting,
        });
        if let Err(stuck) = run {
            panic!("{stuck}");
        }
    }

    /// Exchanges bytes until `done`.
    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), TestError> {
        let engine = self.peer.engine().clone();
        let waited = engine.drive(|| {
            if done(self) {
                return Step::Done(Ok(()));
            }
            match self.exchange_bytes() {
                Ok(_) if done(self) => Step::Done(Ok(())),
                Ok(true) => Step::Again,
                Ok(false) => Step::Waiting,
                Err(error) => Step::Done(Err(error)),
            }
        });
        waited.unwrap_or_else(|reason| Err(self.stuck(reason)))
    }

    fn stuck(&self, reason: Stuck) -> TestError {
        let request = self.what.clone();
        match self.head {
            None => TestError::NoResponse { request, reason },
            Some(_) => TestError::Unfinished { request, reason },
        }
    }

    /// Writes and reads what is possible now. Returns whether that was anything.
    fn exchange_bytes(&mut self) -> Result<bool, TestError> {
        let written = self.peer.offer(&self.unsent);
        let _ = self.unsent.split_to(written);
        let read = if self.is_complete { 0 } else { self.peer.take(&mut self.reader.buffer) };
        while let Some(part) = self.reader.next().map_err(|reason| self.malformed(reason))? {
            self.take_part(part);
        }
        if self.is_complete || self.is_upgraded() {
            return Ok(written > 0 || read > 0);
        }
        match self.peer.ended() {
            Some(PeerEnd::Finished) if self.reader.end() => self.is_complete = true,
            Some(end) => return Err(TestError::Closed { request: self.what.clone(), end }),
            None => {}
        }
        Ok(written > 0 || read > 0)
    }

    fn take_part(&mut self, part: Part) {
        match part {
            Part::Head(head) => {
                if let Some(client) = &mut self.client {
                    client.keep_cookies(&head.headers);
                }
                self.head = Some(head);
            }
            Part::Content(bytes) => self.content.extend_from_slice(&bytes),
            Part::End(trailers) => {
                self.trailers = trailers;
                self.is_complete = true;
            }
        }
    }

    fn malformed(&self, reason: InvalidResponse) -> TestError {
        TestError::Malformed { request: self.what.clone(), reason: reason.to_string() }
    }
}
