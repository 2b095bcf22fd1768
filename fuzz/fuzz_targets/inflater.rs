//! The inflater of compressed messages, cut in several ways, against flate2 and miniz_oxide at once.
//!
//! The first byte is the setup. The rest is messages: two bytes of length each, and the compressed payload.
#![no_main]

use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::stream::{InflateState, inflate as step};
use miniz_oxide::{DataFormat, MZFlush};
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::inflater::Inflater;
use tidegate_fuzz::cuts::Cut;

/// The end of every message, which is not sent (RFC 7692 section 7.2.2).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];

fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(data);
    let flags = source.byte();
    let takeover = flags & 1 != 0;
    let message_bytes_max = if flags & 2 != 0 { 100 } else { 300_000 };
    let cuts = [Cut::Whole].into_iter().chain(Cut::ways(data));
    let mut inflaters: Vec<_> = cuts.map(|cut| (cut, Inflater::new(takeover, message_bytes_max as u64))).collect();
    let mut reference = Decompress::new(false);
    while !source.is_empty() {
        let length = source.number();
        let deflated = source.bytes(length);
        if !takeover {
            reference.reset(false);
        }
        let expected = inflate(&mut reference, deflated, message_bytes_max);
        for (cut, inflater) in &mut inflaters {
            let inflated = inflater.inflate(deflated, *cut);
            let lengths = (inflated.as_ref().map(Vec::len), expected.as_ref().map(|(payload, _)| payload.len()));
            assert!(
                inflated.as_ref() == expected.as_ref().map(|(payload, _)| payload),
                "flate2 inflates another payload: lengths {lengths:?}, takeover: {takeover}, {cut:?}"
            );
        }
        let Some((payload, restarted)) = expected else { return };
        if !takeover && !restarted {
            let independent = inflate_independently(&[deflated, TAIL].concat(), message_bytes_max + 1);
            assert!(payload == independent, "miniz_oxide inflates another payload");
        }
    }
});

/// Inflates a message at once: its payload, and whether a final block restarted the stream. `None` if it is invalid or
/// longer than the limit.
fn inflate(state: &mut Decompress, deflated: &[u8], message_bytes_max: usize) -> Option<(Vec<u8>, bool)> {
    let input = [deflated, TAIL].concat();
    // Not even an empty block, whose header is in the byte before the tail.
    if deflated.is_empty() {
        return Some((Vec::new(), true));
    }
    // The frames of a message that is mostly empty blocks are bounded too.
    if deflated.len() > message_bytes_max + message_bytes_max / 8 + 4096 {
        return None;
    }
    let mut payload = Vec::with_capacity(message_bytes_max + 1);
    let (mut position, mut restarted) = (0, false);
    // After a final block at the very end nothing is missing.
    while position < input.len() && !(restarted && position == deflated.len()) {
        let before = (state.total_in(), payload.len());
        let status = state.decompress_vec(&input[position..], &mut payload, FlushDecompress::Sync).ok()?;
        position += (state.total_in() - before.0) as usize;
        if payload.len() > message_bytes_max {
            return None;
        }
        if status == Status::StreamEnd {
            state.reset(false);
            restarted = true;
        } else if (state.total_in(), payload.len()) == before {
            return None;
        }
    }
    Some((payload, restarted))
}

/// Inflates with another codec, up to so many bytes, as far as it goes.
fn inflate_independently(input: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let (mut payload, mut position, mut rest) = (vec![0; bytes_max], 0, input);
    loop {
        let made = step(&mut state, rest, &mut payload[position..], MZFlush::None);
        rest = &rest[made.bytes_consumed..];
        position += made.bytes_written;
        if made.bytes_written == 0 && made.bytes_consumed == 0 {
            payload.truncate(position);
            return payload;
        }
    }
}
