//! The load generator's modes.

use crate::broadcast::{self, Broadcast};
use crate::churn::{self, Churn};
use crate::echo::{self, Echo};
use crate::error::LoadError;
use crate::http::{self, Http};
use crate::idle::{self, Idle};
use crate::report::Report;

/// What to run.
#[derive(Debug, Clone)]
pub enum Load {
    /// Messages that come back.
    Echo(Echo),
    /// Messages that every connection receives.
    Broadcast(Broadcast),
    /// Requests for one small response.
    Http(Http),
    /// Connections opened, upgraded, used once and closed.
    Churn(Churn),
    /// Connections that are open and silent.
    Idle(Idle),
}

/// Runs the load and reports on it.
///
/// # Errors
/// The first thing that went wrong; the numbers of a failed run are worth nothing and are dropped.
pub fn run(load: &Load) -> Result<Report, LoadError> {
    match load {
        Load::Echo(echo) => echo::run(echo),
        Load::Broadcast(broadcast) => broadcast::run(broadcast),
        Load::Http(http) => http::run(http),
        Load::Churn(churn) => churn::run(churn),
        Load::Idle(idle) => idle::run(idle),
    }
}
