//! A decompressor of the deflate format (RFC 1951) for messages.
//!
//! Decompressors of general libraries are made for streams: each keeps its tables and a window of 32 KiB from beginning
//! to end. Here the output and the tables belong to the thread, and a decoder holds the output that later messages can
//! refer to, as much as there was up to the window.
//!
//! `bits` reads bits, `header` reads the codes of a block, `table` turns them into tables, `symbols` decodes what they
//! stand for, `history` holds earlier output, `codes` has what the format fixes. Input can end after any byte, and room
//! for output after any other: decoding goes on where it stopped.

mod bits;
mod codes;
mod header;
mod history;
mod symbols;
mod table;
#[cfg(all(test, not(miri)))]
mod tests;

use std::convert::Infallible;

use self::bits::{BitReader, OpenBits};
use self::codes::{Codes, FIXED};
use self::header::Header;
use self::history::History;
use self::symbols::Place;

/// The memory for output with which decoding is fast.
pub(super) const OUTPUT_BYTES: usize = 16 << 10;

/// The reason why a decoder stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// All input was taken, and more is needed.
    InputNeeded,
    /// There is no room for the next output.
    OutputFull,
    /// The final block has ended. Input behind it was not taken.
    StreamEnd,
    /// The input is not in the deflate format, or refers to output that there was not.
    Invalid,
}

/// Memory for output, and how much of it is filled.
#[derive(Debug)]
pub(super) struct Output<'o> {
    /// Bytes behind `len` can change.
    pub(super) bytes: &'o mut [u8],
    pub(super) len: usize,
}

impl Output<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Returns the output.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The tables of a dynamic block.
#[derive(Debug)]
pub(super) struct Tables {
    header: Header,
    codes: Codes,
}

impl Tables {
    fn new() -> Box<Self> {
        Box::new(Self { header: Header::new(), codes: Codes::new() })
    }
}

/// A decompressor with the output that later input can refer to.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// Whether the current block is the last.
    is_final: bool,
    open: OpenBits,
    history: History,
    /// The tables, between calls inside a dynamic block.
    tables: Option<Box<Tables>>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a block.
    Block,
    /// Before the length of a stored block.
    StoredLen,
    /// Inside a stored block, of which `left` bytes are to come.
    Stored { left: usize },
    /// Inside the header of a dynamic block.
    Header,
    /// Inside a block of fixed codes.
    Fixed(Place),
    /// Inside a dynamic block, behind its header.
    Dynamic(Place),
    /// The input is invalid.
    Failed,
}

impl Decoder {
    /// Returns a decoder of input that looks back at most 2^`window_bits` bytes. It holds no heap.
    pub(super) const fn new(window_bits: u8) -> Self {
        Self {
            state: State::Block,
            is_final: false,
            open: OpenBits::NONE,
            history: History::new(window_bits),
            tables: None,
        }
    }

    /// Begins a stream, which does not refer to the one before.
    pub(super) fn restart(&mut self) {
        (self.state, self.is_final, self.open) = (State::Block, false, OpenBits::NONE);
        self.history.clear();
        self.tables = None;
    }

    /// Returns the bytes of heap held.
    pub(super) fn held_bytes(&self) -> usize {
        self.history.held_bytes() + self.tables.as_ref().map_or(0, |_| size_of::<Tables>())
    }

    /// Returns the most bytes of heap that a decoder of such a window holds.
    pub(super) const fn held_bytes_max(window_bits: u8) -> usize {
        (1 << window_bits) + size_of::<Tables>()
    }

    /// Takes the tables for calls of [`decode`](Self::decode), which are shared by the decoders of a thread.
    pub(super) fn take_tables(&mut self, shared: &mut Option<Box<Tables>>) -> Box<Tables> {
        self.tables.take().or_else(|| shared.take()).unwrap_or_else(Tables::new)
    }

    /// Returns the tables, unless a block goes on that needs them.
    pub(super) fn return_tables(&mut self, tables: Box<Tables>, shared: &mut Option<Box<Tables>>) {
        match self.state {
            State::Header | State::Dynamic(_) => self.tables = Some(tables),
            _ => *shared = Some(tables),
        }
    }

    /// Decodes `input`, which is left with what was not taken of it, and appends to `out`. It returns why it stopped.
    pub(super) fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>, tables: &mut Tables) -> Stop {
        let mut reader = BitReader::new(input, self.open);
        let Err(stop) = self.run(&mut reader, out, tables);
        match stop {
            // All of it is needed together with what follows.
            Stop::InputNeeded => {}
            Stop::OutputFull | Stop::StreamEnd => reader.unread_bytes(),
            Stop::Invalid => self.state = State::Failed,
        }
        (*input, self.open) = reader.finish();
        stop
    }

    /// Adds output to the history. Do so before other output takes its place in `out`.
    pub(super) fn remember(&mut self, output: &[u8]) {
        self.history.push(output);
    }

    fn run(
        &mut self,
        reader: &mut BitReader<'_>,
        out: &mut Output<'_>,
        tables: &mut Tables,
    ) -> Result<Infallible, Stop> {
        loop {
            match &mut self.state {
                State::Block => self.begin_block(reader, tables)?,
                State::StoredLen => {
                    let lens = reader.take(32)?;
                    let left = lens & 0xFFFF;
                    if left ^ lens >> 16 != 0xFFFF {
                        return Err(Stop::Invalid);
                    }
                    self.state = State::Stored { left };
                }
                State::Stored { left } => {
                    reader.unread_bytes();
                    let count = (*left).min(out.room());
                    let copied = reader.copy_bytes(&mut out.bytes[out.len..out.len + count]);
                    out.len += copied;
                    *left -= copied;
                    if *left == 0 {
                        self.state = State::Block;
                    } else if copied < count {
                        return Err(Stop::InputNeeded);
                    } else {
                        return Err(Stop::OutputFull);
                    }
                }
                State::Header => {
                    tables.header.read(reader, &mut tables.codes)?;
                    self.state = State::Dynamic(Place::Symbol);
                }
                State::Fixed(place) => {
                    symbols::decode(place, &FIXED, &self.history, reader, out)?;
                    self.state = State::Block;
                }
                State::Dynamic(place) => {
                    symbols::decode(place, &tables.codes, &self.history, reader, out)?;
                    self.state = State::Block;
                }
                State::Failed => return Err(Stop::Invalid),
            }
        }
    }

    /// Reads the first bits of a block, unless the last one has ended.
    fn begin_block(&mut self, reader: &mut BitReader<'_>, tables: &mut Tables) -> Result<(), Stop> {
        if self.is_final {
            return Err(Stop::StreamEnd);
        }
        let bits = reader.take(3)?;
        self.is_final = bits & 1 != 0;
        self.state = match bits >> 1 {
            0 => {
                reader.align();
                State::StoredLen
            }
            1 => State::Fixed(Place::Symbol),
            2 => {
                tables.header.begin();
                State::Header
            }
            _ => return Err(Stop::Invalid),
        };
        Ok(())
    }
}
