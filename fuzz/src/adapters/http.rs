//! The HTTP protocol: a server that answers every request, and records what it sees and sends.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tidegate_http::protocol::{DateCache, Event, HttpDate, Next, Protocol};
use tidegate_http::{Limits, Response};

use crate::cuts::Cut;

/// How the server is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// With limits that inputs of a few hundred bytes reach.
    pub small_limits: bool,
    /// The response goes out before the request's content has arrived.
    pub early_responses: bool,
    /// Expectations of 100 (Continue) are answered.
    pub continues: bool,
}

/// The outcome of one connection, which must not depend on how the input was cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The events, in one text: heads with all parts, content, trailers.
    pub events: Vec<u8>,
    /// The kind of refusal and its status.
    pub refusal: Option<(String, u16)>,
    /// The refusal of the end of the input, if the peer ends its stream there.
    pub end: Option<(String, u16)>,
    /// All bytes sent.
    pub sent: Vec<u8>,
    /// Whether the connection is to be closed.
    pub closed: bool,
    /// Whether the protocol is within a head, and whether it expects content.
    pub state: (bool, bool, Option<u64>),
}

/// Serves one connection whose peer sends `input`, cut in this way.
pub fn serve(setup: Setup, input: &[u8], cut: Cut) -> Outcome {
    let limits = if setup.small_limits { small_limits() } else { Limits::default() };
    let mut server = Server { setup, protocol: Protocol::new(Arc::new(limits)), outcome: Outcome::default() };
    cut.apply(input, |piece| server.feed(piece));
    if server.outcome.refusal.is_none() && !server.outcome.closed {
        let protocol = &server.protocol;
        server.outcome.state = (protocol.is_in_head(), protocol.has_content(), protocol.content_remaining());
        let refused = server.protocol.receive_end().err();
        server.outcome.end = refused.map(|error| (format!("{error:?}"), error.status().as_u16()));
    }
    server.outcome
}

fn small_limits() -> Limits {
    Limits::default()
        .head_bytes_max(120)
        .fields_max(4)
        .target_bytes_max(24)
        .body_bytes_max(40)
        .chunk_line_bytes_max(12)
        .chunk_extension_bytes_max(20)
        .trailer_bytes_max(30)
        .drain_bytes_max(16)
}

struct Server {
    setup: Setup,
    protocol: Protocol,
    outcome: Outcome,
}

impl Server {
    /// Takes a piece of the input. Returns whether the connection goes on.
    fn feed(&mut self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            let progress = match self.protocol.receive(piece) {
                Ok(progress) => progress,
                Err(error) => {
                    self.outcome.refusal = Some((format!("{error:?}"), error.status().as_u16()));
                    self.protocol.refuse(error, date(), &mut self.outcome.sent);
                    self.outcome.closed = self.protocol.advance() == Next::Close;
                    assert!(self.outcome.closed, "a refusal ends the connection");
                    return false;
                }
            };
            assert!(progress.consumed <= piece.len());
            assert!(progress.consumed > 0 || progress.event.is_some(), "no progress");
            if let Some(event) = progress.event {
                self.see(event, &piece[..progress.consumed]);
            }
            piece = &piece[progress.consumed..];
            if !self.answer() {
                return false;
            }
        }
        true
    }

    fn see(&mut self, event: Event, consumed: &[u8]) {
        let events = &mut self.outcome.events;
        match event {
            Event::Head(head) => {
                let line = format!("\n{} {} {:?}\n", head.method(), head.target(), head.version());
                events.extend_from_slice(line.as_bytes());
                let parts = format!("{} {:?} {}\n", head.path(), head.raw_query(), head.wants_upgrade());
                events.extend_from_slice(parts.as_bytes());
                assert!(head.uri().is_ok(), "an accepted target is a URI");
                assert_eq!(head.fields().count(), head.headers().len());
                for (name, value) in head.fields() {
                    events.extend_from_slice(&[name.as_bytes(), b"=", value, b"\n"].concat());
                }
            }
            Event::Content(range) => {
                assert!(!range.is_empty());
                events.extend_from_slice(&consumed[range]);
            }
            Event::End(trailers) => {
                events.extend_from_slice(b"|");
                for (name, value) in trailers.iter().flat_map(|trailers| trailers.iter()) {
                    events.extend_from_slice(&[name.as_str().as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
                }
            }
            event => panic!("unknown event {event:?}"),
        }
    }

    /// Answers the request if it is time. Returns whether the connection goes on.
    fn answer(&mut self) -> bool {
        let (protocol, sent) = (&mut self.protocol, &mut self.outcome.sent);
        if protocol.is_awaiting_response() && self.setup.continues {
            protocol.send_continue(sent);
        }
        if protocol.is_awaiting_response() && (self.setup.early_responses || !protocol.has_content()) {
            let content = Bytes::from_static(b"ok");
            protocol.respond_whole(&Response::text(""), &content, date(), sent).expect("a request awaits a response");
        }
        if !protocol.has_content() || self.setup.early_responses {
            self.outcome.closed = protocol.advance() == Next::Close;
        }
        !self.outcome.closed
    }
}

fn date() -> HttpDate {
    DateCache::new().at(UNIX_EPOCH)
}
