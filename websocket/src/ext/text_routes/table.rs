//! Routes by method and path, over the router of HTTP's routes.

use http::Method;
use tidegate_http::__private::to_matchit_syntax;

/// Values under methods and paths.
///
/// Each method has its own router: a path whose most specific route lacks the method finds a less specific one that has
/// it. Within a method, routes can name their parameters differently at the same place.
pub(super) struct RouteTable<T> {
    routers: Vec<(Method, matchit::Router<T>)>,
    len: usize,
}

/// A match: the parameters of the path, each with its name, and the value of the route.
pub(super) type Found<'t, 'p, T> = (matchit::Params<'t, 'p>, &'t T);

impl<T> RouteTable<T> {
    /// Returns the number of routes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a route.
    ///
    /// # Panics
    /// If the path is invalid, or matches the same paths as another route of the method.
    pub(super) fn insert(&mut self, method: Method, path: &str, value: T) {
        let pattern = to_matchit_syntax(path);
        let index = match self.routers.iter().position(|(known, _)| *known == method) {
            Some(index) => index,
            None => {
                self.routers.push((method, matchit::Router::new()));
                self.routers.len() - 1
            }
        };
        let (method, router) = &mut self.routers[index];
        // The pattern is valid, so the only error is a conflict with a route that matches the same paths.
        let inserted = router.insert(pattern, value);
        assert!(inserted.is_ok(), "conflicting route {method} {path:?}: it has a handler already; remove one");
        self.len += 1;
    }

    /// Finds the most specific route of the method that matches the path.
    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<Found<'_, 'p, T>> {
        let (_, router) = self.routers.iter().find(|(known, _)| known == method)?;
        let found = router.at(path).ok()?;
        Some((found.params, found.value))
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { routers: Vec::new(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'p>(params: &matchit::Params<'_, 'p>) -> Vec<&'p str> {
        params.iter().map(|(_, value)| value).collect()
    }

    fn table() -> RouteTable<u32> {
        let mut table = RouteTable::default();
        let targets = ["/", "/a", "/a/:x", "/a/:x/b", "/a/fixed/:y", "/:z/c", "/a/", "/files/*rest"];
        for (number, target) in targets.iter().enumerate() {
            table.insert(Method::GET, target, number as u32);
        }
        table.insert(Method::POST, "/a/:other", 100);
        table
    }

    #[test]
    fn paths_lead_to_their_routes() {
        let table = table();
        type Expected = Option<(u32, &'static [&'static str])>;
        let cases: [(&str, Expected); 14] = [
            ("/", Some((0, &[]))),
            ("/a", Some((1, &[]))),
            ("/a/1", Some((2, &["1"]))),
            ("/a/fixed", Some((2, &["fixed"]))),
            ("/a/1/b", Some((3, &["1"]))),
            ("/a/fixed/2", Some((4, &["2"]))),
            ("/a/fixed/b", Some((4, &["b"]))),
            ("/a/c", Some((2, &["c"]))),
            ("/q/c", Some((5, &["q"]))),
            ("/a/", Some((6, &[]))),
            ("/files/", None),
            ("/files/a/b", Some((7, &["a/b"]))),
            ("//c", None),
            ("a", None),
        ];
        for (path, expected) in cases {
            let found = table.find(&Method::GET, path).map(|(params, value)| (*value, values(&params)));
            assert_eq!(found.as_ref().map(|(value, values)| (*value, &values[..])), expected, "{path}");
        }
        let (params, value) = table.find(&Method::POST, "/a/1").unwrap();
        assert_eq!((params.get("other"), params.len(), *value), (Some("1"), 1, 100));
        let (params, value) = table.find(&Method::GET, "/a/1/b").unwrap();
        assert_eq!((params.get("x"), params.len(), *value), (Some("1"), 1, 3));
        assert!(table.find(&Method::POST, "/a").is_none());
    }

    #[test]
    fn a_prefix_that_leads_nowhere_leaves_no_value() {
        let mut table = RouteTable::default();
        table.insert(Method::GET, "/:a/x/y", 1);
        table.insert(Method::GET, "/b/:c/z", 2);
        let (params, value) = table.find(&Method::GET, "/b/x/y").unwrap();
        assert_eq!((values(&params), *value), (vec!["b"], 1));
    }

    #[test]
    fn invalid_routes_panic() {
        for path in ["", "a", "/a b", "/a?b", "/a#b", "/\u{e9}", "/:", "/:a-b", "/a/:/b", "/:n/:n", "/*n/b"] {
            let inserted = std::panic::catch_unwind(|| RouteTable::default().insert(Method::GET, path, 0));
            assert!(inserted.is_err(), "{path}");
        }
    }

    #[test]
    #[should_panic(expected = "conflicting route GET \"/a/:other\": it has a handler already; remove one")]
    fn conflicting_routes_panic() {
        table().insert(Method::GET, "/a/:other", 0);
    }
}
