//! Streams that end within a request.

use super::draft::Draft;
use super::{Case, request_before};
use crate::random::Random;

/// Streams of each kind.
const STREAMS: usize = 24;

/// A kind of cuts: its name, and the content of the request.
const KINDS: &[(&str, Content, Within)] = &[
    ("cut within the request line", Content::Any, Within::RequestLine),
    ("cut within the fields", Content::Any, Within::Fields),
    ("cut within the empty line", Content::Any, Within::EmptyLine),
    ("cut within content of a length", Content::Length, Within::Content),
    ("cut within chunks", Content::Chunks, Within::Content),
    ("cut in front of the content", Content::Some, Within::Front),
];

#[derive(Clone, Copy)]
enum Content {
    /// As it comes.
    Any,
    /// A length or chunks.
    Some,
    Length,
    Chunks,
}

#[derive(Clone, Copy)]
enum Within {
    RequestLine,
    Fields,
    EmptyLine,
    Front,
    Content,
}

pub fn generate(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, content, within) in KINDS {
        for _ in 0..STREAMS {
            let mut draft = Draft::random(random);
            let chunked = match content {
                Content::Any => None,
                Content::Some => Some(random.chance(50)),
                Content::Length => Some(false),
                Content::Chunks => Some(true),
            };
            match chunked {
                None => {}
                Some(false) => draft.set_length(random, &["5"]),
                Some(true) => draft.set_chunks(random, b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"),
            }
            let end = place(random, &draft, within);
            let has_before = random.chance(30);
            let before = if has_before { request_before(random) } else { Vec::new() };
            let stream = [&before, &draft.bytes()[..end]].concat();
            cases.push(Case { kind: name.to_owned(), stream, has_before, has_after: false });
        }
    }
    cases
}

/// Returns where the request is cut, in bytes.
fn place(random: &mut Random, draft: &Draft, within: Within) -> usize {
    let all = draft.bytes().len();
    let head = all - draft.content.len();
    let request_line = draft.bytes().iter().position(|&byte| byte == b'\n').expect("a line end") + 1;
    match within {
        Within::RequestLine => random.within(1..=request_line - 1),
        Within::Fields => random.within(request_line..=head - 3),
        Within::EmptyLine => head - 1,
        Within::Front => head,
        Within::Content => random.within(head + 1..=all - 1),
    }
}
