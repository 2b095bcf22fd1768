//! Received WebSocket frames: the events, and the error with its close code, do not depend on how the input was cut,
//! nor on whether messages are delivered whole or in pieces.
//!
//! The first byte is the setup. The rest is what the peer sends, as it is, or as a script of frames: the first byte of
//! each, its length, and its payload. In a script lengths and masks are right, and payload can be compressed.
#![no_main]

use flate2::{Compress, Compression, FlushCompress};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::websocket::{Setup, encode, receive};
use tidegate_fuzz::cuts::Cut;

const SERVER: u8 = 1;
const DEFLATE: u8 = 2;
const TAKEOVER: u8 = 4;
const SMALL_WINDOW: u8 = 8;
const SMALL_LIMIT: u8 = 16;
/// The input is a script of frames.
const SCRIPT: u8 = 32;
/// The payload of frames with RSV1 and FIN is compressed by us.
const COMPRESS: u8 = 64;

fuzz_target!(|data: &[u8]| {
    let Some((&flags, input)) = data.split_first() else { return };
    let window_bits = if flags & SMALL_WINDOW != 0 { 9 } else { 15 };
    let setup = Setup {
        server: flags & SERVER != 0,
        deflate: (flags & DEFLATE != 0).then_some((window_bits, flags & TAKEOVER != 0)),
        message_bytes_max: if flags & SMALL_LIMIT != 0 { 200 } else { 300_000 },
    };
    let input = match flags & SCRIPT {
        0 => input.to_vec(),
        _ => script(setup, input, flags & COMPRESS != 0),
    };
    let whole = receive(setup, &input, Cut::Whole, false);
    for in_pieces in [false, true] {
        for cut in [Cut::Whole].into_iter().chain(Cut::ways(&input)) {
            let outcome = receive(setup, &input, cut, in_pieces);
            assert_eq!(
                outcome.refusal, whole.refusal,
                "the refusal depends on the cut {cut:?}, in pieces: {in_pieces}, {setup:?}"
            );
            assert_eq!(outcome, whole, "the outcome depends on the cut {cut:?}, in pieces: {in_pieces}, {setup:?}");
        }
    }
});

/// The frames that a script stands for. A length byte of 255 stands for a long payload that repeats a short one.
fn script(setup: Setup, input: &[u8], compress: bool) -> Vec<u8> {
    let (mut source, mut out) = (Source::new(input), Vec::new());
    let mut codec = Compress::new_with_window_bits(Compression::fast(), false, 9);
    while !source.is_empty() && out.len() < 40_000 {
        let first_byte = source.byte();
        let payload = match usize::from(source.byte()) {
            255 => {
                let length = source.number();
                let pattern = source.bytes(16);
                pattern.iter().copied().cycle().take(if pattern.is_empty() { 0 } else { length }).collect()
            }
            length => source.bytes(length).to_vec(),
        };
        let payload = if compress && first_byte & 0xc0 == 0xc0 { compressed(&mut codec, &payload) } else { payload };
        encode(setup, first_byte, &payload, &mut out);
    }
    out
}

/// The payload of a compressed message (RFC 7692 section 7.2.1).
fn compressed(codec: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 100);
    codec.reset();
    codec.compress_vec(payload, &mut out, FlushCompress::Sync).expect("the output has space");
    out.truncate(out.len() - 4);
    out
}
