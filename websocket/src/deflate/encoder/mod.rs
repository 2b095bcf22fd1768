//! A compressor of the deflate format (RFC 1951) for messages.
//!
//! Compressors of general libraries are made for streams: each clears and keeps tables for 64 Ki entries and buffers
//! for blocks of 64 KiB. Here the cost of beginning is in proportion to the message, what is needed only while a
//! message is compressed belongs to the thread, and a context is the window and the tables that find matches in it.
//!
//! `window` holds the earlier bytes, `parse` divides payload into literals and matches, `block` writes them with the
//! codes that `huffman` finds and `header` sends. What is written depends on the payload and the context alone, so that
//! sizes tell nothing of other connections' messages.

mod bits;
mod block;
mod codes;
mod header;
mod huffman;
mod parse;
#[cfg(all(test, not(miri)))]
mod tests;
mod window;

use std::cell::Cell;

use self::bits::{BitWriter, OpenByte};
use self::block::{FIXED_BLOCK, Symbols};
use self::codes::FIXED_LITERALS;
use self::parse::Effort;
use self::window::{LOOKAHEAD_BYTES, Tables, Window};
use super::format::END_OF_BLOCK;

/// The bytes of a piece that is not the last for which compressing is worthwhile: each time ends a block.
const PIECE_BYTES: usize = 8 << 10;

/// The bytes after which the size of the output is looked at.
const STEP_BYTES: usize = 16 << 10;

/// The bytes of a piece whose searches need so much of the tables that reading them in order first is faster.
const PREFETCH_BYTES_MIN: usize = 64;

thread_local! {
    /// The symbols of a block, empty between calls.
    static SYMBOLS: Cell<Option<Box<Symbols>>> = const { Cell::new(None) };
}

/// The output would not be smaller than it is allowed to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotSmaller;

/// A compressor with its context.
#[derive(Debug)]
pub(super) struct Encoder {
    method: Method,
    window: Window,
    open: OpenByte,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    /// No matches are looked for.
    Literals,
    /// Fixed codes, and one look for each match.
    Fixed,
    Search(Effort),
}

impl Method {
    /// Returns the method of a level as of zlib: 1 to 9, -1 for its default, -2 for no matches.
    const fn of_level(level: i32) -> Self {
        let (steps, nice_bytes, lazy_bytes) = match level {
            -2 => return Self::Literals,
            1 => return Self::Fixed,
            2 => (4, 16, 0),
            3 => (12, 32, 0),
            4 => (32, 64, 8),
            5 => (32, 64, 16),
            7 => (128, 128, 64),
            8 => (512, 258, 258),
            9.. => (2048, 258, 258),
            _ => (40, 128, 16),
        };
        Self::Search(Effort { steps, nice_bytes, lazy_bytes })
    }

    const fn tables(self) -> Tables {
        match self {
            Self::Literals => Tables::None,
            Self::Fixed => Tables::Heads,
            Self::Search(_) => Tables::Chains,
        }
    }
}

impl Encoder {
    /// Returns an encoder without context. `window_bits` is from 9 to 15.
    pub(super) fn new(level: i32, window_bits: u8) -> Self {
        let method = Method::of_level(level);
        Self { method, window: Window::new(window_bits, method.tables()), open: OpenByte::default() }
    }

    /// Returns the bytes of heap that an encoder holds.
    pub(super) const fn held_bytes(level: i32, window_bits: u8) -> usize {
        Window::held_bytes(window_bits, Method::of_level(level).tables())
    }

    /// Drops the context, including an unfinished message. The next message has `payload_bytes`, if they are known.
    pub(super) fn restart(&mut self, payload_bytes: usize) {
        self.open = OpenByte::default();
        self.window.restart(payload_bytes);
    }

    /// Appends the output for a piece of a message to `out`, which must stay below `bytes_max`. The output of the last
    /// piece ends the message. On [`NotSmaller`] restart.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), NotSmaller> {
        let mut symbols = SYMBOLS.take().unwrap_or_else(|| Box::new(Symbols::new()));
        let mut writer = BitWriter::new(out, self.open);
        let mut is_open = false;
        if piece.len() >= PREFETCH_BYTES_MIN && self.method.tables() != Tables::None {
            self.window.prefetch();
        }
        let pushed = loop {
            piece = &piece[self.window.fill(piece)..];
            let is_all = piece.is_empty();
            if is_all && self.window.waiting_bytes() <= if last { 0 } else { PIECE_BYTES } {
                self.end_block(is_open, &mut symbols, &mut writer);
                if last {
                    writer.put_end_of_message();
                }
                break if writer.written_bytes() < bytes_max { Ok(()) } else { Err(NotSmaller) };
            }
            let kept = if is_all && last { 0 } else { LOOKAHEAD_BYTES };
            self.compress(kept, &mut is_open, &mut symbols, &mut writer);
            if writer.written_bytes() >= bytes_max {
                symbols.clear();
                break Err(NotSmaller);
            }
        };
        self.open = writer.finish();
        SYMBOLS.set(Some(symbols));
        pushed
    }

    /// Compresses waiting bytes except the last `kept`, not too many at once.
    fn compress(&mut self, kept: usize, is_open: &mut bool, symbols: &mut Symbols, writer: &mut BitWriter<'_>) {
        let begin = self.window.cursor();
        let stop = self.window.end().saturating_sub(kept).clamp(begin, begin + STEP_BYTES);
        match &self.method {
            Method::Literals => self.window.search(|finder, at| parse::add_literals(finder, at, stop, symbols)),
            Method::Search(effort) => {
                self.window.search(|finder, at| parse::add_matches(finder, at, stop, effort, symbols));
            }
            Method::Fixed => {
                if !*is_open {
                    writer.put(FIXED_BLOCK.0, FIXED_BLOCK.1);
                    *is_open = true;
                }
                self.window.search(|finder, at| parse::write_fixed(finder, at, stop, writer));
            }
        }
        if symbols.room() == 0 {
            symbols.write(self.window.end_block(), writer);
        }
    }

    /// Ends the block that has begun, if any.
    fn end_block(&mut self, is_open: bool, symbols: &mut Symbols, writer: &mut BitWriter<'_>) {
        if is_open {
            let (bits, len) = FIXED_LITERALS[END_OF_BLOCK].with_extra(0);
            writer.put(bits, len);
        }
        if !symbols.is_empty() {
            symbols.write(self.window.end_block(), writer);
        }
    }
}
