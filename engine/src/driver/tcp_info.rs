//! The kernel's view of a TCP connection: `TCP_INFO` of tcp(7).

use std::io;
use std::time::Duration;

use socket2::SockRef;

/// The state of a TCP connection as the kernel saw it at one moment (`TCP_INFO` of tcp(7)).
/// [`Connection::tcp_info`](crate::Connection::tcp_info) returns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Smoothed round-trip time (SRTT of RFC 6298).
    pub round_trip: Duration,
    /// Variation of the round-trip time (RTTVAR of RFC 6298).
    pub round_trip_variance: Duration,
    /// Time after which unacknowledged data is retransmitted (RTO of RFC 6298).
    pub retransmission_timeout: Duration,
    /// Congestion window: segments that can be in transit at once.
    pub congestion_window_segments: u32,
    /// Maximum size of a segment that is sent, in bytes.
    pub segment_bytes: u32,
    /// Segments sent and not yet acknowledged.
    pub unacknowledged_segments: u32,
    /// Bytes queued in the kernel and not yet sent; 0 before Linux 4.6.
    pub unsent_bytes: u32,
    /// Segments considered lost and not yet retransmitted.
    pub lost_segments: u32,
    /// Total retransmitted segments.
    pub retransmitted_segments_total: u32,
    /// Total bytes that the peer has acknowledged; 0 before Linux 4.1.
    pub acknowledged_bytes_total: u64,
    /// Time since data was last received, to the millisecond.
    pub since_received: Duration,
    /// Time since data was last sent, to the millisecond.
    pub since_sent: Duration,
}

/// Reads the state of `socket` from the kernel.
///
/// # Errors
/// `Unsupported` on systems other than Linux, and the errors of getsockopt(2).
#[cfg(target_os = "linux")]
pub(crate) fn read(socket: &SockRef<'_>) -> io::Result<TcpInfo> {
    use std::os::fd::AsRawFd;

    /// Room for the kernel's structure as it is today. libc's can lack what was added over time.
    const WORDS: usize = 64;
    /// The word of `tcpi_bytes_acked` (linux/tcp.h).
    const BYTES_ACKED: usize = 15;
    /// The word that begins with `tcpi_notsent_bytes`.
    const NOTSENT_BYTES: usize = 18;
    const { assert!(size_of::<libc::tcp_info>() <= WORDS * size_of::<u64>()) };
    const { assert!(align_of::<libc::tcp_info>() <= align_of::<u64>()) };

    let mut words = [0_u64; WORDS];
    let mut len = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `words`, which has that size, and their number to `len`; both
    // outlive the call, and the descriptor is open as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            words.as_mut_ptr().cast(),
            std::ptr::from_mut(&mut len),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let acknowledged_bytes_total = words[BYTES_ACKED];
    let unsent_bytes = u32::from_ne_bytes(words[NOTSENT_BYTES].to_ne_bytes()[..4].try_into().unwrap_or_default());
    // SAFETY: `words` begins with a `tcp_info`, is large enough and aligned for it; all its fields are integers, set to
    // zero above and, as far as this kernel knows them, by the call.
    let info = unsafe { words.as_ptr().cast::<libc::tcp_info>().read() };
    let micros = |micros: u32| Duration::from_micros(u64::from(micros));
    Ok(TcpInfo {
        round_trip: micros(info.tcpi_rtt),
        round_trip_variance: micros(info.tcpi_rttvar),
        retransmission_timeout: micros(info.tcpi_rto),
        congestion_window_segments: info.tcpi_snd_cwnd,
        segment_bytes: info.tcpi_snd_mss,
        unacknowledged_segments: info.tcpi_unacked,
        lost_segments: info.tcpi_lost,
        retransmitted_segments_total: info.tcpi_total_retrans,
        acknowledged_bytes_total,
        unsent_bytes,
        since_received: Duration::from_millis(u64::from(info.tcpi_last_data_recv)),
        since_sent: Duration::from_millis(u64::from(info.tcpi_last_data_sent)),
    })
}

/// Fails: not supported on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read(_socket: &SockRef<'_>) -> io::Result<TcpInfo> {
    Err(io::ErrorKind::Unsupported.into())
}
