//! The literals and matches of a block (RFC 1951 section 3.2.3).

use super::bits::{AHEAD_BYTES, BitReader};
use super::codes::Codes;
use super::history::History;
use super::table::{Entry, Table};
use super::{OUTPUT_BYTES, Output, Stop};
use crate::deflate::format::MATCH_BYTES_MAX;

/// The most bits of a symbol with its extra bits: the length of a match, or its distance.
const SYMBOL_LEN_MAX: u32 = 28;

/// The bytes of a match that are copied at once where there is room for them.
const CHUNK_BYTES: usize = 32;

/// The literals that are read before a match without a look at the ends of input and output.
const LITERALS_MAX: usize = 3;

/// The room for such a step, with bytes behind a match that can change.
const ROOM_BYTES: usize = LITERALS_MAX + MATCH_BYTES_MAX + CHUNK_BYTES;

/// What comes next in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Symbol,
    /// The distance of a match.
    Distance {
        length: usize,
    },
    /// The rest of a match.
    Match {
        length: usize,
        distance: usize,
    },
}

/// Decodes up to the end of the block.
///
/// # Errors
/// The reason to stop before it.
pub(super) fn decode(
    place: &mut Place,
    codes: &Codes,
    history: &History,
    reader: &mut BitReader<'_>,
    out: &mut Output<'_>,
) -> Result<(), Stop> {
    loop {
        match *place {
            Place::Symbol => {
                if reader.is_promising()
                    && out.room() >= ROOM_BYTES
                    && let Ok(bytes) = out.bytes.try_into()
                    && decode_fast(codes, history, reader, bytes, &mut out.len)?
                {
                    return Ok(());
                }
                if out.room() == 0 {
                    return Err(Stop::OutputFull);
                }
                let (entry, value) = take_symbol(&codes.literals, reader)?;
                if entry.is_literal() {
                    out.push(entry.byte());
                } else if entry.is_special() {
                    return Ok(());
                } else {
                    *place = Place::Distance { length: value };
                }
            }
            Place::Distance { length } => {
                let (_, distance) = take_symbol(&codes.distances, reader)?;
                check_distance(distance, out.len, history)?;
                *place = Place::Match { length, distance };
            }
            Place::Match { length, distance } => {
                let count = length.min(out.room());
                copy_match(out.bytes, out.len, distance, count, history);
                out.len += count;
                if count < length {
                    *place = Place::Match { length: length - count, distance };
                    return Err(Stop::OutputFull);
                }
                *place = Place::Symbol;
            }
        }
    }
}

/// Reads a symbol and its value. Special ones are the end of a block.
fn take_symbol<const SIZE: usize, const MAIN_LEN_MAX: usize>(
    table: &Table<SIZE, MAIN_LEN_MAX>,
    reader: &mut BitReader<'_>,
) -> Result<(Entry, usize), Stop> {
    reader.refill_below(SYMBOL_LEN_MAX);
    let mut bits = reader.bits();
    let mut entry = table.at(table.mask(), bits);
    let mut len = 0;
    if entry.is_subtable() {
        len = entry.len();
        bits >>= len;
        entry = table.further(entry, bits);
    }
    len += entry.len();
    if len > reader.len() {
        return Err(Stop::InputNeeded);
    }
    if entry.is_special() && !entry.is_end_of_block() {
        return Err(Stop::Invalid);
    }
    reader.consume(len);
    Ok((entry, entry.value(bits)))
}

/// Decodes while there is plenty of room, up to the end of the input. Returns whether the block has ended.
#[inline(never)]
fn decode_fast(
    codes: &Codes,
    history: &History,
    reader: &mut BitReader<'_>,
    out: &mut [u8; OUTPUT_BYTES],
    out_len: &mut usize,
) -> Result<bool, Stop> {
    // Copies that the compiler can keep in registers.
    let (mut local, mut len) = (*reader, *out_len);
    let mut decoded = Ok(false);
    while decoded == Ok(false)
        && len <= OUTPUT_BYTES - ROOM_BYTES
        && let Some(ahead) = local.ahead()
    {
        decoded = decode_step(codes, history, &mut local, ahead, out, &mut len);
    }
    // The rest of the input, followed by zeros. A step that used any of these is undone.
    let mut padding = [0; 2 * AHEAD_BYTES];
    let mut padded = local.padded(&mut padding);
    while decoded == Ok(false)
        && len <= OUTPUT_BYTES - ROOM_BYTES
        && let Some(ahead) = padded.ahead()
    {
        let before = (padded, len);
        decoded = decode_step(codes, history, &mut padded, ahead, out, &mut len);
        if !local.reaches(&padded) {
            (padded, len) = before;
            decoded = Ok(false);
            break;
        }
    }
    local.follow(&padded);
    (*reader, *out_len) = (local, len);
    decoded
}

/// Decodes four literals, or up to three and a match. Returns whether the block has ended.
#[inline(always)]
fn decode_step(
    codes: &Codes,
    history: &History,
    reader: &mut BitReader<'_>,
    ahead: &[u8; AHEAD_BYTES],
    out: &mut [u8; OUTPUT_BYTES],
    out_len: &mut usize,
) -> Result<bool, Stop> {
    let Codes { literals, distances } = codes;
    let (literals_mask, distances_mask) = (literals.mask(), distances.mask());
    // Of 56 bits three literals of the main table and the length of a match take up to 50, four literals fewer.
    let offset = reader.refill_from(ahead, 0);
    let mut entry = literals.at(literals_mask, reader.bits());
    for _ in 0..LITERALS_MAX {
        if !entry.is_literal() {
            break;
        }
        out[*out_len] = entry.byte();
        *out_len += 1;
        reader.consume_dirty(entry.dirty_len());
        entry = literals.at(literals_mask, reader.bits());
    }
    if entry.is_literal() {
        out[*out_len] = entry.byte();
        *out_len += 1;
        reader.consume_dirty(entry.dirty_len());
        return Ok(false);
    }
    if entry.is_special() {
        if entry.is_subtable() {
            reader.consume_dirty(entry.dirty_len());
            entry = literals.further(entry, reader.bits());
        }
        if entry.is_literal() {
            out[*out_len] = entry.byte();
            *out_len += 1;
            reader.consume_dirty(entry.dirty_len());
            return Ok(false);
        }
        if entry.is_end_of_block() {
            reader.consume_dirty(entry.dirty_len());
            return Ok(true);
        }
        if entry.is_special() {
            return Err(Stop::Invalid);
        }
    }
    let length = entry.value(reader.bits());
    reader.consume_dirty(entry.dirty_len());

    if reader.len() < SYMBOL_LEN_MAX {
        reader.refill_from(ahead, offset);
    }
    entry = distances.at(distances_mask, reader.bits());
    if entry.is_special() {
        if entry.is_subtable() {
            reader.consume_dirty(entry.dirty_len());
            entry = distances.further(entry, reader.bits());
        }
        if entry.is_special() {
            return Err(Stop::Invalid);
        }
    }
    let distance = entry.value(reader.bits());
    reader.consume_dirty(entry.dirty_len());
    check_distance(distance, *out_len, history)?;
    if (CHUNK_BYTES..=*out_len).contains(&distance) {
        copy_chunks(out, *out_len, distance, length);
    } else {
        copy_match(out, *out_len, distance, length, history);
    }
    *out_len += length;
    Ok(false)
}

/// Refuses distances beyond the window, and beyond the beginning of all output.
#[inline(always)]
fn check_distance(distance: usize, out_len: usize, history: &History) -> Result<(), Stop> {
    if distance > history.window_bytes() || distance > out_len && distance - out_len > history.len() {
        return Err(Stop::Invalid);
    }
    Ok(())
}

/// Copies a match from a chunk back or farther, and up to a chunk more.
#[inline(always)]
fn copy_chunks(out: &mut [u8; OUTPUT_BYTES], out_len: usize, distance: usize, length: usize) {
    let (mut from, mut to) = (out_len - distance, out_len);
    loop {
        out.copy_within(from..from + CHUNK_BYTES, to);
        from += CHUNK_BYTES;
        to += CHUNK_BYTES;
        if to >= out_len + length {
            break;
        }
    }
}

/// Copies a match from anywhere.
#[inline(never)]
fn copy_match(out: &mut [u8], out_len: usize, distance: usize, length: usize, history: &History) {
    let copied = match distance.checked_sub(out_len) {
        Some(back @ 1..) => history.copy(back, length, &mut out[out_len..]),
        _ => 0,
    };
    let (mut to, end) = (out_len + copied, out_len + length);
    if to == end {
        return;
    }
    let from = to - distance;
    if distance == 1 {
        let byte = out[from];
        out[to..end].fill(byte);
        return;
    }
    // What has been copied can be copied in turn.
    while to < end {
        let count = (to - from).min(end - to);
        out.copy_within(from..from + count, to);
        to += count;
    }
}
