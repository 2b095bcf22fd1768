//! Compressed messages arrive as they were sent, at every level and window, with takeover and without, whatever is
//! dropped or switched between them. Compression makes a message smaller or is left out.
//!
//! The first four bytes are the setup; then operations, most of them a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::deflate_round_trip::{Pair, Setup};
use tidegate_fuzz::cuts::Cut;

fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(data);
    let flags = source.byte();
    let setup = Setup {
        from_server: flags & 1 != 0,
        takeover: flags & 2 != 0,
        level: level(&mut source),
        window_bits: 9 + source.below(7) as u8,
        threshold_bytes: source.below(200),
    };
    let mut pair = Pair::new(setup);
    let mut sent_bytes = 0;
    while !source.is_empty() && sent_bytes < 100_000 {
        match source.byte() {
            0 => pair.set_level(None),
            1 => pair.set_level(Some(level(&mut source))),
            2 => pair.compress_and_drop(&payload(&mut source, true)),
            kind => {
                let payload = payload(&mut source, kind % 2 == 0);
                let cut = match kind % 3 {
                    0 => Cut::Whole,
                    1 => Cut::Random { seed: kind.into(), length_max: 1000 },
                    _ => Cut::Random { seed: kind.into(), length_max: 7 },
                };
                let (frame_bytes, is_compressed, received) = pair.send(&payload, cut);
                assert!(received == payload, "{setup:?}: another message of {} bytes arrived", received.len());
                assert!(!is_compressed || frame_bytes < payload.len(), "{setup:?}: compression adds bytes");
                assert!(!is_compressed || payload.len() >= setup.threshold_bytes, "{setup:?}: below the threshold");
                sent_bytes += payload.len();
            }
        }
    }
});

fn level(source: &mut Source) -> i32 {
    source.below(12) as i32 - 2
}

/// Reads a payload: bytes as they are, or a long one that repeats a short one with changes.
fn payload(source: &mut Source, long: bool) -> Vec<u8> {
    if !long {
        let length = source.below(256);
        return source.bytes(length).to_vec();
    }
    let (length, step) = (source.number(), source.below(64));
    let count = source.below(64);
    let pattern = source.bytes(count);
    if pattern.is_empty() {
        return vec![0; length];
    }
    (0..length)
        .map(|index| {
            let repeats = index / pattern.len();
            pattern[index % pattern.len()].wrapping_add((repeats * step / 16) as u8)
        })
        .collect()
}
