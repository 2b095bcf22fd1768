//! The kernel's view of a TCP connection: `TCP_INFO` of tcp(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::SockRef;

use crate::connection::tcp_info::TcpInfo;

pub(crate) fn read(socket: &SockRef<'_>) -> io::Result<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which has as many, and what it wrote to `len`; both
    // outlive the call, and the descriptor is open as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            std::ptr::from_mut(&mut len),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: integers alone, all of which were set: to zero above, and as many as this kernel knows by it.
    let info = unsafe { info.assume_init() };
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
        since_received: Duration::from_millis(u64::from(info.tcpi_last_data_recv)),
        since_sent: Duration::from_millis(u64::from(info.tcpi_last_data_sent)),
    })
}
