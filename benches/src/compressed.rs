//! Compressed messages (RFC 7692): the requests, prepared once, and the check of the replies.
//!
//! Each request is compressed by itself, so its bytes are the same whatever came before, and every server inflates the
//! same bytes. A reply is inflated and compared with the message. A server that resets its context compresses equal
//! messages to equal bytes: these are inflated once, and later replies are compared with them.

use std::mem;

use crate::deflate::{Deflate, Inflate};
use crate::handshake::Context;
use crate::payload::{Content, payload};
use crate::replies::{Mismatch, Replies, hexadecimal};
use crate::requests::Requests;
use crate::script::{self, MASKING_KEY, TEXT};

/// The level at which requests are compressed.
const LEVEL: u32 = 6;

/// First byte of a compressed text message in one frame: FIN, RSV1 and the opcode.
const COMPRESSED_TEXT: u8 = TEXT | 0x40;

/// The expected replies.
#[derive(Debug)]
pub struct Compressed {
    context: Context,
    payloads: Vec<Vec<u8>>,
    /// The last correct reply to each message, where the server resets its context.
    known: Vec<Vec<u8>>,
    inflate: Inflate,
    payload_bytes: u64,
    reply_bytes: u64,
}

/// Position of one connection in its replies.
#[derive(Debug)]
pub struct Position {
    /// Message whose reply is next.
    next: usize,
    /// Received bytes of an incomplete reply.
    partial: Vec<u8>,
    replies: u64,
    /// The context of the server's compressor, where it keeps one.
    inflate: Option<Inflate>,
}

impl Compressed {
    /// Prepares the requests and the check of their replies, or returns `None` if they would take more than 1 GiB. The
    /// requests live until the process ends, because a send can be in flight when a run fails.
    ///
    /// # Panics
    /// If the library fails to compress a message.
    #[must_use]
    pub fn prepare(
        payload_bytes: usize,
        content: Content,
        window_messages_max: usize,
        context: Context,
    ) -> Option<(&'static Requests, Self)> {
        let messages = script::cycle_messages(payload_bytes, window_messages_max)?;
        let payloads: Vec<_> = (0..messages as u64).map(|number| payload(number, payload_bytes, content)).collect();
        let mut deflate = Deflate::new(LEVEL, true);
        let (mut cycle, mut sizes) = (Vec::new(), Vec::with_capacity(messages));
        for payload in &payloads {
            let before = cycle.len();
            let compressed = deflate.message(payload).expect("a compressor takes any bytes");
            script::append_frame(&mut cycle, COMPRESSED_TEXT, Some(MASKING_KEY), &compressed);
            sizes.push(cycle.len() - before);
        }
        let requests = Box::leak(Box::new(Requests::of_sizes(cycle, &sizes, window_messages_max)));
        let known = vec![Vec::new(); messages];
        let (payload_bytes, reply_bytes) = (0, 0);
        Some((requests, Self { context, payloads, known, inflate: Inflate::default(), payload_bytes, reply_bytes }))
    }

    /// Returns the payload bytes of the messages for each byte of their replies, headers included.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.payload_bytes as f64 / self.reply_bytes.max(1) as f64
    }

    /// Checks the reply at the beginning of `bytes`. Returns its length, or `None` if it is incomplete.
    fn reply(&mut self, position: &mut Position, bytes: &[u8]) -> Result<Option<usize>, String> {
        let (payload, known) = (&self.payloads[position.next], &mut self.known[position.next]);
        let length = if !known.is_empty() && bytes.starts_with(known) {
            known.len()
        } else {
            let Some((start, end)) = frame(bytes)? else { return Ok(None) };
            let inflate = match &mut position.inflate {
                Some(inflate) => inflate,
                None => {
                    self.inflate.reset();
                    &mut self.inflate
                }
            };
            let inflated = inflate.message(&bytes[start..end]).map_err(|error| error.to_string())?;
            if inflated != payload {
                return Err(differs(payload, inflated));
            }
            if self.context == Context::Reset {
                known.clear();
                known.extend_from_slice(&bytes[..end]);
            }
            end
        };
        self.payload_bytes += payload.len() as u64;
        self.reply_bytes += length as u64;
        position.next = (position.next + 1) % self.payloads.len();
        Ok(Some(length))
    }
}

impl Replies for Compressed {
    type Position = Position;

    fn begin(&self, first: usize) -> Position {
        let inflate = (self.context == Context::Kept).then(Inflate::default);
        Position { next: first % self.payloads.len(), partial: Vec::new(), replies: 0, inflate }
    }

    fn receive(&mut self, position: &mut Position, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch> {
        let mut joined = mem::take(&mut position.partial);
        let received = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let (mut completed, mut used) = (0, 0);
        while used < received.len() && completed < outstanding {
            let checked = self.reply(position, &received[used..]);
            let violation = |why| Mismatch::Violation { reply: position.replies + u64::from(completed), why };
            let Some(length) = checked.map_err(violation)? else { break };
            completed += 1;
            used += length;
        }
        let rest = &received[used..];
        if completed == outstanding && !rest.is_empty() {
            return Err(Mismatch::Unsolicited { bytes: rest.len() });
        }
        position.replies += u64::from(completed);
        position.partial = rest.to_vec();
        Ok(completed)
    }
}

/// Returns where the payload of the frame at the beginning of `bytes` begins and ends, or `None` if it is incomplete.
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let &[first, length, ref rest @ ..] = bytes else { return Ok(None) };
    if first != COMPRESSED_TEXT || length > 127 {
        return Err(format!("expected an unmasked compressed text message in one frame, got {}", hexadecimal(bytes)));
    }
    let (header, length) = match (length, rest) {
        (0..=125, _) => (2, usize::from(length)),
        (126, &[high, low, ..]) => (4, usize::from(u16::from_be_bytes([high, low]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
        _ => return Ok(None),
    };
    let end = header + length;
    Ok((bytes.len() >= end).then_some((header, end)))
}

fn differs(expected: &[u8], got: &[u8]) -> String {
    let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    format!(
        "inflates to {} bytes, and {} were sent; from byte {same} on expected {}, got {}",
        got.len(),
        expected.len(),
        hexadecimal(&expected[same..]),
        hexadecimal(&got[same..])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD_BYTES: usize = 500;

    fn prepared(context: Context) -> Compressed {
        Compressed::prepare(PAYLOAD_BYTES, Content::Json, 4, context).unwrap().1
    }

    /// Returns the replies to messages 2, 3, 4 and so on, several times over.
    fn replies(compressed: &Compressed, count: usize) -> Vec<u8> {
        let mut deflate = Deflate::new(1, compressed.context == Context::Reset);
        let mut stream = Vec::new();
        for number in 2..2 + count {
            let payload = &compressed.payloads[number % compressed.payloads.len()];
            script::append_frame(&mut stream, COMPRESSED_TEXT, None, &deflate.message(payload).unwrap());
        }
        stream
    }

    #[test]
    fn right_replies_are_counted_however_they_are_cut() {
        for context in [Context::Kept, Context::Reset] {
            let mut compressed = prepared(context);
            let count = compressed.payloads.len() * 2 + 1;
            let stream = replies(&compressed, count);
            for piece in [1, 100, 1000, stream.len()] {
                let mut position = compressed.begin(2);
                let mut awaited = count as u32;
                for bytes in stream.chunks(piece) {
                    awaited -= compressed.receive(&mut position, awaited, bytes).unwrap();
                }
                assert_eq!((awaited, position.partial.len()), (0, 0), "{context} {piece}");
            }
            assert!((1.5..20.0).contains(&compressed.ratio()), "{}", compressed.ratio());
        }
    }

    #[test]
    fn a_request_inflates_by_itself() {
        let (requests, compressed) = Compressed::prepare(PAYLOAD_BYTES, Content::Json, 4, Context::Kept).unwrap();
        for number in [5, 2] {
            let request = requests.window(number, 1);
            assert_eq!((request[0], request[1] & 0x80), (COMPRESSED_TEXT, 0x80));
            let header = if request[1] & 0x7f == 126 { 8 } else { 6 };
            let keys = MASKING_KEY.iter().cycle();
            let payload: Vec<u8> = request[header..].iter().zip(keys).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(Inflate::default().message(&payload).unwrap(), compressed.payloads[number]);
        }
    }

    #[test]
    fn any_wrong_byte_is_found_even_where_the_reply_is_known() {
        for context in [Context::Kept, Context::Reset] {
            let mut compressed = prepared(context);
            let cycle = compressed.payloads.len();
            let stream = replies(&compressed, 3 * cycle);
            let wrong_at = stream.len() - 40;
            for flipped in 0..8 {
                let mut wrong = stream.clone();
                wrong[wrong_at] ^= 1 << flipped;
                let mut position = compressed.begin(2);
                let received = compressed.receive(&mut position, 3 * cycle as u32, &wrong);
                let number = received.map(|completed| (completed as usize) < 3 * cycle);
                assert!(!matches!(number, Ok(false)), "{context}: bit {flipped}");
            }
        }
    }

    #[test]
    fn other_messages_and_frames_are_refused() {
        let mut compressed = prepared(Context::Reset);
        let stream = replies(&compressed, 1);
        let mut refused = |first: usize, outstanding: u32, bytes: &[u8]| {
            let mut position = compressed.begin(first);
            compressed.receive(&mut position, outstanding, bytes).unwrap_err().to_string()
        };
        assert!(refused(3, 1, &stream).contains("from byte"));
        assert!(refused(2, 1, b"\x81\x01a").contains("compressed text message"));
        assert!(refused(2, 1, b"\xc1\x81a").contains("unmasked"));
        assert!(refused(2, 1, &[&stream[..], &stream[..]].concat()).contains("unexpected bytes"));
        assert!(refused(2, 0, &stream[..1]).contains("unexpected bytes"));
    }
}
