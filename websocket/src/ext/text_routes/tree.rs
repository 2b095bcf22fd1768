//! Finds what was put under a method and a path with parameters.

use std::collections::HashMap;

use http::Method;

use super::error::RouteError;

/// Values under methods and paths. Each segment of a path is a step down.
pub(super) struct Tree<T> {
    root: Node<T>,
    len: usize,
}

struct Node<T> {
    fixed: HashMap<String, Node<T>>,
    param: Option<Box<Node<T>>>,
    routes: Vec<Route<T>>,
}

struct Route<T> {
    method: Method,
    /// The names of the path's parameters in their order.
    names: Vec<String>,
    value: T,
}

/// What was found: the names of the parameters, their values in the path, and what was put there.
pub(super) type Found<'t, 'p, T> = (&'t [String], Vec<&'p str>, &'t T);

impl<T> Tree<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, method: Method, target: &str, value: T) -> Result<(), RouteError> {
        let wrong = |rule| RouteError::Target { target: target.to_owned(), rule };
        let path = target.strip_prefix('/').ok_or_else(|| wrong("it must begin with a slash"))?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
            return Err(wrong("it is written as in a request, percent-encoded and without a query"));
        }
        let mut node = &mut self.root;
        let mut names = Vec::new();
        for segment in path.split('/') {
            node = match segment.strip_prefix(':') {
                None => node.fixed.entry(segment.to_owned()).or_default(),
                Some(name) if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    return Err(wrong("a parameter's name is made of letters, digits and underscores"));
                }
                Some(name) if names.iter().any(|known| known == name) => {
                    return Err(RouteError::DuplicateParam { target: target.to_owned(), name: name.to_owned() });
                }
                Some(name) => {
                    names.push(name.to_owned());
                    node.param.get_or_insert_default()
                }
            };
        }
        if node.routes.iter().any(|route| route.method == method) {
            return Err(RouteError::DuplicateRoute { method: method.to_string(), target: target.to_owned() });
        }
        node.routes.push(Route { method, names, value });
        self.len += 1;
        Ok(())
    }

    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<Found<'_, 'p, T>> {
        let mut values = Vec::new();
        let route = self.root.find(method, Some(path.strip_prefix('/')?), &mut values)?;
        Some((&route.names, values, &route.value))
    }
}

impl<T> Node<T> {
    /// The route below for what is left of a path, `None` behind its last segment. Looks at each node once at the most, since
    /// one path leads to each.
    fn find<'p>(&self, method: &Method, rest: Option<&'p str>, values: &mut Vec<&'p str>) -> Option<&Route<T>> {
        let Some(rest) = rest else { return self.routes.iter().find(|route| route.method == method) };
        let (segment, rest) = rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
        if let Some(route) = self.fixed.get(segment).and_then(|node| node.find(method, rest, values)) {
            return Some(route);
        }
        let param = self.param.as_ref().filter(|_| !segment.is_empty())?;
        values.push(segment);
        let route = param.find(method, rest, values);
        if route.is_none() {
            values.pop();
        }
        route
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { fixed: HashMap::new(), param: None, routes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree<u32> {
        let mut tree = Tree::default();
        let targets = ["/", "/a", "/a/:x", "/a/:x/b", "/a/fixed/:y", "/:z/c", "/a/"];
        for (number, target) in targets.iter().enumerate() {
            tree.insert(Method::GET, target, number as u32).unwrap();
        }
        tree.insert(Method::POST, "/a/:other", 100).unwrap();
        tree
    }

    #[test]
    fn paths_lead_to_what_was_put_there() {
        let tree = tree();
        type Expected = Option<(u32, &'static [&'static str])>;
        let table: [(&str, Expected); 12] = [
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
        for (path, expected) in table {
            let found = tree.find(&Method::GET, path).map(|(_, values, value)| (*value, values));
            assert_eq!(found.as_ref().map(|(value, values)| (*value, &values[..])), expected, "{path}");
        }
        let (names, values, value) = tree.find(&Method::POST, "/a/1").unwrap();
        assert_eq!((names, &values[..], *value), (&["other".to_owned()][..], &["1"][..], 100));
        assert!(tree.find(&Method::POST, "/a").is_none());
    }

    #[test]
    fn a_wrong_turn_leaves_no_value() {
        let mut tree = Tree::default();
        tree.insert(Method::GET, "/:a/x/y", 1).unwrap();
        tree.insert(Method::GET, "/b/:c/z", 2).unwrap();
        let (_, values, value) = tree.find(&Method::GET, "/b/x/y").unwrap();
        assert_eq!((&values[..], *value), (&["b"][..], 1));
    }

    #[test]
    fn routes_that_are_none_are_refused() {
        let mut tree = tree();
        for target in ["", "a", "/a b", "/a?b", "/a#b", "/\u{e9}", "/:", "/:a-b", "/a/:/b"] {
            let error = tree.insert(Method::GET, target, 0).unwrap_err();
            assert!(matches!(error, RouteError::Target { .. }), "{target}: {error}");
        }
        let error = tree.insert(Method::GET, "/:n/:n", 0).unwrap_err();
        assert_eq!(error, RouteError::DuplicateParam { target: "/:n/:n".into(), name: "n".into() });
        let error = tree.insert(Method::GET, "/a/:other", 0).unwrap_err();
        assert_eq!(error, RouteError::DuplicateRoute { method: "GET".into(), target: "/a/:other".into() });
        assert_eq!(tree.len(), 8);
    }
}
