//! The protocol machine through its public API: events, refusals, framing of responses, persistence, pipelining.

mod requests;
mod responses;

use std::time::UNIX_EPOCH;

use tidegate_http::protocol::{DateCache, HttpDate};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn date() -> HttpDate {
    DateCache::new().at(UNIX_EPOCH)
}
