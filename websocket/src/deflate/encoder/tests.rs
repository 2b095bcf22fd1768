//! What the encoder makes is read by another library, and is about as short as what that library makes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::*;
use crate::deflate::samples::{LEVELS, Random, TAIL};

fn inflate(inflater: &mut Decompress, deflated: &[u8], len: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(len + 1);
    for mut input in [deflated, &TAIL] {
        while !input.is_empty() {
            let before = inflater.total_in();
            inflater.decompress_vec(input, &mut payload, FlushDecompress::Sync).unwrap();
            let taken = (inflater.total_in() - before) as usize;
            assert!(taken > 0, "more was made of {} bytes than {len}", deflated.len());
            input = &input[taken..];
        }
    }
    payload
}

/// Compresses a message with the other library.
fn by_library(compressor: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(payload.len() + 1000);
    compressor.compress_vec(payload, &mut deflated, FlushCompress::Sync).unwrap();
    assert!(deflated.ends_with(&TAIL));
    deflated.truncate(deflated.len() - TAIL.len());
    deflated
}

fn whole(encoder: &mut Encoder, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.push(payload, true, &mut out, usize::MAX).unwrap();
    out
}

#[test]
fn payload_of_any_kind_comes_back_however_it_is_cut() {
    let mut random = Random(1);
    for level in LEVELS {
        for window_bits in 9..=15 {
            let mut encoder = Encoder::new(level, window_bits);
            let mut inflater = Decompress::new_with_window_bits(false, window_bits);
            for _ in 0..if cfg!(debug_assertions) { 12 } else { 100 } {
                let len = random.len();
                let payload = random.payload(len);
                if random.below(4) == 0 {
                    encoder.restart(if random.below(2) == 0 { len } else { usize::MAX });
                    inflater.reset(false);
                }
                let mut out = Vec::new();
                let mut rest = &payload[..];
                while random.below(3) > 0 {
                    let (piece, after) = rest.split_at(random.below(rest.len() + 1));
                    encoder.push(piece, false, &mut out, usize::MAX).unwrap();
                    rest = after;
                }
                encoder.push(rest, true, &mut out, usize::MAX).unwrap();
                let inflated = inflate(&mut inflater, &out, len);
                assert!(inflated == payload, "level {level}, {window_bits} bits, {len} bytes");
            }
        }
    }
}

/// A context tells nothing of messages that are not part of it, and neither do the sizes of messages.
#[test]
fn a_message_by_itself_is_the_same_whatever_came_before() {
    let mut random = Random(2);
    for level in LEVELS {
        let mut encoder = Encoder::new(level, 15);
        for len in [100, 1000, 5000, 40_000, 150_000] {
            let payload = random.records(len);
            let mut fresh = Encoder::new(level, 15);
            fresh.restart(len);
            let expected = whole(&mut fresh, &payload);
            for before in [0, 10, 3000, 30_000, 70_000] {
                let before = [&payload[..before.min(len)], &random.records(before)].concat();
                whole(&mut encoder, &before);
                encoder.restart(len);
                assert!(whole(&mut encoder, &payload) == expected, "level {level}, {len} bytes");
            }
        }
    }
}

#[test]
fn messages_are_about_as_short_as_those_of_the_library() {
    for level in 1..=9 {
        for takeover in [false, true] {
            for len in [300, 1000, 20_000] {
                let mut random = Random(3);
                let mut compressor = Compress::new(Compression::new(level as u32), false);
                let mut encoder = Encoder::new(level, 15);
                let (mut ours, mut theirs) = (0, 0);
                for _ in 0..(100_000 / len).min(150) {
                    let payload = random.records(len);
                    if !takeover {
                        compressor.reset();
                        encoder.restart(len);
                    }
                    theirs += by_library(&mut compressor, &payload).len();
                    ours += whole(&mut encoder, &payload).len();
                }
                assert!(ours * 100 <= theirs * 102, "level {level}, {len} bytes: {ours} where {theirs} are enough");
            }
        }
    }
}

#[test]
fn what_does_not_become_smaller_is_given_up_early_and_parts_of_it_are_stored() {
    let mut random = Random(4);
    let noise = random.noise(300_000);
    for level in LEVELS {
        let mut encoder = Encoder::new(level, 15);
        let mut out = Vec::new();
        assert_eq!(encoder.push(&noise, true, &mut out, noise.len()), Err(NotSmaller));
        assert!(out.len() < noise.len() + 20_000);
        encoder.restart(usize::MAX);
        assert_eq!(encoder.push(&noise[..1000], true, &mut Vec::new(), 1000), Err(NotSmaller));
        if level != 1 {
            // The symbols of a block, and a little.
            encoder.restart(usize::MAX);
            let payload = [&[b'x'; 40_000], &noise[..40_000]].concat();
            let deflated = whole(&mut encoder, &payload);
            assert!(deflated.len() < 41_000 + if level == -2 { 40_000 } else { 0 }, "{level}: {}", deflated.len());
        }
    }
}

#[test]
fn a_repetition_is_found_as_far_back_as_the_window_reaches() {
    let mut random = Random(5);
    for window_bits in 9..=15 {
        let window = 1_usize << window_bits;
        let repeated = random.noise(200);
        for (distance, is_found) in [(window - 300, true), (window + 1, false)] {
            for level in [1, 6, 9] {
                let mut encoder = Encoder::new(level, window_bits);
                whole(&mut encoder, &random.noise(50_000));
                // At level 1 a few thousand other words take the places of the first ones in the table.
                let between = if level == 1 { vec![0; distance - 200] } else { random.noise(distance - 200) };
                whole(&mut encoder, &[&repeated[..], &between].concat());
                assert_eq!(whole(&mut encoder, &repeated).len() < 50, is_found, "level {level}, {distance} bytes back");
            }
        }
    }
}

/// Of a match with a rare beginning or a rare end, the other is at more positions than a search looks at.
#[test]
fn a_match_is_found_by_whatever_is_rare_in_it() {
    let mut random = Random(6);
    let [beginning, common, end] = [8, 24, 8].map(|len| random.noise(len));
    let decoys = |random: &mut Random| (0..100).flat_map(|_| [&common[..], &random.noise(4)].concat()).collect();
    for level in 3..=8 {
        let by_beginning = [&beginning[..], &common, &end].concat();
        let others: Vec<u8> = decoys(&mut random);
        // The last and shorter match ends within what is common.
        let history = [&by_beginning[..], &others, &beginning, &common[..12]].concat();
        let by_end = [&common[..], &end].concat();
        for (history, message) in [(history, by_beginning), ([&by_end[..], &others].concat(), by_end)] {
            let mut encoder = Encoder::new(level, 15);
            whole(&mut encoder, &history);
            let deflated = whole(&mut encoder, &message);
            // Two matches take at least a byte more than one.
            assert!(deflated.len() < 7, "level {level}: {} bytes", deflated.len());
        }
    }
}
