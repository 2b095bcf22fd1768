//! Applications written after axum's examples, served by hyper and by this crate: both answer the same.

mod content;
mod errors;
mod layers;
mod live;
mod routing;
