//! Prefixes of nested routers: the paths below them, and which of several prefixes and routes is the most specific.
//!
//! Owns the rule that everything below a prefix belongs to the nested router. The router asks it while routes are
//! registered, and for requests whose path has no route.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::server::fallback::Fallback;
use crate::server::handler_name::HandlerName;
use crate::server::pattern::{Segment, segments};

/// The prefix of a nested router.
pub(crate) struct Nest {
    prefix: String,
    /// Answers requests below the prefix that have no route. `None`: the fallback of the outer router does.
    pub(crate) fallback: Option<Arc<dyn Fallback>>,
    /// The name of the fallback.
    pub(crate) name: HandlerName,
}

impl Nest {
    pub(crate) fn new(prefix: String, fallback: Option<Arc<dyn Fallback>>) -> Nest {
        let name = HandlerName::new(format!("the fallback below {prefix}"));
        Nest { prefix, fallback, name }
    }

    /// Returns the nest of an inner router in an outer one. A fallback of `outer` stands in for a missing one.
    pub(crate) fn below(self, prefix: &str, outer: Option<&Arc<dyn Fallback>>) -> Nest {
        Nest::new(format!("{prefix}{}", self.prefix), self.fallback.or_else(|| outer.cloned()))
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether a path is the prefix or below it. A parameter in the prefix matches one segment that is not
    /// empty.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let mut rest = path.split('/');
        segments(&self.prefix).all(|expected| rest.next().is_some_and(|segment| is_match(expected, segment)))
    }

    /// Returns the names and the values of the prefix's parameters in a path below it.
    pub(crate) fn params<'n, 'p>(&'n self, path: &'p str) -> impl Iterator<Item = (&'n str, &'p str)> {
        segments(&self.prefix).zip(path.split('/')).filter_map(|(expected, value)| match expected {
            Segment::Param(name) => Some((name, value)),
            Segment::Literal(_) | Segment::Wildcard(_) => None,
        })
    }

    /// Returns whether two prefixes match the same paths: they differ in the names of parameters at most.
    pub(crate) fn is_same(&self, other: &Nest) -> bool {
        segments(&self.prefix).map(without_name).eq(segments(&other.prefix).map(without_name))
    }

    /// Orders the more specific prefix first: at the first segment in which they differ, a literal precedes a
    /// parameter, and a longer prefix precedes its beginning.
    pub(crate) fn order(&self, other: &Nest) -> Ordering {
        let ranks = |nest: &'_ Nest| -> Vec<u8> {
            let ranks = segments(&nest.prefix).map(|segment| u8::from(!matches!(segment, Segment::Literal(_))));
            ranks.chain([2]).collect()
        };
        ranks(self).cmp(&ranks(other))
    }

    /// Returns whether the paths below the prefix are taken from a route: it is not below the prefix, and in the first
    /// segment in which they differ, it is the less specific one.
    pub(crate) fn shadows(&self, route: &str) -> bool {
        for (own, other) in segments(&self.prefix).zip(segments(route)) {
            match (own, other) {
                (Segment::Literal(own), Segment::Literal(other)) if own == other => {}
                (Segment::Param(_), Segment::Param(_)) => {}
                (_, Segment::Literal(_)) => return false,
                _ => return true,
            }
        }
        false
    }
}

fn is_match(expected: Segment<'_>, segment: &str) -> bool {
    match expected {
        Segment::Literal(literal) => segment == literal,
        Segment::Param(_) | Segment::Wildcard(_) => !segment.is_empty(),
    }
}

fn without_name(segment: Segment<'_>) -> Segment<'_> {
    match segment {
        Segment::Param(_) => Segment::Param(""),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(prefix: &str) -> Nest {
        Nest::new(prefix.to_owned(), None)
    }

    #[test]
    fn paths_below_a_prefix() {
        let (literal, param) = (nest("/api"), nest("/of/{user}"));
        for (path, is_below) in [("/api", true), ("/api/", true), ("/api/a/b", true), ("/apix", false), ("/", false)] {
            assert_eq!(literal.contains(path), is_below, "{path}");
        }
        for (path, is_below) in [("/of/a", true), ("/of/a/b", true), ("/of/", false), ("/of//b", false), ("/of", false)]
        {
            assert_eq!(param.contains(path), is_below, "{path}");
        }
        assert!(param.params("/of/a/b").eq([("user", "a")]));
        assert!(param.is_same(&nest("/of/:name")) && !param.is_same(&nest("/of/x")));
    }

    #[test]
    fn the_more_specific_prefix_is_first() {
        let mut nests = ["/:a", "/:a/b", "/a", "/a/:b", "/a/b"].map(nest);
        nests.sort_by(Nest::order);
        assert_eq!(nests.map(|nest| nest.prefix), ["/a/b", "/a/:b", "/a", "/:a/b", "/:a"]);
    }

    #[test]
    fn less_specific_routes_are_shadowed() {
        for (prefix, route, is_shadowed) in [
            ("/api", "/:a/x", true),
            ("/api", "/:a", true),
            ("/api", "/*rest", true),
            ("/api", "/api/x/:id", false),
            ("/api", "/ap/:id", false),
            ("/api/v1", "/api/:version/x", true),
            ("/:tenant", "/health/*rest", false),
            ("/:tenant", "/:a/x", false),
            ("/:tenant", "/*rest", true),
        ] {
            assert_eq!(nest(prefix).shadows(route), is_shadowed, "{prefix} {route}");
        }
    }
}
