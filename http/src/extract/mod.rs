//! Typed views of a request: its query, its cookies, its content as JSON or as a form.
//!
//! Each refuses what it cannot convert with a [`Rejection`](rejection::Rejection), which is a response. The parsing is
//! that of well-kept crates behind Cargo features; a handler that does not call them pays nothing.

#[cfg(feature = "cookies")]
mod cookies;
#[cfg(feature = "form")]
mod form;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "json", feature = "form"))]
mod media_type;
#[cfg(feature = "multipart")]
pub(crate) mod multipart;
mod params;
pub(crate) mod rejection;
