//! The load generator's modes.

use crate::broadcast::{self, Broadcast};
use crate::churn::{self, Churn};
use crate::echo::{self, Echo};
use crate::error::LoadError;
use crate::files::{self, Files};
use crate::http::{self, Http};
use crate::idle::{self, Idle};
use crate::report::Report;

/// A run of one mode.
#[derive(Debug, Clone)]
pub enum Load {
    /// Messages that are echoed.
    Echo(Echo),
    /// Messages that every connection receives.
    Broadcast(Broadcast),
    /// Requests for one small response.
    Http(Http),
    /// Connections that are opened, upgraded, used once and closed.
    Churn(Churn),
    /// Connections that are open and silent.
    Idle(Idle),
    /// Requests for one file.
    Files(Files),
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(load: &Load) -> Result<Report, LoadError> {
    match load {
        Load::Echo(echo) => echo::run(echo),
        Load::Broadcast(broadcast) => broadcast::run(broadcast),
        Load::Http(http) => http::run(http),
        Load::Churn(churn) => churn::run(churn),
        Load::Idle(idle) => idle::run(idle),
        Load::Files(files) => files::run(files),
    }
}
