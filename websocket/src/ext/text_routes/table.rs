//! Routes by method and path, over the router of HTTP's routes.

use http::Method;

/// Values under methods and paths.
///
/// Each method has its own router: a path whose most specific route lacks the method finds a less specific one that has
/// it. In the routers parameters are named by their number: routes may name them differently at the same place.
pub(super) struct RouteTable<T> {
    routers: Vec<(Method, matchit::Router<Route<T>>)>,
    len: usize,
}

struct Route<T> {
    /// The names of the path's parameters in their order.
    names: Vec<String>,
    value: T,
}

/// A match: the names of the parameters, their values in the path, and the value of the route.
pub(super) type Found<'t, 'p, T> = (&'t [String], Vec<&'p str>, &'t T);

impl<T> RouteTable<T> {
    /// The number of routes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a route; panics if it is invalid or conflicts with another one.
    pub(super) fn insert(&mut self, method: Method, path: &str, value: T) {
        let (pattern, names) = translate(path);
        let index = match self.routers.iter().position(|(known, _)| *known == method) {
            Some(index) => index,
            None => {
                self.routers.push((method, matchit::Router::new()));
                self.routers.len() - 1
            }
        };
        let (method, router) = &mut self.routers[index];
        // The pattern is valid, so the only error is a conflict with a route that matches the same paths.
        let inserted = router.insert(pattern, Route { names, value });
        assert!(inserted.is_ok(), "conflicting route {method} {path:?}: it has a handler already; remove one");
        self.len += 1;
    }

    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<Found<'_, 'p, T>> {
        let (_, router) = self.routers.iter().find(|(known, _)| known == method)?;
        let found = router.at(path).ok()?;
        let values = found.params.iter().map(|(_, value)| value).collect();
        Some((&found.value.names, values, &found.value.value))
    }
}

/// Returns the pattern of a path in the router's syntax, and the names of its parameters. Panics if the path is
/// invalid.
fn translate(path: &str) -> (String, Vec<String>) {
    assert!(path.starts_with('/'), "invalid route {path:?}: must begin with a slash");
    assert!(
        path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')),
        "invalid route {path:?}: must be percent-encoded as in a request, and have no query or fragment"
    );
    let (mut pattern, mut names) = (String::new(), Vec::new());
    for segment in path[1..].split('/') {
        pattern.push('/');
        let Some(name) = segment.strip_prefix(':') else {
            pattern.push_str(&segment.replace('{', "{{").replace('}', "}}"));
            continue;
        };
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "invalid route {path:?}: a parameter's name must be letters, digits and underscores, as in `:user_id`"
        );
        assert!(
            !names.iter().any(|known| known == name),
            "invalid route {path:?}: two parameters are named {name:?}; rename one"
        );
        pattern.push_str(&format!("{{{}}}", names.len()));
        names.push(name.to_owned());
    }
    (pattern, names)
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { routers: Vec::new(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable<u32> {
        let mut table = RouteTable::default();
        let targets = ["/", "/a", "/a/:x", "/a/:x/b", "/a/fixed/:y", "/:z/c", "/a/"];
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
        let cases: [(&str, Expected); 12] = [
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
            ("//c", None),
            ("a", None),
        ];
        for (path, expected) in cases {
            let found = table.find(&Method::GET, path).map(|(_, values, value)| (*value, values));
            assert_eq!(found.as_ref().map(|(value, values)| (*value, &values[..])), expected, "{path}");
        }
        let (names, values, value) = table.find(&Method::POST, "/a/1").unwrap();
        assert_eq!((names, &values[..], *value), (&["other".to_owned()][..], &["1"][..], 100));
        assert!(table.find(&Method::POST, "/a").is_none());
    }

    #[test]
    fn a_prefix_that_leads_nowhere_leaves_no_value() {
        let mut table = RouteTable::default();
        table.insert(Method::GET, "/:a/x/y", 1);
        table.insert(Method::GET, "/b/:c/z", 2);
        let (_, values, value) = table.find(&Method::GET, "/b/x/y").unwrap();
        assert_eq!((&values[..], *value), (&["b"][..], 1));
    }

    #[test]
    fn invalid_routes_panic() {
        for path in ["", "a", "/a b", "/a?b", "/a#b", "/\u{e9}", "/:", "/:a-b", "/a/:/b", "/:n/:n"] {
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
