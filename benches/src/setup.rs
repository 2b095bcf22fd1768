//! Preparations of a run: the connections, their handshakes, and the size of the receive buffers.

use std::net::TcpStream;

use crate::config::Run;
use crate::error::LoadError;
use crate::handshake::{Context, Upgrade};
use crate::{handshake, socket};

/// Bounds on the number of receive buffers. Within them, each connection can complete twice per enter.
const BUFFERS: [usize; 2] = [64, 4096];

/// Bounds on the number of receive buffers of the largest size. Fewer, because the same few buffers then stay in the
/// second-level cache. A receive that finds none is armed again in the next turn, which costs little compared with so
/// many bytes.
const LARGE_BUFFERS: [usize; 2] = [8, 32];

/// Bounds on the size of a receive buffer, which follows the size of a window's replies.
const BUFFER_BYTES: [usize; 2] = [4096, 65_536];

/// The most memory of all receive buffers together, in bytes.
const BUFFERS_BYTES_MAX: usize = 64 << 20;

/// A connected stream and the bytes received after its handshake.
pub type Opened = (TcpStream, Vec<u8>);

/// Handshake of a connection before the run.
#[derive(Debug, Clone, Copy)]
pub enum Greeting<'a> {
    /// None: raw TCP or HTTP.
    None,
    /// The WebSocket opening handshake for this request-target.
    WebSocket(&'a str),
    /// The same with permessage-deflate.
    Compressed(&'a str, Context),
}

/// Opens `connections` connections to the run's address, one after another.
///
/// # Errors
/// The first connection that could not be opened or upgraded, or too many connections for the limit of open files.
pub fn open(run: &Run, connections: usize, greeting: Greeting<'_>) -> Result<Vec<Opened>, LoadError> {
    require_files(connections)?;
    let host = run.address.to_string();
    let open_one = |index| {
        let mut stream = socket::connect(run.address, index).map_err(|error| LoadError::Connect { index, error })?;
        let upgrade = |path| Upgrade::new(&host, path, index as u64);
        let upgrade = match greeting {
            Greeting::None => return Ok((stream, Vec::new())),
            Greeting::WebSocket(path) => upgrade(path),
            Greeting::Compressed(path, context) => upgrade(path).deflate(context),
        };
        let rest = handshake::open(&mut stream, &upgrade).map_err(|error| LoadError::Handshake { index, error })?;
        Ok((stream, rest))
    };
    (0..connections).map(open_one).collect()
}

/// Raises the limit of open files and checks that it allows `connections` connections.
///
/// # Errors
/// If the limit is too low or cannot be read or raised.
pub fn require_files(connections: usize) -> Result<(), LoadError> {
    // Standard streams, the ring and a few others.
    const OTHER_FILES: usize = 16;
    let files = socket::raise_file_limit()?;
    if connections + OTHER_FILES > files {
        return Err(LoadError::TooManyConnections { connections, files });
    }
    Ok(())
}

/// Returns the number and the size of receive buffers for `connections` connections that each receive `window_bytes` at
/// a time.
#[must_use]
pub fn buffer_plan(connections: usize, window_bytes: usize) -> (u16, u32) {
    let bytes = window_bytes.next_power_of_two().clamp(BUFFER_BYTES[0], BUFFER_BYTES[1]);
    let count = if bytes < BUFFER_BYTES[1] {
        let most = (BUFFERS_BYTES_MAX / bytes).clamp(BUFFERS[0], BUFFERS[1]);
        (connections * 2).next_power_of_two().clamp(BUFFERS[0], most)
    } else {
        connections.next_power_of_two().clamp(LARGE_BUFFERS[0], LARGE_BUFFERS[1])
    };
    (count as u16, bytes as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_suit_the_load_within_their_bounds() {
        assert_eq!(buffer_plan(1, 66), (64, 4096));
        assert_eq!(buffer_plan(512, 16 * 66), (1024, 4096));
        assert_eq!(buffer_plan(64, 16_388), (128, 32_768));
        assert_eq!(buffer_plan(1, 1 << 24), (8, 65_536));
        assert_eq!(buffer_plan(20_000, 1 << 24), (32, 65_536));
        assert_eq!(buffer_plan(20_000, 32_768), (2048, 32_768));
        assert_eq!(buffer_plan(20_000, 66), (4096, 4096));
    }
}
