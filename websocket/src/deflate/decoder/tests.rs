//! What the encoder and another library make is read however it is cut, and what is invalid is refused as by that
//! library.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::*;
use crate::deflate::encoder::Encoder;
use crate::deflate::samples::{LEVELS, Random, TAIL};

/// A decoder with memory for output of any size.
struct Reader {
    decoder: Decoder,
    memory: Vec<u8>,
    shared: Option<Box<Tables>>,
}

impl Reader {
    fn new(window_bits: u8) -> Self {
        Self { decoder: Decoder::new(window_bits), memory: vec![0xAA; 16 << 10], shared: None }
    }

    /// Decodes pieces of `piece_bytes` with so much room for output at a time. Returns the output, the reason to stop
    /// and the input that was not taken.
    fn read<'i>(&mut self, input: &'i [u8], piece_bytes: usize, room_bytes: usize) -> (Vec<u8>, Stop, &'i [u8]) {
        let mut all = Vec::new();
        let mut later = input;
        loop {
            let mut piece;
            (piece, later) = later.split_at(later.len().min(piece_bytes));
            let mut tables = self.decoder.take_tables(&mut self.shared);
            // A call without room for output must lose nothing either.
            self.decoder.decode(&mut piece, &mut Output { bytes: &mut [], len: 0 }, &mut tables);
            let stop = loop {
                let mut out = Output { bytes: &mut self.memory[..room_bytes], len: 0 };
                let before = piece.len();
                let stop = self.decoder.decode(&mut piece, &mut out, &mut tables);
                all.extend_from_slice(out.filled());
                self.decoder.remember(&all[all.len() - out.len..]);
                match stop {
                    Stop::OutputFull => assert!(out.len > 0 || before > piece.len(), "no progress"),
                    _ => break stop,
                }
            };
            self.decoder.return_tables(tables, &mut self.shared);
            if stop != Stop::InputNeeded || later.is_empty() {
                let rest = &input[input.len() - later.len() - piece.len()..];
                assert!(stop != Stop::InputNeeded || rest.is_empty());
                return (all, stop, rest);
            }
        }
    }
}

/// Decodes with the other library.
fn read_by_library<'i>(state: &mut Decompress, mut input: &'i [u8]) -> (Vec<u8>, Stop, &'i [u8]) {
    let mut all = Vec::new();
    let mut room = vec![0; 16 << 10];
    loop {
        let before = (state.total_in(), state.total_out());
        let status = state.decompress(input, &mut room, FlushDecompress::Sync);
        input = &input[(state.total_in() - before.0) as usize..];
        let made = (state.total_out() - before.1) as usize;
        all.extend_from_slice(&room[..made]);
        match status {
            Err(_) => return (all, Stop::Invalid, input),
            Ok(Status::StreamEnd) => return (all, Stop::StreamEnd, input),
            Ok(_) if made == 0 && input.is_empty() => return (all, Stop::InputNeeded, input),
            Ok(_) => {}
        }
    }
}

/// Compresses a message with the other library, in blocks of some bytes each.
fn compress(state: &mut Compress, payload: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(2 * payload.len() + 1000);
    state.compress_vec(payload, &mut deflated, flush).unwrap();
    assert!(flush != FlushCompress::Sync || payload.is_empty() || deflated.ends_with(&TAIL));
    deflated
}

/// Returns streams that refer to nothing before, with blocks of every kind.
fn streams(random: &mut Random) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut streams = Vec::new();
    for level in LEVELS {
        let mut deflated = Vec::new();
        let len = 1 + random.below(600);
        let payload = [random.payload(len), random.noise(40), random.payload(300)].concat();
        Encoder::new(level, 15).push(&payload, true, &mut deflated, usize::MAX).unwrap();
        streams.push(([&deflated, &TAIL[..]].concat(), payload));
    }
    for level in 0..=9 {
        let mut state = Compress::new(Compression::new(level), false);
        let [first, second] = [400, 20].map(|len| random.payload(len));
        let deflated =
            [compress(&mut state, &first, FlushCompress::Sync), compress(&mut state, &second, FlushCompress::Finish)];
        streams.push((deflated.concat(), [first, second].concat()));
    }
    streams
}

#[test]
fn input_can_be_cut_anywhere_and_output_made_in_any_steps() {
    let mut random = Random(1);
    for (deflated, payload) in streams(&mut random) {
        let is_final = {
            let (inflated, stop, rest) = read_by_library(&mut Decompress::new(false), &deflated);
            assert!(inflated == payload && rest.is_empty());
            stop
        };
        for room_bytes in [1, 7, 64, 300, 16 << 10] {
            for piece_bytes in [1, 2, 7, 17, usize::MAX] {
                let mut reader = Reader::new(15);
                let (inflated, stop, rest) = reader.read(&deflated, piece_bytes, room_bytes);
                assert!(inflated == payload, "{} bytes in pieces of {piece_bytes}, {room_bytes}", payload.len());
                assert_eq!((stop, rest.len()), (is_final, 0));
                assert!(reader.decoder.tables.is_none(), "no block is open");
            }
            for cut in 0..deflated.len() {
                let mut reader = Reader::new(15);
                let (mut inflated, stop, _) = reader.read(&deflated[..cut], usize::MAX, room_bytes);
                assert_eq!(stop, Stop::InputNeeded);
                let (more, stop, _) = reader.read(&deflated[cut..], usize::MAX, room_bytes);
                inflated.extend(more);
                assert!(inflated == payload && stop == is_final, "cut at {cut}");
            }
        }
    }
}

#[test]
fn messages_of_both_compressors_are_read_with_and_without_their_context() {
    let mut random = Random(2);
    for level in LEVELS {
        for window_bits in 9..=15 {
            let mut encoder = Encoder::new(level, window_bits);
            let library_level = Compression::new(level.clamp(0, 9) as u32);
            let mut library = Compress::new_with_window_bits(library_level, false, window_bits);
            let (mut of_encoder, mut of_library) = (Reader::new(window_bits), Reader::new(window_bits));
            for _ in 0..if cfg!(debug_assertions) { 12 } else { 100 } {
                let len = random.len();
                let payload = random.payload(len);
                if random.below(4) == 0 {
                    encoder.restart(len);
                    of_encoder.decoder.restart();
                    library.reset();
                    of_library.decoder.restart();
                }
                let mut deflated = Vec::new();
                encoder.push(&payload, true, &mut deflated, usize::MAX).unwrap();
                deflated.extend_from_slice(&TAIL);
                let piece_bytes = if random.below(2) == 0 { 1024 } else { 1 + random.below(500) };
                let (inflated, stop, _) = of_encoder.read(&deflated, piece_bytes, 16 << 10);
                assert!(inflated == payload, "level {level}, {window_bits} bits, {len} bytes");
                assert_eq!(stop, Stop::InputNeeded);
                assert!(of_encoder.decoder.held_bytes() <= 1 << window_bits);

                let deflated = compress(&mut library, &payload, FlushCompress::Sync);
                let room_bytes = 1 + random.below(16 << 10);
                let (inflated, ..) = of_library.read(&deflated, piece_bytes, room_bytes);
                assert!(inflated == payload, "library, level {level}, {window_bits} bits, {len} bytes");
            }
        }
    }
}

/// Damaged input is refused where the other library refuses it, with the same output before.
#[test]
fn damaged_input_is_read_as_by_the_library() {
    let mut random = Random(3);
    let mut stops = [0; 3];
    for round in 0..if cfg!(debug_assertions) { 40 } else { 1500 } {
        for (mut deflated, _) in streams(&mut random) {
            match round % 4 {
                0 => {
                    let place = random.below(deflated.len());
                    deflated[place] ^= 1 << random.below(8);
                }
                1 => {
                    // Headers are short, and damage there is found in other ways.
                    let place = random.below(deflated.len().min(30));
                    deflated[place] = random.next() as u8;
                }
                2 => {
                    deflated.remove(random.below(deflated.len()));
                }
                _ => {
                    let (from, len) = (random.below(deflated.len()), 1 + random.below(200));
                    deflated.truncate(random.below(deflated.len()));
                    deflated.extend(random.noise(len));
                    let from = from.min(deflated.len());
                    deflated.extend_from_within(from..);
                }
            }
            let expected = read_by_library(&mut Decompress::new(false), &deflated);
            stops[usize::from(expected.1 == Stop::Invalid) + 2 * usize::from(expected.1 == Stop::StreamEnd)] += 1;
            for (piece_bytes, room_bytes) in
                [(usize::MAX, 16 << 10), (1, 16 << 10), (1 + random.below(50), 1 + random.below(400))]
            {
                let read = Reader::new(15).read(&deflated, piece_bytes, room_bytes);
                assert!(read.0 == expected.0, "{deflated:x?}: {} bytes of {}", read.0.len(), expected.0.len());
                assert_eq!(read.1, expected.1, "{deflated:x?}");
                assert!(read.1 == Stop::Invalid || read.2 == expected.2, "{deflated:x?}");
            }
        }
    }
    assert!(stops.iter().all(|count| *count > 50), "{stops:?}");
}

/// Bits in the order in which they are sent.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    fn put(mut self, bits: usize, len: usize) -> Self {
        for bit in 0..len {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((bits >> bit & 1) << (self.len % 8)) as u8;
            self.len += 1;
        }
        self
    }

    fn zeros(self, len: usize) -> Self {
        (0..len).fold(self, |bits, _| bits.put(0, 1))
    }

    /// Appends a code, whose first bit is the highest.
    fn code(self, code: usize, len: usize) -> Self {
        (0..len).rev().fold(self, |bits, bit| bits.put(code >> bit, 1))
    }

    /// Begins a dynamic block with so many symbols and these lengths of the codes for lengths 0, 1, 2, 16, 17 and 18.
    fn dynamic(literals: usize, distances: usize, [zero, one, two, repeat, short, long]: [usize; 6]) -> Self {
        let lens = [repeat, short, long, zero, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, two, 0, one];
        let begun = Self::default().put(0b100, 3).put(literals - 257, 5).put(distances - 1, 5).put(lens.len() - 4, 4);
        lens.iter().fold(begun, |bits, len| bits.put(*len, 3))
    }

    /// Appends codes for lengths with which all but the last of 257 literals have none, and that has a code of one bit.
    /// The codes are those of `[2, 2, 0, 0, 0, 1]`.
    fn only_the_end_of_block(self) -> Self {
        self.code(0, 1).put(127, 7).code(0, 1).put(107, 7).code(0b11, 2)
    }
}

/// Checks that both refuse the input, at its last byte and not before.
fn refused_at_the_end(bits: Bits, name: &str) {
    let input = bits.bytes;
    assert_eq!(read_by_library(&mut Decompress::new(false), &input).1, Stop::Invalid, "{name}");
    for piece_bytes in [1, usize::MAX] {
        assert_eq!(Reader::new(15).read(&input, piece_bytes, 16 << 10).1, Stop::Invalid, "{name}");
        let before = &input[..input.len() - 1];
        assert_eq!(Reader::new(15).read(before, piece_bytes, 16 << 10).1, Stop::InputNeeded, "{name}");
        // Input that follows changes nothing.
        let followed = [&input[..], &[0; 40]].concat();
        let mut reader = Reader::new(15);
        assert_eq!(reader.read(&followed, piece_bytes, 16 << 10).1, Stop::Invalid, "{name}");
        assert_eq!(reader.read(&followed, piece_bytes, 16 << 10).1, Stop::Invalid, "{name}, continued");
    }
}

#[test]
fn a_block_of_the_reserved_type_and_a_wrong_stored_length_are_refused() {
    refused_at_the_end(Bits::default().put(0b110, 3), "reserved type");
    refused_at_the_end(Bits::default().put(0b000, 8).put(0x0001, 16).put(0xFFFF, 16), "stored length");
    refused_at_the_end(Bits::default().put(0b000, 8).put(0x0000, 16).put(0x0000, 16), "stored length of nothing");
}

#[test]
fn codes_that_the_format_does_not_allow_are_refused() {
    let complete = [2, 2, 0, 0, 0, 1];
    refused_at_the_end(Bits::default().put(0b100, 3).put(30, 5).put(0, 5).put(0, 4), "287 literals and lengths");
    refused_at_the_end(Bits::default().put(0b100, 3).put(0, 5).put(30, 5).put(0, 4), "31 distances");
    refused_at_the_end(Bits::dynamic(257, 1, [1, 1, 1, 0, 0, 0]), "too many codes for lengths");
    refused_at_the_end(Bits::dynamic(257, 1, [1, 2, 0, 0, 0, 0]), "too few codes for lengths");
    refused_at_the_end(Bits::dynamic(257, 1, [1, 0, 0, 0, 0, 0]), "a single code for lengths");
    refused_at_the_end(Bits::dynamic(257, 1, [0; 6]).zeros(258), "no code for lengths");
    refused_at_the_end(Bits::dynamic(257, 1, [1, 0, 0, 1, 0, 0]).code(1, 1).put(0, 2), "a repetition of nothing");
    let run = |run: usize| Bits::dynamic(257, 1, complete).code(0, 1).put(127, 7).code(0, 1).put(run, 7);
    refused_at_the_end(run(110), "a run beyond the last length");
    refused_at_the_end(run(109), "no end of the block");
    // 257 literals of which two or three have a code, and no distance.
    let coded = |lens: &[usize]| {
        let bits =
            Bits::dynamic(257, 1, complete).code(0, 1).put(127, 7).code(0, 1).put(256 - 138 - lens.len() - 11, 7);
        lens.iter().fold(bits, |bits, len| bits.code(0b10 + len, 2)).code(0b11, 2).code(0b10, 2)
    };
    refused_at_the_end(coded(&[1, 1]), "too many codes for literals");
    assert_eq!(Reader::new(15).read(&coded(&[1]).bytes, 9, 9).1, Stop::InputNeeded);
    let two = Bits::dynamic(257, 1, [2, 0, 2, 0, 0, 1]).code(0, 1).put(127, 7).code(0, 1).put(107, 7);
    refused_at_the_end(two.code(0b11, 2).code(0b10, 2), "a single code of two bits");
    let distances = Bits::dynamic(257, 3, complete).only_the_end_of_block();
    refused_at_the_end(distances.code(0b11, 2).code(0b11, 2).code(0b11, 2), "too many codes for distances");
    let distances = Bits::dynamic(257, 2, [2, 3, 3, 0, 0, 1]).code(0, 1).put(127, 7).code(0, 1).put(107, 7);
    refused_at_the_end(distances.code(0b110, 3).code(0b110, 3).code(0b111, 3), "too few codes for distances");
}

#[test]
fn symbols_without_a_meaning_are_refused() {
    refused_at_the_end(Bits::default().put(0b010, 3).code(0b1100_0110, 8), "length 286");
    refused_at_the_end(Bits::default().put(0b010, 3).code(0b1100_0111, 8), "length 287");
    let matched = || Bits::default().put(0b010, 3).code(0x30, 8).code(1, 7);
    refused_at_the_end(matched().code(30, 5), "distance 30");
    refused_at_the_end(matched().code(31, 5), "distance 31");
    let lone = Bits::dynamic(257, 1, [2, 2, 0, 0, 0, 1]).only_the_end_of_block().code(0b10, 2);
    refused_at_the_end(lone.put(1, 1), "the other code of one bit");
    // A literal, length 3, the end of the block, and no distance.
    let lengths =
        Bits::dynamic(258, 1, [2, 3, 3, 0, 0, 1]).code(0b110, 3).code(0, 1).put(127, 7).code(0, 1).put(106, 7);
    let no_distance = lengths.code(0b111, 3).code(0b111, 3).code(0b10, 2);
    refused_at_the_end(no_distance.code(0, 1).code(0b11, 2).put(0, 1), "a distance without codes");
}

#[test]
fn distances_reach_back_to_the_first_output_and_no_farther_than_the_window() {
    // A literal, and a match of three bytes at a distance.
    let matched = |distance: usize| {
        let bits = Bits::default().put(0b010, 3).code(0x30 + 7, 8).code(1, 7);
        let (number, extra_len) = match distance - 1 {
            before @ 0..4 => (before, 0),
            before => {
                let extra_len = before.ilog2() as usize - 1;
                (2 * extra_len + (before >> extra_len), extra_len)
            }
        };
        let base = if extra_len == 0 { distance } else { ((2 + (number & 1)) << extra_len) + 1 };
        bits.code(number, 5).put(distance - base, extra_len).code(0, 7).put(0, 3).bytes
    };
    for window_bits in [9, 12, 15] {
        let window = 1_usize << window_bits;
        for before in [0, 1, 100, window - 1, window, window + 1000] {
            let earlier: Vec<u8> = (0..before).map(|byte| (byte * 7 + byte / 256) as u8).collect();
            for distance in [1, 2, 3, 100, 101, 102, window - 1, window, window + 1, 2 * window] {
                if distance > 1 << 15 {
                    continue;
                }
                for (piece_bytes, room_bytes) in [(1, 1), (usize::MAX, 16 << 10)] {
                    let mut reader = Reader::new(window_bits);
                    earlier.chunks(1 + before / 3).for_each(|output| reader.decoder.remember(output));
                    let (output, stop, _) = reader.read(&matched(distance), piece_bytes, room_bytes);
                    let is_valid = distance <= window.min(before + 1);
                    assert_eq!(stop, if is_valid { Stop::InputNeeded } else { Stop::Invalid }, "{distance}");
                    let mut all = [&earlier[..], &[7]].concat();
                    for _ in 0..if is_valid { 3 } else { 0 } {
                        all.push(all[all.len() - distance]);
                    }
                    assert_eq!(output, all[before..]);
                }
            }
        }
    }
}

#[test]
fn what_follows_the_final_block_is_left() {
    for level in 0..=9 {
        let mut deflated =
            compress(&mut Compress::new(Compression::new(level), false), &[7; 50], FlushCompress::Finish);
        let end = deflated.len();
        deflated.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
        for piece_bytes in [1, 5, 1000] {
            for room_bytes in [1, 50, 51, 1000] {
                let mut reader = Reader::new(15);
                let (inflated, stop, rest) = reader.read(&deflated, piece_bytes, room_bytes);
                assert_eq!((inflated, stop, rest), (vec![7; 50], Stop::StreamEnd, &deflated[end..]));
                assert_eq!(reader.read(rest, 1000, 1000), (vec![], Stop::StreamEnd, rest));
                // A new stream has no history.
                reader.decoder.restart();
                let reference = Bits::default().put(0b010, 3).code(1, 7).code(0, 5);
                assert_eq!(reader.read(&reference.bytes, 1000, 1000).1, Stop::Invalid);
            }
        }
    }
}

#[test]
fn a_decoder_holds_as_much_as_it_was_given_and_tables_only_inside_a_block() {
    let mut random = Random(4);
    // Four letters, which take a dynamic block.
    let payload: Vec<u8> = (0..3000).map(|_| b"tide"[random.below(4)]).collect();
    let deflated = compress(&mut Compress::new(Compression::new(6), false), &payload, FlushCompress::Sync);
    let mut reader = Reader::new(15);
    assert_eq!(reader.decoder.held_bytes(), 0);
    reader.read(&deflated[..deflated.len() / 2], usize::MAX, 16 << 10);
    assert!(reader.decoder.held_bytes() > size_of::<Tables>());
    assert!(reader.decoder.held_bytes() <= Decoder::held_bytes_max(15));
    reader.read(&deflated[deflated.len() / 2..], usize::MAX, 16 << 10);
    assert!((3000..=6000).contains(&reader.decoder.held_bytes()), "{}", reader.decoder.held_bytes());
}
