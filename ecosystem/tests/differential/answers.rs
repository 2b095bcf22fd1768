//! Sends a stream to a server and reads its answers.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::seen::{FIELD, Seen};
use crate::servers::Address;

/// A server answers at once. This only ends a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that a server sent on one connection, except interim responses.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers(pub Vec<Answer>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 for an answer without a head, as in HTTP/0.9.
    pub status: u16,
    /// What the application saw; `None` if the server answered by itself.
    pub seen: Option<Seen>,
}

impl Answers {
    /// Sends the pieces of a stream, then its end, and reads up to the end of the answers.
    pub fn to(address: &Address, pieces: &[&[u8]]) -> Self {
        let mut connection = address.connect(PATIENCE);
        for piece in pieces {
            // A server that has refused the request reads no further; its answer counts.
            if connection.write_all(piece).is_err() {
                break;
            }
        }
        connection.end_stream();
        let mut received = Vec::new();
        match connection.read_to_end(&mut received) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            Err(error) => panic!("no end after {PATIENCE:?} of {:?}: {error}", pieces.concat().escape_ascii()),
        }
        parse(&received).unwrap_or_else(|| {
            let [sent, received] = [&pieces.concat(), &received].map(|bytes| bytes.escape_ascii().to_string());
            panic!("no answers to {sent:?}: {received:?}")
        })
    }
}

fn parse(mut received: &[u8]) -> Option<Answers> {
    let mut answers = Vec::new();
    while !received.is_empty() {
        if !received.starts_with(b"HTTP/1.") {
            answers.push(Answer { status: 0, seen: None });
            break;
        }
        let head_end = received.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let (head, rest) = received.split_at(head_end);
        received = rest;
        let head = std::str::from_utf8(head).ok()?;
        let status: u16 = head.get(9..12)?.parse().ok()?;
        if status < 200 {
            continue;
        }
        let field = |name: &str| {
            let is_it = |line: &&str| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
            head.lines().find(is_it).and_then(|line| line[name.len()..].strip_prefix(':')).map(str::trim)
        };
        let seen = match field(FIELD) {
            Some(value) => Some(Seen::decode(value)?),
            None => None,
        };
        let length = field("content-length").map_or(Some(received.len()), |length| length.parse().ok())?;
        // No content follows to HEAD, which only the server knows if it answered by itself.
        let has_content = match &seen {
            Some(seen) => seen.method != "HEAD",
            None => received.len() >= length && !received.starts_with(b"HTTP/1."),
        };
        if has_content {
            received = received.get(length..)?;
        }
        answers.push(Answer { status, seen });
    }
    Some(Answers(answers))
}
