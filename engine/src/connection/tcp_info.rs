//! What the kernel knows of a connection, and a handler may ask for.

use std::io;
use std::time::Duration;

use crate::connection::Connection;

/// The state of a TCP connection as the kernel saw it at one moment (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The smoothed round-trip time.
    pub round_trip: Duration,
    /// How much it varies.
    pub round_trip_variance: Duration,
    /// How long an acknowledgement is waited for before data is sent again.
    pub retransmission_timeout: Duration,
    /// Segments that may be on their way to the peer at once.
    pub congestion_window_segments: u32,
    /// The bytes of a full segment.
    pub segment_bytes: u32,
    /// Segments sent and not acknowledged yet.
    pub unacknowledged_segments: u32,
    /// Segments given up as lost and not replaced yet.
    pub lost_segments: u32,
    /// Segments that were sent again, in all.
    pub retransmitted_segments_total: u32,
    /// Since data last came, to the millisecond.
    pub since_received: Duration,
    /// Since data last left, to the millisecond.
    pub since_sent: Duration,
}

impl Connection {
    /// The kernel's view of this TCP connection, read on its worker's thread: for a health page, or to find slow peers.
    ///
    /// ```no_run
    /// # async fn example(connection: tidegate_engine::Connection) -> std::io::Result<()> {
    /// let info = connection.tcp_info().await?;
    /// println!("{:?} away, {} segments sent again", info.round_trip, info.retransmitted_segments_total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` elsewhere than on Linux, the kernel's error for a Unix-domain socket, and those of
    /// [`with_socket`](Self::with_socket).
    pub async fn tcp_info(&self) -> io::Result<TcpInfo> {
        self.with_socket(|socket| crate::driver::tcp_info(&socket)).await
    }
}
