//! Tests of Tidegate together with the crates of the tokio, tower and axum ecosystem.
