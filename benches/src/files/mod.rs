//! The files mode: one file or one JSON text over and over, of any size, each byte compared.

mod download;

use crate::config::Run;
use crate::error::LoadError;
use crate::exchange::{Exchange, Pacing};
use crate::report::Report;
use crate::requests::Requests;
use crate::setup::{self, Greeting};

use download::Downloads;

/// Approximate bytes of a response in one receive, for the size of the receive buffers.
const RESPONSE_BYTES: usize = 64 * 1024;

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Files {
    /// Address, number of connections, durations.
    pub run: Run,
    /// Request-target of the requests.
    pub path: String,
    /// Bytes of the content.
    pub size: usize,
    /// Whether the content is asked for, and expected, with gzip.
    pub gzip: bool,
}

/// Returns the content of a file of this size: the bytes that repeat after no power of two.
#[must_use]
pub fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at % 251) ^ (at / 251 % 13)) as u8).collect()
}

/// Returns a text of this size for JSON: words without much repetition, and nothing to escape.
#[must_use]
pub fn text(bytes: usize) -> String {
    let mut state = 12_345_u32;
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        text.push_str(WORDS[(state >> 16) as usize % WORDS.len()]);
        text.push('-');
    }
    text.truncate(bytes);
    text
}

const WORDS: &[&str] = &[
    "tide", "gate", "harbour", "moon", "current", "ebb", "flood", "quay", "pilot", "anchor", "mast", "hull", "keel",
    "bow", "stern", "rope", "sail", "wind", "wave", "salt", "gull", "buoy", "light", "chart", "depth", "fathom",
];

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(files: &Files) -> Result<Report, LoadError> {
    let accepted = if files.gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{accepted}\r\n", files.path, files.run.address);
    let requests = Requests::repeat(request.as_bytes(), 1).ok_or(LoadError::TooLarge)?;
    let requests: &'static Requests = Box::leak(Box::new(requests));
    let streams = setup::open(&files.run, files.run.connections, Greeting::None)?;
    let downloads = if files.gzip { Downloads::gzip(files.size) } else { Downloads::of(content(files.size)) };
    let pacing = Pacing::Windows { depth: 1 };
    let exchange = Exchange::new(&files.run, pacing, requests, downloads, RESPONSE_BYTES, streams)?;
    let (outcome, _) = exchange.run()?;

    let coding = if files.gzip { " gzip" } else { "" };
    let title = format!("files {} {} bytes {}{coding}", files.run.connections, files.size, files.path);
    let mut report = Report::new("files", "request", title, files.run.connections, outcome.measured);
    report.detail("size", files.size);
    report.detail("requests", report.measured.units);
    Ok(report)
}
