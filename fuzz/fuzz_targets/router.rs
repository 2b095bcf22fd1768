//! The router against a naive matcher: the route found, its parameters, and the status without one.
//!
//! The first byte says how many routes follow, each with a method and segments; then requests, each a method and a
//! path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::router::{Routes, conflicts};
use tidegate_fuzz::paths::{self, Segment};

type Route = (Option<&'static str>, Vec<Segment>);

const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "OPTIONS", "PURGE"];

fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(data);
    let mut routes: Vec<Route> = Vec::new();
    for _ in 0..source.below(12) {
        let method = METHODS.get(source.below(METHODS.len() + 1)).copied();
        let route = (method, paths::route(&mut source, true));
        if !routes.iter().any(|other| *other == route || conflicts(&other.1, &route.1)) {
            routes.push(route);
        }
    }
    let built = Routes::new(&routes);
    for _ in 0..16 {
        if source.is_empty() {
            return;
        }
        let method = METHODS[source.below(METHODS.len())];
        let path = paths::path(&mut source);
        let target = if source.byte() & 1 != 0 { format!("{path}?a=/b") } else { path.clone() };
        let Some((status, text)) = built.answer(method, &target) else { continue };
        let (expected_status, expected_text) = expected(&routes, method, &path);
        assert_eq!(status, expected_status, "{method} {target} among {routes:?}");
        if expected_status == 200 {
            assert_eq!(text, expected_text, "{method} {target} among {routes:?}");
        }
    }
});

fn expected(routes: &[Route], method: &str, path: &str) -> (u16, String) {
    let mut places: Vec<Vec<Segment>> = routes.iter().map(|(_, segments)| segments.clone()).collect();
    places.dedup();
    let Some((found, values)) = paths::find(&places, path) else { return (404, String::new()) };
    let Some(values) = values.into_iter().map(paths::decode).collect::<Option<Vec<_>>>() else {
        return (400, String::new());
    };
    let of = |wanted: Option<&str>| routes.iter().position(|route| route.0 == wanted && route.1 == places[found]);
    let get_for_head = || if method == "HEAD" { of(Some("GET")) } else { None };
    match of(Some(method)).or_else(get_for_head).or_else(|| of(None)) {
        Some(index) => (200, format!("{index} {values:?}")),
        None if method == "OPTIONS" => (204, String::new()),
        None if method == "PURGE" => (501, String::new()),
        None => (405, String::new()),
    }
}
