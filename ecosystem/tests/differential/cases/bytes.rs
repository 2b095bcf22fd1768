//! Kinds with one byte that does not belong there, within each part of a request.

use super::Kind;
use super::draft::Draft;
use crate::random::Random;

/// Streams of each of these kinds: there are many.
const STREAMS: usize = 8;

/// The bytes of a class.
type Bytes = fn() -> Vec<u8>;

const CLASSES: &[(&str, Bytes)] = &[
    ("NUL", || vec![0]),
    ("a control byte", || [(1..=8).collect(), vec![11, 12], (14..=31).collect::<Vec<u8>>()].concat()),
    ("DEL", || vec![127]),
    ("a tab", || vec![b'\t']),
    ("a space", || vec![b' ']),
    ("a line feed", || vec![b'\n']),
    ("a carriage return", || vec![b'\r']),
    ("a byte above 127", || (128..=255).collect()),
];

/// Puts a byte within a part.
type Place = fn(&mut Random, &mut Draft, u8);

const PARTS: &[(&str, Place)] = &[
    ("the method", |random, draft, byte| insert(random, &mut draft.method, byte)),
    ("the path", |random, draft, byte| {
        draft.target = b"/path".into();
        insert(random, &mut draft.target, byte);
    }),
    ("the query", |random, draft, byte| {
        let mut query = b"ab=cd".to_vec();
        insert(random, &mut query, byte);
        draft.target = [&b"/?"[..], &query].concat();
    }),
    ("the version", |random, draft, byte| insert(random, &mut draft.version, byte)),
    ("a name", |random, draft, byte| insert(random, &mut draft.added("X-Field", "value").name, byte)),
    ("a value", |random, draft, byte| insert(random, &mut draft.added("X-Field", "value").value, byte)),
    ("Host", |random, draft, byte| {
        let mut host = b"a.example".to_vec();
        insert(random, &mut host, byte);
        draft.set_hosts(random, &[&host]);
    }),
    ("Content-Length", |random, draft, byte| {
        draft.set_length(random, &[]);
        insert(random, &mut draft.added("Content-Length", "05").value, byte);
    }),
    ("Transfer-Encoding", |random, draft, byte| {
        draft.set_codings(random, &[], b"5\r\nhello\r\n0\r\n\r\n");
        insert(random, &mut draft.added("Transfer-Encoding", "chunked").value, byte);
    }),
    ("a chunk size", |random, draft, byte| {
        let mut size = b"05".to_vec();
        insert(random, &mut size, byte);
        draft.set_chunks(random, &[&size[..], b"\r\nhello\r\n0\r\n\r\n"].concat());
    }),
    ("a trailer's value", |random, draft, byte| {
        let mut value = b"value".to_vec();
        insert(random, &mut value, byte);
        draft.set_chunks(random, &[&b"5\r\nhello\r\n0\r\nX-A: "[..], &value, b"\r\n\r\n"].concat());
    }),
];

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for &(part, place) in PARTS {
        for &(class, bytes) in CLASSES {
            let mut kind = Kind::new(format!("{class} in {part}"), move |random, draft| {
                let byte = *random.pick(&bytes());
                place(random, draft, byte);
            });
            kind.streams = STREAMS;
            kinds.push(kind);
        }
    }
    kinds
}

/// Inserts a byte between two others.
fn insert(random: &mut Random, part: &mut Vec<u8>, byte: u8) {
    let place = random.within(1..=part.len() - 1);
    part.insert(place, byte);
}
