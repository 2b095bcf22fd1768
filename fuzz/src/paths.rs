//! Routes and paths made from an input, and the naive matcher that the routers are compared with.

use crate::Source;

/// One segment of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself.
    Literal(&'static str),
    /// Matches one segment that is not empty.
    Param,
    /// Matches the rest of the path, slashes included, if it is not empty.
    Wildcard,
}

/// Names share prefixes, so that a tree of prefixes splits inside of them.
const LITERALS: [&str; 8] = ["a", "b", "ab", "abc", "", "a.b", "%61", "ba"];

/// The last three do not decode to UTF-8.
const VALUES: [&str; 12] = ["a", "b", "ab", "abc", "", "a.b", "%61", "x%2Fy", "abd", "%ff", "%", "%4"];

/// Routes have up to this many segments.
const SEGMENTS_MAX: usize = 5;

/// Reads a route: its segments, at least one. Only the last can be a wildcard.
pub fn route(source: &mut Source, wildcards: bool) -> Vec<Segment> {
    let mut segments = Vec::new();
    for _ in 0..1 + source.below(SEGMENTS_MAX) {
        match source.below(14) {
            number if number < 8 => segments.push(Segment::Literal(LITERALS[number])),
            13 if wildcards => {
                segments.push(Segment::Wildcard);
                break;
            }
            _ => segments.push(Segment::Param),
        }
    }
    segments
}

/// Reads a request's path, which begins with a slash.
pub fn path(source: &mut Source) -> String {
    let mut path = String::new();
    for _ in 0..1 + source.below(SEGMENTS_MAX + 1) {
        path.push('/');
        path.push_str(VALUES[source.below(VALUES.len())]);
    }
    path
}

/// The index of the route that a path leads to, and the values of its parameters, still encoded.
pub type Found<'p> = (usize, Vec<&'p str>);

/// Finds a path's route by trying them all. Segment by segment, literals take precedence over parameters, and
/// parameters over wildcards.
pub fn find<'p>(routes: &[Vec<Segment>], path: &'p str) -> Option<Found<'p>> {
    let rank = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Param => 1,
        Segment::Wildcard => 2,
    };
    let matching = routes.iter().enumerate().filter_map(|(index, route)| Some((index, values(route, path)?)));
    matching.min_by_key(|(index, _)| routes[*index].iter().map(rank).collect::<Vec<_>>())
}

/// The values of a route's parameters in a path, if it matches.
fn values<'p>(route: &[Segment], path: &'p str) -> Option<Vec<&'p str>> {
    let mut values = Vec::new();
    let mut rest = Some(path.strip_prefix('/')?);
    for segment in route {
        let left = rest?;
        let (first, after) = left.split_once('/').map_or((left, None), |(first, after)| (first, Some(after)));
        rest = after;
        match segment {
            Segment::Literal(literal) if *literal == first => {}
            Segment::Param if !first.is_empty() => values.push(first),
            Segment::Wildcard if !left.is_empty() => {
                values.push(left);
                return Some(values);
            }
            _ => return None,
        }
    }
    rest.is_none().then_some(values)
}

/// Decodes percent signs; `None` if the result is not UTF-8, or a percent sign is not followed by two digits.
pub fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
