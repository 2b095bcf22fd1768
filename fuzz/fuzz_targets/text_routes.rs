//! Text routes: any text gets a response with a known code, and a well-formed request the route that a naive matcher
//! finds.
//!
//! The first byte says how many routes follow, each with a method and segments; then a request's method, id and path.
//! The rest is also sent as a text of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::text_routes::Routes;
use tidegate_fuzz::paths::{self, Segment};

const METHODS: [&str; 3] = ["GET", "POST", "get"];

fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(data);
    let mut routes: Vec<(&'static str, Vec<Segment>)> = Vec::new();
    for _ in 0..source.below(8) {
        let route = (METHODS[source.below(METHODS.len())], paths::route(&mut source, false));
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let built = Routes::new(&routes);
    well_formed(&routes, &built, &mut source);
    let text = String::from_utf8_lossy(source.rest());
    let response: Value = serde_json::from_str(&built.answer(&text)).expect("a response is JSON");
    let code = response["code"].as_u64().expect("a response has a code");
    assert!([200, 400, 404].contains(&code), "{response}");
    if let Ok(Value::Object(request)) = serde_json::from_str(&text)
        && code != 400
    {
        assert_eq!(Some(&response["id"]), request.get("id"));
    }
});

fn well_formed(routes: &[(&'static str, Vec<Segment>)], built: &Routes, source: &mut Source) {
    let (method, id) = (METHODS[source.below(METHODS.len())], source.number());
    let path = paths::path(source);
    let target = if source.byte() & 1 != 0 { format!("{path}?a=/b") } else { path.clone() };
    let request = json!({ "id": id, "method": method, "target": target, "body": [1, 2] });
    let response: Value = serde_json::from_str(&built.answer(&request.to_string())).expect("a response is JSON");

    let (of_method, indices): (Vec<_>, Vec<_>) = routes
        .iter()
        .enumerate()
        .filter(|(_, route)| route.0 == method)
        .map(|(index, route)| (route.1.clone(), index))
        .unzip();
    let (code, body) = match paths::find(&of_method, &path) {
        None => (404, Value::Null),
        Some((found, values)) => match values.into_iter().map(paths::decode).collect::<Option<Vec<_>>>() {
            None => (400, Value::Null),
            Some(values) => (200, json!([indices[found], values])),
        },
    };
    let seen = (&response["id"], &response["code"], &response["body"]);
    assert_eq!(seen, (&json!(id), &json!(code), &body), "{method} {path} among {routes:?}");
}
