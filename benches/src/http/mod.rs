//! The HTTP mode: windows of pipelined requests for one small response (RFC 9112 section 9.3.2).

mod response;

use crate::config::Run;
use crate::error::LoadError;
use crate::exchange::{Exchange, Pacing};
use crate::report::Report;
use crate::requests::Requests;
use crate::setup::{self, Greeting};

use response::{RESPONSE_BYTES, Responses};

/// Settings of an HTTP run.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address, number of connections, durations.
    pub run: Run,
    /// Request-target of the requests.
    pub path: String,
    /// When requests are sent. Windows of 1 send one request at a time.
    pub pacing: Pacing,
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(http: &Http) -> Result<Report, LoadError> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", http.path, http.run.address);
    let window_max = http.pacing.window_messages_max() as usize;
    let requests = Requests::repeat(request.as_bytes(), window_max).ok_or(LoadError::TooLarge)?;
    let requests: &'static Requests = Box::leak(Box::new(requests));
    let streams = setup::open(&http.run, http.run.connections, Greeting::None)?;
    let exchange = Exchange::new(&http.run, http.pacing, requests, Responses::default(), RESPONSE_BYTES, streams)?;
    let (outcome, _) = exchange.run()?;

    let (depth, sliding, rate) = match http.pacing {
        Pacing::Windows { depth } => (depth, false, None),
        Pacing::Sliding { depth } => (depth, true, None),
        Pacing::Rate { messages_per_s } => (1, false, Some(messages_per_s)),
    };
    let title = format!("http {} {} depth {depth}", http.run.connections, http.path);
    let mut report = Report::new("http", "request", title, http.run.connections, outcome.measured);
    report.detail("depth", depth);
    report.detail("sliding", sliding);
    report.detail("rate", rate.map_or("null".to_owned(), |rate| format!("{rate:.1}")));
    report.detail("requests", report.measured.units);
    report.detail("overdue", outcome.overdue);
    Ok(report)
}
