//! Divides payload into literals and matches.

use super::bits::BitWriter;
use super::block::Symbols;
use super::codes::{self, FIXED_LITERALS, MATCH_BYTES_MAX, MATCH_BYTES_MIN};
use super::window::Finder;

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

/// Writes the payload up to `stop` with the fixed codes. Looks at one earlier position for each symbol. Ends with a whole
/// match, so it can go beyond `stop`.
pub(super) fn write_fixed(finder: &mut Finder<'_>, mut at: usize, stop: usize, writer: &mut BitWriter<'_>) -> usize {
    let end = finder.bytes.len();
    let searchable = finder.searchable();
    while at < stop.min(searchable) {
        let word = finder.word(at);
        let earlier = finder.replace_head(at, word);
        if earlier < finder.lowest(at) || finder.word(earlier) != word {
            put_literal(word as u8, writer);
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
    let (bits, len) = FIXED_LITERALS[usize::from(byte)].with_extra(0);
    writer.put(bits, len);
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
        let found = if earlier < finder.lowest(at) { None } else { first_match(finder, at, earlier, effort) };
        let Some(mut best) = found else {
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            continue;
        };
        while best.bytes < effort.lazy_bytes && at + 1 < searchable {
            finder.insert(at + 1);
            let Some(longer) = longer_match(finder, at + 1, best.bytes, &lazy_effort) else { break };
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

/// Returns the longest match that begins at `at`. `candidate` is the last position with the same hash.
fn first_match(finder: &Finder<'_>, at: usize, mut candidate: usize, effort: &Effort) -> Option<Match> {
    let word = finder.word(at);
    let lowest = finder.lowest(at);
    for steps in (0..effort.steps).rev() {
        if finder.word(candidate) == word {
            let bytes_max = MATCH_BYTES_MAX.min(finder.bytes.len() - at);
            let bytes = finder.common_bytes(candidate, at, bytes_max);
            let found = Match { bytes, distance: at - candidate };
            if bytes >= effort.nice_bytes {
                return Some(found);
            }
            return longer_match(finder, at, bytes, &Effort { steps, ..*effort }).or(Some(found));
        }
        candidate = finder.previous(candidate);
        if candidate < lowest {
            break;
        }
    }
    None
}

/// Returns the longest match that begins at `at`, if it is longer than `bytes`.
///
/// It has the same first four bytes, and the same four that end one byte behind `bytes`. The search goes along the
/// positions of either, whichever is likely to be rarer: beginnings of records are often alike, and so are their ends.
fn longer_match(finder: &Finder<'_>, at: usize, bytes: usize, effort: &Effort) -> Option<Match> {
    let bytes_max = MATCH_BYTES_MAX.min(finder.bytes.len() - at);
    if bytes >= bytes_max {
        return None;
    }
    let lowest = finder.lowest(at);
    let mut last_offset = bytes + 1 - MATCH_BYTES_MIN;
    let mut last = finder.word(at + last_offset);
    let (mut begin, mut offset) = (finder.head(last).saturating_sub(last_offset), last_offset);
    if begin < lowest {
        return None;
    }
    // The rarer word is taken to be that whose last position is the earlier.
    let first_begin = finder.previous(at);
    if first_begin < begin {
        (begin, offset) = (first_begin, 0);
        if begin < lowest {
            return None;
        }
    }
    let first = finder.word(at);
    let mut best = None;
    for _ in 0..effort.steps {
        if finder.word(begin + last_offset) == last && finder.word(begin) == first && begin < at {
            let bytes = finder.common_bytes(begin, at, bytes_max);
            // The bytes in between can differ.
            if bytes >= last_offset + MATCH_BYTES_MIN {
                best = Some(Match { bytes, distance: at - begin });
                if bytes >= effort.nice_bytes || bytes == bytes_max {
                    break;
                }
                last_offset = bytes + 1 - MATCH_BYTES_MIN;
                last = finder.word(at + last_offset);
                let last_begin = finder.head(last).saturating_sub(last_offset);
                if last_begin < begin {
                    (begin, offset) = (last_begin, last_offset);
                    if begin < lowest {
                        break;
                    }
                    continue;
                }
            }
        }
        begin = finder.previous(begin + offset).saturating_sub(offset);
        if begin < lowest {
            break;
        }
    }
    best
}
