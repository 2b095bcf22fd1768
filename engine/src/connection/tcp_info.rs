//! The kernel's view of a connection, for handlers.

use std::io;

use crate::connection::Connection;
use crate::driver::tcp_info::{self, TcpInfo};

impl Connection {
    /// Returns the kernel's view of this TCP connection, read on its worker's thread: for a health page, or to find
    /// slow peers.
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
    /// `Unsupported` on systems other than Linux, the kernel's error for a Unix-domain socket, and those of
    /// [`with_socket`](Self::with_socket).
    pub async fn tcp_info(&self) -> io::Result<TcpInfo> {
        self.with_socket(|socket| tcp_info::read(&socket)).await
    }
}
