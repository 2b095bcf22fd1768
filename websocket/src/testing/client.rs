//! The client's end of a WebSocket in memory.

use std::collections::VecDeque;
use std::fmt;

use bytes::BytesMut;
use http::HeaderMap;
use tidegate_engine::testing::{Step, Stuck, TestPeer};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
#[cfg(feature = "compression")]
use crate::deflate::{DeflateConfig, DeflateParams, MessageDeflater};
use crate::frame::mask::MaskingKey;
use crate::frame::{Frame, encode_close};
use crate::message::Message;
use crate::protocol::event::Event;
use crate::protocol::{Protocol, ProtocolConfig};
use crate::role::Role;

/// A client's WebSocket, from [`TestUpgrade::connect`](super::TestUpgrade::connect). Dropping it closes the connection
/// without a close frame.
///
/// Every method lets the server run until it has nothing left to do. Those that wait for something fail with a panic if
/// it does not come: while the server rests, only the clock ([`advance`](tidegate_http::testing::TestServer::advance)),
/// another client or another thread can change anything.
///
/// ```
/// use std::time::Duration;
/// use tidegate_engine::time;
/// use tidegate_http::Router;
/// use tidegate_http::testing::TestServer;
/// use tidegate_websocket::testing::WebSocketClients;
/// use tidegate_websocket::upgrade;
///
/// let remind = upgrade(async |mut ws| {
///     time::sleep(Duration::from_secs(3600)).await;
///     ws.send("an hour has passed").await?;
///     Ok(())
/// });
/// let server = TestServer::new(Router::new().get("/remind", remind));
/// let mut client = server.websocket("/remind").connect();
/// assert_eq!(client.try_recv(), None);
/// server.advance(Duration::from_secs(3600));
/// assert_eq!(client.recv_text(), "an hour has passed");
/// assert_eq!(client.recv(), None); // closed
/// ```
pub struct TestWebSocket {
    peer: TestPeer,
    protocol: Protocol,
    /// Received bytes that are not read.
    unread: Vec<u8>,
    /// Bytes that the server has no room for.
    unsent: BytesMut,
    messages: VecDeque<Message>,
    subprotocol: Option<String>,
    headers: HeaderMap,
    #[cfg(feature = "compression")]
    deflater: Option<MessageDeflater>,
    answers_pings: bool,
    pings: u64,
    pongs: VecDeque<Vec<u8>>,
    close_sent: bool,
    closed: Closed,
    masks: u32,
}

/// What is known of the end.
#[derive(Debug)]
enum Closed {
    No,
    /// The server's close frame has come, with or without a code.
    Frame(Option<CloseFrame>),
    /// The connection has ended without one.
    Lost,
}

impl TestWebSocket {
    pub(super) fn new(
        peer: TestPeer,
        received: Vec<u8>,
        subprotocol: Option<String>,
        headers: HeaderMap,
        #[cfg(feature = "compression")] deflate: Option<(DeflateConfig, DeflateParams)>,
    ) -> Self {
        let config = ProtocolConfig::new(Role::Client);
        #[cfg(feature = "compression")]
        let config = config.agreed_deflate(deflate.as_ref().map(|(_, params)| *params));
        Self {
            peer,
            protocol: Protocol::new(config),
            unread: received,
            unsent: BytesMut::new(),
            messages: VecDeque::new(),
            subprotocol,
            headers,
            #[cfg(feature = "compression")]
            deflater: deflate.map(|(config, params)| MessageDeflater::new(&config, &params, Role::Client)),
            answers_pings: true,
            pings: 0,
            pongs: VecDeque::new(),
            close_sent: false,
            closed: Closed::No,
            masks: 0,
        }
    }

    /// Returns the subprotocol that the server has chosen.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns the fields of the server's 101.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns whether messages can be compressed.
    #[cfg(feature = "compression")]
    pub fn is_compressed(&self) -> bool {
        self.deflater.is_some()
    }

    /// Returns the client's end of the connection, for plain bytes: frames that break the protocol, a reset. What it
    /// reads is lost to the WebSocket.
    pub fn peer_mut(&mut self) -> &mut TestPeer {
        &mut self.peer
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.peer.reset();
    }
}

/// # Sending
impl TestWebSocket {
    /// Sends a message, compressed if that was agreed on and is worthwhile.
    ///
    /// # Panics
    /// After [`close`](Self::close) or [`send_close`](Self::send_close), or if a handler blocks its thread.
    #[track_caller]
    pub fn send(&mut self, message: impl Into<Message>) {
        self.check_may_send();
        let (message, key) = (message.into(), self.next_key());
        let mut out = Vec::new();
        #[cfg(feature = "compression")]
        if let Some(deflater) = &mut self.deflater {
            let mut deflated = Vec::new();
            if deflater.deflate(message.as_bytes(), &mut deflated) {
                Frame::deflated(message.kind(), &deflated).encode(Some(key), &mut out);
                return self.queue(&out);
            }
        }
        Frame::message(&message).encode(Some(key), &mut out);
        self.queue(&out);
    }

    /// Sends a value as JSON in a text message.
    ///
    /// # Panics
    /// As [`send`](Self::send), and if the value has no JSON form.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn send_json<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        match Message::from_json(value) {
            Ok(message) => self.send(message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a frame: a control frame, or a fragment of a message.
    ///
    /// ```
    /// use tidegate_http::Router;
    /// use tidegate_http::testing::TestServer;
    /// use tidegate_websocket::protocol::Frame;
    /// use tidegate_websocket::testing::WebSocketClients;
    /// use tidegate_websocket::upgrade;
    ///
    /// let echo = upgrade(async |mut ws| {
    ///     while let Some(message) = ws.recv().await? {
    ///         ws.send(message).await?;
    ///     }
    ///     Ok(())
    /// });
    /// let mut client = TestServer::new(Router::new().get("/", echo)).websocket("/").connect();
    /// client.send_frame(&Frame::text("in two ").not_final());
    /// client.send_frame(&Frame::ping(b"alive?")?);
    /// client.send_frame(&Frame::continuation(b"pieces"));
    /// assert_eq!(client.take_pong().as_deref(), Some(&b"alive?"[..]));
    /// assert_eq!(client.recv_text(), "in two pieces");
    /// # Ok::<(), tidegate_websocket::UsageError>(())
    /// ```
    ///
    /// # Panics
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_frame(&mut self, frame: &Frame<'_>) {
        self.check_may_send();
        let mut out = Vec::new();
        frame.encode(Some(self.next_key()), &mut out);
        self.queue(&out);
    }

    /// Sends a close frame, and goes on receiving. Has no effect after another one.
    ///
    /// # Panics
    /// If the code or the reason cannot be in a close frame, or a handler blocks its thread.
    #[track_caller]
    pub fn send_close(&mut self, code: CloseCode, reason: &str) {
        match CloseFrame::new(code, reason) {
            Ok(frame) => self.queue_close(Some(&frame)),
            Err(error) => panic!("{error}"),
        }
        self.run();
    }

    /// Returns the bytes that the server has not taken: its handler does not read, and the buffers on the way are full.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn unsent_bytes(&mut self) -> usize {
        self.run();
        self.unsent.len()
    }
}

/// # Receiving
impl TestWebSocket {
    /// Waits for the next message; `None` when the WebSocket has ended, see [`close_frame`](Self::close_frame).
    ///
    /// # Panics
    /// If none comes, or the server breaks the protocol.
    #[track_caller]
    pub fn recv(&mut self) -> Option<Message> {
        match self.wait(|client| !client.messages.is_empty() || client.has_ended()) {
            Ok(()) => self.messages.pop_front(),
            Err(stuck) => panic!("no message: {stuck}"),
        }
    }

    /// Returns the next message if there is one. Does not wait for other threads.
    ///
    /// # Panics
    /// If the server breaks the protocol, or a handler blocks its thread.
    #[track_caller]
    pub fn try_recv(&mut self) -> Option<Message> {
        self.run();
        self.messages.pop_front()
    }

    /// Waits for a text message and returns its text.
    ///
    /// # Panics
    /// As [`recv`](Self::recv), and if the WebSocket has ended or the message is binary.
    #[track_caller]
    pub fn recv_text(&mut self) -> String {
        match self.recv() {
            Some(Message::Text(text)) => String::from(&*text),
            Some(Message::Binary(bytes)) => panic!("expected text and received {} bytes", bytes.len()),
            None => panic!("expected text, and the WebSocket has ended: {:?}", self.closed),
        }
    }

    /// Waits for a message and parses it as JSON.
    ///
    /// # Panics
    /// As [`recv`](Self::recv), and if the WebSocket has ended or the message is not JSON of this type.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn recv_json<T: serde::de::DeserializeOwned>(&mut self) -> T {
        let Some(message) = self.recv() else {
            panic!("expected JSON, and the WebSocket has ended: {:?}", self.closed);
        };
        match message.json() {
            Ok(value) => value,
            Err(error) => panic!("{error} in the message {message:?}"),
        }
    }

    /// Sets whether pings are answered. Default: true. Without answers the keepalive of the server gives the client up.
    pub fn answer_pings(&mut self, answers: bool) {
        self.answers_pings = answers;
    }

    /// Returns the number of pings that have arrived.
    ///
    /// # Panics
    /// As [`try_recv`](Self::try_recv).
    #[track_caller]
    pub fn pings(&mut self) -> u64 {
        self.run();
        self.pings
    }

    /// Returns the payload of the next pong that has arrived.
    ///
    /// # Panics
    /// As [`try_recv`](Self::try_recv).
    #[track_caller]
    pub fn take_pong(&mut self) -> Option<Vec<u8>> {
        self.run();
        self.pongs.pop_front()
    }
}

/// # Closing
impl TestWebSocket {
    /// Closes in order: sends a close frame and waits for the server's. Messages that arrive meanwhile stay to be
    /// received. Returns the server's code; `None` if it sent none, or the connection ended without a close frame.
    ///
    /// # Panics
    /// As [`send_close`](Self::send_close), and if the server does not close.
    #[track_caller]
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Option<CloseCode> {
        self.send_close(code, reason);
        match self.wait(Self::has_ended) {
            Ok(()) => self.close_frame().map(CloseFrame::code),
            Err(stuck) => panic!("the server does not close: {stuck}"),
        }
    }

    /// Returns the server's close frame, if it has come and has a code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        match &self.closed {
            Closed::Frame(frame) => frame.as_ref(),
            Closed::No | Closed::Lost => None,
        }
    }

    /// Returns whether the WebSocket has ended, with a close frame or without. Does not wait for other threads.
    ///
    /// # Panics
    /// As [`try_recv`](Self::try_recv).
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.run();
        self.has_ended()
    }
}

impl TestWebSocket {
    fn has_ended(&self) -> bool {
        !matches!(self.closed, Closed::No)
    }

    #[track_caller]
    fn check_may_send(&self) {
        assert!(!self.close_sent, "the client has sent its close frame: nothing can follow it");
    }

    #[track_caller]
    fn queue(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.run();
    }

    fn queue_close(&mut self, frame: Option<&CloseFrame>) {
        if !std::mem::replace(&mut self.close_sent, true) {
            let mut out = Vec::new();
            encode_close(frame, Some(self.next_key()), &mut out);
            self.unsent.extend_from_slice(&out);
        }
    }

    /// Returns a masking key that the last frames did not have. It need not be random here.
    fn next_key(&mut self) -> MaskingKey {
        self.masks = self.masks.wrapping_add(0x9e37_79b9);
        MaskingKey::new(self.masks.to_be_bytes())
    }

    /// Exchanges bytes until nothing more happens by itself.
    #[track_caller]
    fn run(&mut self) {
        let engine = self.peer.engine().clone();
        let run = engine.drive_until_idle(|| if self.exchange_bytes() { Step::Again } else { Step::<()>::Waiting });
        if let Err(stuck) = run {
            panic!("{stuck}");
        }
    }

    /// Exchanges bytes until `done`.
    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), Stuck> {
        let engine = self.peer.engine().clone();
        engine.drive(|| {
            let moved = self.exchange_bytes();
            match done(self) {
                true => Step::Done(()),
                false if moved => Step::Again,
                false => Step::Waiting,
            }
        })
    }

    /// Writes and reads what is possible now. Returns whether that was anything.
    fn exchange_bytes(&mut self) -> bool {
        let written = self.peer.offer(&self.unsent);
        let _ = self.unsent.split_to(written);
        let read = self.peer.take(&mut self.unread);
        let had_ended = self.has_ended();
        self.read_events();
        if !self.has_ended() && self.peer.ended().is_some() {
            self.closed = Closed::Lost;
        }
        written > 0 || read > 0 || self.has_ended() != had_ended
    }

    fn read_events(&mut self) {
        let mut unread = std::mem::take(&mut self.unread);
        let mut start = 0;
        loop {
            let progress = match self.protocol.receive(&mut unread[start..]) {
                Ok(progress) => progress,
                Err(error) => panic!("the server broke the protocol: {error}"),
            };
            let input = &unread[start..];
            start += progress.consumed;
            match progress.event {
                None => return,
                Some(event) => self.take_event(event, input),
            }
        }
    }

    fn take_event(&mut self, event: Event, input: &[u8]) {
        match event {
            Event::Ping(payload) => {
                self.pings += 1;
                if self.answers_pings && !self.close_sent {
                    let mut out = Vec::new();
                    let pong = Frame::pong(payload.bytes(input)).expect("a ping's payload fits in a pong");
                    pong.encode(Some(self.next_key()), &mut out);
                    self.unsent.extend_from_slice(&out);
                }
            }
            Event::Pong(payload) => self.pongs.push_back(payload.bytes(input).to_vec()),
            Event::Close(frame) => {
                // RFC 6455 section 5.5.1: the answer echoes the code.
                self.queue_close(frame.as_ref());
                self.closed = Closed::Frame(frame);
            }
            event => match event.into_message(input) {
                Ok(message) => self.messages.extend(message),
                Err(error) => panic!("the server broke the protocol: {error}"),
            },
        }
    }
}

impl fmt::Debug for TestWebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestWebSocket")
            .field("peer", &self.peer)
            .field("messages", &self.messages.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
