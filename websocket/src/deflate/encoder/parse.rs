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

impl Match {
    const NONE: Self = Self { bytes: MATCH_BYTES_MIN - 1, distance: 0 };
}

/// Writes the payload up to `stop` with the fixed codes. Looks at one earlier position for each symbol.
pub(super) fn write_fixed(finder: &mut Finder<'_>, mut at: usize, stop: usize, writer: &mut BitWriter<'_>) -> usize {
    let end = finder.bytes.len();
    while at < stop {
        if end - at < MATCH_BYTES_MIN {
            writer.put(FIXED_LITERALS[usize::from(finder.bytes[at])]);
            at += 1;
            continue;
        }
        let word = finder.word(at);
        let head = &mut finder.heads[finder.hash(word)];
        let earlier = usize::from(std::mem::replace(head, at as u16));
        if earlier >= finder.lowest(at) && finder.word(earlier) == word {
            let bytes = finder.common_bytes(earlier, at, MATCH_BYTES_MAX.min(end - at));
            writer.put(codes::fixed_match(bytes, at - earlier));
            at += bytes;
            // Records are often alike from the end of a match on.
            if end - at >= MATCH_BYTES_MIN {
                let hash = finder.hash(finder.word(at - 2));
                finder.heads[hash] = (at - 2) as u16;
            }
        } else {
            writer.put(FIXED_LITERALS[(word & 0xFF) as usize]);
            at += 1;
        }
    }
    finder.inserted = at;
    at
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
    // Before the last bytes there is a position for each match.
    let searchable = (finder.bytes.len() + 1).saturating_sub(MATCH_BYTES_MIN);
    let lazy_effort = Effort { steps: effort.steps / 2, ..*effort };
    while at < stop && symbols.room() > 0 {
        if at >= searchable {
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            continue;
        }
        finder.insert_before(at);
        let earlier = finder.insert(at);
        let mut found = longest_match(finder, at, earlier, Match::NONE, effort);
        if found.distance == 0 {
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            continue;
        }
        while found.bytes < effort.lazy_bytes && at + 1 < searchable {
            let earlier = finder.insert(at + 1);
            let next = longest_match(finder, at + 1, earlier, found, &lazy_effort);
            if next.bytes <= found.bytes {
                break;
            }
            symbols.add_literal(finder.bytes[at]);
            at += 1;
            found = next;
        }
        symbols.add_match(found.bytes, found.distance);
        at += found.bytes;
    }
    at
}

/// Returns the longest match that begins at `at` and is longer than `best`; otherwise `best`. `earlier` is the last
/// position with the same hash.
///
/// A match longer than the best so far also has the four bytes that end one byte behind it. So from the first match on
/// the search goes along the positions of these: they are fewer, because they tell records apart, where the beginnings
/// of matches are often the same in all records.
#[inline]
fn longest_match(finder: &Finder<'_>, at: usize, earlier: usize, mut best: Match, effort: &Effort) -> Match {
    let bytes_max = MATCH_BYTES_MAX.min(finder.bytes.len() - at);
    if best.bytes >= bytes_max {
        return best;
    }
    let first = finder.word(at);
    let lowest = finder.lowest(at);
    let mask = finder.previous.len() - 1;
    let mut offset = best.bytes + 1 - MATCH_BYTES_MIN;
    let mut last = finder.word(at + offset);
    let mut candidate = if offset == 0 { earlier } else { usize::from(finder.heads[finder.hash(last)]) };
    let mut steps = effort.steps;
    while candidate >= lowest + offset && steps > 0 {
        steps -= 1;
        let begin = candidate - offset;
        if begin < at && finder.word(candidate) == last && finder.word(begin) == first {
            let bytes = finder.common_bytes(begin, at, bytes_max);
            if bytes > best.bytes {
                best = Match { bytes, distance: at - begin };
                if bytes >= effort.nice_bytes || bytes == bytes_max {
                    break;
                }
                offset = bytes + 1 - MATCH_BYTES_MIN;
                last = finder.word(at + offset);
                candidate = usize::from(finder.heads[finder.hash(last)]);
                continue;
            }
        }
        candidate = usize::from(finder.previous[candidate & mask]);
    }
    best
}
