//! Other projects' WebSocket servers, run as programs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::certificates::Certificates;
use super::peers::{command, install};

/// A server of another project, which runs until it is dropped.
pub struct PeerServer {
    url: String,
    child: Child,
}

impl PeerServer {
    /// Starts a script of `tests/peers/` that prints its port, with an argument unless that is empty, and with TLS if
    /// there are certificates.
    ///
    /// # Panics
    ///
    /// If its dependencies cannot be installed, or it does not start.
    pub fn start(script: &str, argument: &str, certificates: Option<&Certificates>) -> Self {
        install(&[]);
        let mut command = command(script);
        command.args((!argument.is_empty()).then_some(argument)).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(certificates) = certificates {
            command.arg("--tls").args(["server.pem", "server.key"].map(|name| certificates.path(name)));
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        let port: Option<u16> = read.ok().and_then(|_| line.trim().parse().ok());
        let port = port.unwrap_or_else(|| panic!("{script} printed {line:?}, not a port"));
        let scheme = if certificates.is_some() { "wss" } else { "ws" };
        Self { url: format!("{scheme}://127.0.0.1:{port}/"), child }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
