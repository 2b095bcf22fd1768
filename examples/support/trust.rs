//! Whom a client trusts: the options `--ca` and `--insecure`.

use tidegate::engine::TlsClient;
use tidegate::websocket::Connect;

use super::options::{Options, Row};

pub const ROWS: [Row<'_>; 2] = [
    ("--ca FILE", "none", "authorities to trust with wss, in PEM, in place of the system's"),
    ("--insecure", "", "trust any server with wss"),
];

/// Applies the options to a connection.
pub fn apply(connect: Connect, options: &Options) -> tidegate::Result<Connect> {
    Ok(match (options.given("--ca"), options.given("--insecure")) {
        (_, Some(_)) => connect.tls(&TlsClient::dangerous_trust_anyone()?),
        (Some(file), None) => connect.tls(&TlsClient::ca_file(file)?),
        (None, None) => connect,
    })
}
