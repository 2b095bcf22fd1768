//! Applications for the tests with the crates of the ecosystem.
//!
//! Each module of [`apps`] is one application for axum, written after an example of axum's documentation. None of them
//! knows which server runs it.

pub mod apps;

/// The blocks of the guide's second part, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/ecosystem.md")]
struct Guide;
