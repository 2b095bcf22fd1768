//! What happens before a run: the connections, their handshakes, and the size of the receive buffers.

use std::net::TcpStream;

use crate::config::Run;
use crate::error::LoadError;
use crate::{handshake, socket};

/// Receive buffers: enough for every connection to complete twice in a harvest, within this many.
const BUFFERS: [usize; 2] = [64, 4096];

/// Of the largest size, fewer: they are written and compared over and over and so stay in the second-level cache. A receive
/// that finds none is armed again a turn later, which costs little beside so many bytes.
const LARGE_BUFFERS: [usize; 2] = [8, 32];

/// The size of a receive buffer follows the window's replies, within these bytes.
const BUFFER_BYTES: [usize; 2] = [4096, 65_536];

/// What all receive buffers may take together.
const BUFFERS_BYTES_MAX: usize = 64 << 20;

/// A connected stream and the bytes that followed its handshake.
pub type Opened = (TcpStream, Vec<u8>);

/// What happens on a connection before the run.
#[derive(Debug, Clone, Copy)]
pub enum Greeting<'a> {
    /// Nothing: raw TCP, or HTTP.
    None,
    /// The WebSocket opening handshake for this request-target.
    WebSocket(&'a str),
}

/// Opens `connections` connections to the run's address, one after the other.
///
/// # Errors
/// The first connection that could not be opened or upgraded, or that there can't be so many.
pub fn open(run: &Run, connections: usize, greeting: Greeting<'_>) -> Result<Vec<Opened>, LoadError> {
    open_from(run, 0, connections, greeting)
}

/// Like [`open`] for the connections from number `first` on, which decides their source addresses.
///
/// # Errors
/// Like [`open`].
pub fn open_from(
    run: &Run,
    first: usize,
    connections: usize,
    greeting: Greeting<'_>,
) -> Result<Vec<Opened>, LoadError> {
    require_files(connections)?;
    let host = run.address.to_string();
    let open_one = |index| {
        let mut stream = socket::connect(run.address, index).map_err(|error| LoadError::Connect { index, error })?;
        let rest = match greeting {
            Greeting::None => Vec::new(),
            Greeting::WebSocket(path) => handshake::open(&mut stream, &host, path, index as u64)
                .map_err(|error| LoadError::Handshake { index, error })?,
        };
        Ok((stream, rest))
    };
    (first..first + connections).map(open_one).collect()
}

/// Makes room for so many connections in the limit of open files.
///
/// # Errors
/// When there is not so much room.
pub fn require_files(connections: usize) -> Result<(), LoadError> {
    // Standard streams, the ring and little else besides the connections.
    const OTHER_FILES: usize = 16;
    let files = socket::raise_file_limit()?;
    if connections + OTHER_FILES > files {
        return Err(LoadError::TooManyConnections { connections, files });
    }
    Ok(())
}

/// How many receive buffers of which size suit so many connections that each get so many bytes at a time.
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
