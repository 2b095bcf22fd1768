//! Queries with optional and empty values.

use axum::Router;
use axum::extract::{Query, RawQuery};
use axum::routing::get;
use serde::{Deserialize, Deserializer};

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/", get(async |Query(params): Query<Params>| format!("{params:?}")))
        .route("/raw", get(async |RawQuery(query): RawQuery| query.unwrap_or_default()))
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "shown by `Debug`")]
struct Params {
    #[serde(default, deserialize_with = "empty_string_as_none")]
    foo: Option<i32>,
    bar: Option<String>,
}

fn empty_string_as_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
