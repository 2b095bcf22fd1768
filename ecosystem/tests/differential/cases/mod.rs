//! The streams that are sent: each has one request of one kind, a random request in everything else.

mod bytes;
mod content;
mod cut;
mod draft;
mod fields;
mod lines;

use std::fmt;

use crate::random::Random;
use draft::Draft;

/// The target of the request in front of that of the kind.
pub const BEFORE: &str = "/before";

/// The target of the request behind it. Its answer shows that the connection stayed open and in step.
pub const AFTER: &str = "/after";

/// Streams of each kind.
const STREAMS: usize = 12;

/// A way to change a random request. The number counts the streams of the kind.
type Change = Box<dyn Fn(&mut Random, &mut Draft, usize)>;

/// A kind of requests.
struct Kind {
    name: String,
    /// The number of streams of it.
    streams: usize,
    change: Change,
}

impl Kind {
    fn new(name: impl Into<String>, change: impl Fn(&mut Random, &mut Draft) + 'static) -> Self {
        let change = move |random: &mut Random, draft: &mut Draft, _| change(random, draft);
        Self { name: name.into(), streams: STREAMS, change: Box::new(change) }
    }

    /// A kind whose variants are values, which take turns; `set` puts one into the request.
    fn of<T>(name: &str, values: &'static [T], set: impl Fn(&mut Random, &mut Draft, &'static T) + 'static) -> Self {
        let change =
            move |random: &mut Random, draft: &mut Draft, number| set(random, draft, &values[number % values.len()]);
        Self { name: name.to_owned(), streams: STREAMS, change: Box::new(change) }
    }
}

/// One stream.
pub struct Case {
    pub kind: String,
    pub stream: Vec<u8>,
    /// Whether a request for [`BEFORE`] comes first.
    pub has_before: bool,
    /// Whether a request for [`AFTER`] comes last.
    pub has_after: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.stream[..self.stream.len().min(600)];
        write!(f, "{:?}: \"{}\"", self.kind, shown.escape_ascii())?;
        if shown.len() < self.stream.len() {
            write!(f, " and {} bytes", self.stream.len() - shown.len())
        } else {
            Ok(())
        }
    }
}

/// Generates all streams. Equal seeds give equal streams.
pub fn generate(seed: u64) -> Vec<Case> {
    let mut random = Random::new(seed);
    let mut cases = Vec::new();
    for kind in [lines::kinds(), fields::kinds(), content::kinds(), bytes::kinds()].into_iter().flatten() {
        for number in 0..kind.streams {
            let mut draft = Draft::random(&mut random);
            (kind.change)(&mut random, &mut draft, number);
            let has_before = random.chance(30);
            let before = if has_before { request_before(&mut random) } else { Vec::new() };
            let after = format!("GET {AFTER} HTTP/1.1\r\nHost: after\r\n\r\n");
            let stream = [before, draft.bytes(), after.into_bytes()].concat();
            cases.push(Case { kind: kind.name.clone(), stream, has_before, has_after: true });
        }
    }
    cases.extend(cut::generate(&mut random));
    cases
}

fn request_before(random: &mut Random) -> Vec<u8> {
    let content = match random.below(3) {
        0 => "\r\n",
        1 => "Content-Length: 3\r\n\r\nabc",
        _ => "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    let method = if content.len() > 2 { "POST" } else { "GET" };
    format!("{method} {BEFORE} HTTP/1.1\r\nHost: before\r\n{content}").into_bytes()
}
