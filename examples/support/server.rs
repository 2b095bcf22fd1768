//! The options that all examples with a server have in common.

use super::options::{Options, Row};

/// Parses the command line of a server that also takes the options in `own`.
pub fn options(about: &str, own: &[Row<'_>]) -> Options {
    let shared = [
        ("--addr ADDRESS", "127.0.0.1:9001", "address to listen on"),
        ("--engine auto|uring|portable", "auto", "auto takes io_uring if it is available, else portable"),
    ];
    Options::parse(about, &[&shared, own].concat())
}
