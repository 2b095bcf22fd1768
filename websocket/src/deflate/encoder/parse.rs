//! Divides payload into literals and matches.

use super::bits::BitWriter;
use super::block::Symbols;
use super::codes::{self, Code, FIXED_LITERALS, MATCH_BYTES_MIN};
use super::window::Finder;
use crate::deflate::format::MATCH_BYTES_MAX;

/// How long a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    /// Maximum earlier positions that are looked at; half of them once there is a match at the position before.
    pub(super) steps: u32,
    /// The bytes of a match that is good enough to end the search.
    pub(super) nice_bytes: usize,
    /// The bytes of a match from which on the next position is not tried.
    pub(super) lazy_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Match {
    bytes: usize,
    distance: usize,
}

impl Match {
    const NONE: Self = Self { bytes: 0, distance: 0 };
}

/// Writes the payload up to `stop` with the fixed codes. Looks at one earlier position for each symbol. Ends with a
/// whole match, so it can go beyond `stop`.
pub(super) fn write_fixed(finder: &mut Finder<'_>, mut at: usize, stop: usize, writer: &mut BitWriter<'_>) -> usize {
    let end = finder.bytes.len();
    let searchable = finder.searchable();
    while at < stop.min(searchable) {
        let word = finder.word(at);
        let earlier = finder.replace_head(at, word);
        if finder.word(earlier) != word || earlier < finder.lowest(at) {
            put_literal(finder.bytes[at], writer);
            at += 1;
            continue;
        }
        let bytes = finder.common_bytes(earlier, at, MATCH_BYTES_MAX.min(end - at));
        let (bits, len) = codes::fixed_match(bytes, at - earlier);
        writer.put(bits, len);
        // Of the positions in a match two are the most useful: later matches often begin one byte after this one, and
        // records are often alike from its end on.
        if at + bytes < searchable {
            finder.replace_head(at + 1, finder.word(at + 1));
            finder.replace_head(at + bytes - 2, finder.word(at + bytes - 2));
        }
        at += bytes;
    }
    while at < stop {
        put_literal(finder.bytes[at], writer);
        at += 1;
    }
    finder.inserted = at;
    at
}

#[inline(always)]
fn put_literal(byte: u8, writer: &mut BitWriter<'_>) {
    let Code { bits, len, .. } = FIXED_LITERALS[usize::from(byte)];
    writer.put(bits.into(), len.into());
}

/// Adds the payload up to `stop` as literals, or less if the symbols become too many.
pub(super) fn add_literals(finder: &Finder<'_>, at: usize, stop: usize, symbols: &mut Symbols) -> usize {
    let stop = stop.min(at + symbols.room());
    for byte in &finder.bytes[at..stop] {
        symbols.add_literal(*byte);
    }
    stop
}

/// Adds the symbols of the payload up to `stop`, or less if they become too many. Ends with a whole match, so it can go
/// beyond `stop`.
pub(super) fn add_matches(
    finder: &mut Finder<'_>,
    mut at: usize,
    stop: usize,
    effort: &Effort,
    symbols: &mut Symbols,
) -> usize {
    let searchable = finder.searchable();
    let lazy_effort = Effort { steps: effort.steps / 2, ..*effort };
    while at < stop.min(searchable) && symbols.room() > 0 {
        finder.insert_before(at);
        let earlier = finder.insert(at);
        // In a short message most positions are the first with their hash.
        let mut best = if earlier < finder.lowest(at) { Match::NONE } else { first_match(finder, at, earlier, effort) };
        if best.bytes == 0 {
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            continue;
        }
        while best.bytes < effort.lazy_bytes && at + 1 < searchable {
            let earlier = finder.insert(at + 1);
            let longer = longer_match(finder, at + 1, best, earlier, &lazy_effort);
            if longer.bytes == best.bytes {
                break;
            }
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            best = longer;
        }
        symbols.add_match(best.bytes, best.distance);
        at += best.bytes;
    }
    if at >= searchable {
        at = add_literals(finder, at, stop.max(at), symbols);
    }
    at
}

/// Returns the longest match that begins at `at`, if any. `earlier` is the last position with the same hash.
fn first_match(finder: &Finder<'_>, at: usize, mut earlier: usize, effort: &Effort) -> Match {
    let word = finder.word(at);
    let lowest = finder.lowest(at);
    for steps in (0..effort.steps).rev() {
        let before = finder.previous(earlier);
        if finder.word(earlier) == word {
            let bytes = finder.common_bytes(earlier, at, MATCH_BYTES_MAX.min(finder.bytes.len() - at));
            let found = Match { bytes, distance: at - earlier };
            if bytes >= effort.nice_bytes {
                return found;
            }
            return longer_match(finder, at, found, before, &Effort { steps, ..*effort });
        }
        if before < lowest {
            break;
        }
        earlier = before;
    }
    Match::NONE
}

/// Returns the longest match that begins at `at` and is longer than `best`; otherwise `best`. `earlier` is a position
/// with the same hash. Those behind it have been looked at.
///
/// A longer match has the same first four bytes, and the same four that end one byte behind `best`. The search goes
/// along the positions of either, whichever is likely to be rarer: beginnings of records are often alike, and so are
/// their ends.
#[inline]
fn longer_match(finder: &Finder<'_>, at: usize, mut best: Match, earlier: usize, effort: &Effort) -> Match {
    let bytes_max = MATCH_BYTES_MAX.min(finder.bytes.len() - at);
    let lowest = finder.lowest(at);
    if best.bytes >= bytes_max || earlier < lowest {
        return best;
    }
    let first = finder.word(at);
    let (mut last, mut last_offset) = (first, 0);
    let (mut next, mut offset) = (earlier, 0);
    let mut is_longer = true;
    for _ in 0..effort.steps {
        if is_longer {
            last_offset = best.bytes + 1 - MATCH_BYTES_MIN;
            last = finder.word(at + last_offset);
            // The word whose last position is the earlier one is taken to be the rarer.
            let last_begin = finder.head(last).saturating_sub(last_offset);
            if last_begin < next {
                (next, offset) = (last_begin, last_offset);
            }
            is_longer = false;
        }
        let begin = next;
        if begin < lowest {
            break;
        }
        next = finder.previous(begin + offset).saturating_sub(offset);
        if finder.word(begin + last_offset) == last && finder.word(begin) == first {
            let bytes = finder.common_bytes(begin, at, bytes_max);
            // The bytes in between can differ.
            if bytes > best.bytes {
                best = Match { bytes, distance: at - begin };
                if bytes >= effort.nice_bytes || bytes == bytes_max {
                    break;
                }
                is_longer = true;
            }
        }
    }
    best
}
