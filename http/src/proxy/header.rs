//! The PROXY protocol, versions 1 and 2: the first bytes of a connection, from a proxy that names its client.
//!
//! Received before anything of HTTP, under the header timeout. Only trusted proxies may speak: with it anybody could
//! claim any address.

use std::future::poll_fn;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use thiserror::Error;
use tidegate_engine::{Chunk, Connection, ReceiveError};

/// The bytes of the largest header that is accepted. Addresses take up to 232; the rest is for what else a proxy tells
/// in version 2, which with a client certificate's name is some hundred bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// A connection did not begin with a header.
#[derive(Debug, Error)]
pub(crate) enum HeaderError {
    #[error("invalid header: must be version 1 or 2 of the PROXY protocol")]
    Invalid,
    #[error("header too large: at most {HEADER_BYTES_MAX} bytes are allowed")]
    TooLarge,
    #[error("the connection ended within the header")]
    Incomplete,
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

/// Receives the header. What follows it stays in the connection.
pub(crate) async fn receive(
    connection: &mut Connection,
    timeout: Duration,
) -> Result<ProxyHeader<'static>, HeaderError> {
    connection.set_read_deadline_in(timeout);
    let mut received = Vec::new();
    let header = loop {
        if !poll_fn(|cx| connection.poll_fill(cx)).await? {
            return Err(HeaderError::Incomplete);
        }
        let count = connection.buffer().len();
        received.extend_from_slice(connection.buffer());
        connection.consume(count);
        match ProxyHeader::parse(&received, ParseConfig::default()) {
            Ok((header, count)) => {
                let header = header.into_owned();
                received.drain(..count);
                break header;
            }
            Err(proxy_header::Error::BufferTooShort) if received.len() >= HEADER_BYTES_MAX => {
                return Err(HeaderError::TooLarge);
            }
            Err(proxy_header::Error::BufferTooShort) => {}
            Err(_) => return Err(HeaderError::Invalid),
        }
    };
    connection.set_read_deadline(None);
    connection.unread(Chunk::from(received));
    Ok(header)
}
