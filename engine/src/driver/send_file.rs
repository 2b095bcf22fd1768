//! Sending parts of files: sendfile(2) on a socket that does not block. Where that is missing, the bytes are read
//! first.

use std::io;
use std::os::fd::AsRawFd;

#[cfg(target_os = "linux")]
use crate::shared::file_part::FilePart;
use crate::shared::send_batch::SendBatch;

/// The state of a send after a try.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux sends files without a copy"))]
pub(super) enum Progress {
    Done,
    /// The socket takes no more until it is writable.
    Full,
    /// A call sent less than it was asked to: the socket is full, or the file ends here. A call once the socket is
    /// writable shows which.
    Short,
    /// The connection failed, with an errno.
    Failed(i32),
    /// The file could not be read.
    FileFailed(io::Error),
    /// The file has no pages to send from. The batch holds its bytes now, to be sent as others are.
    Loaded,
}

/// Maximum bytes of one call, the kernel's own limit.
#[cfg(target_os = "linux")]
const CALL_BYTES_MAX: usize = 0x7fff_f000;

/// Sends what the socket takes of a batch that is a part of a file. The socket must not block.
#[cfg(target_os = "linux")]
pub(super) fn send(socket: &impl AsRawFd, batch: &mut SendBatch) -> Progress {
    let Some(part) = batch.file() else { return Progress::Done };
    match send_part(socket, part) {
        // Some file systems cannot splice.
        Progress::Failed(libc::EINVAL | libc::ENOSYS) => load(batch),
        progress => progress,
    }
}

/// Reads a batch that is a part of a file.
#[cfg(not(target_os = "linux"))]
pub(super) fn send(_socket: &impl AsRawFd, batch: &mut SendBatch) -> Progress {
    load(batch)
}

/// Reads a batch that is a part of a file, to be sent as others are.
pub(super) fn load(batch: &mut SendBatch) -> Progress {
    match batch.load_file() {
        Ok(()) => Progress::Loaded,
        Err(error) => Progress::FileFailed(error),
    }
}

#[cfg(target_os = "linux")]
fn send_part(socket: &impl AsRawFd, part: &mut FilePart) -> Progress {
    while part.len > 0 {
        let mut offset = part.offset as libc::off_t;
        let len = part.len.min(CALL_BYTES_MAX);
        // SAFETY: both descriptors are open, by reference, and the offset is written to during the call only.
        let sent = unsafe { libc::sendfile(socket.as_raw_fd(), part.file.as_raw_fd(), &raw mut offset, len) };
        match sent {
            0 => return Progress::FileFailed(io::ErrorKind::UnexpectedEof.into()),
            1.. => {
                part.advance(sent as usize);
                // A call that finds the socket full collects pages of the file first, for nothing.
                if (sent as usize) < len {
                    return Progress::Short;
                }
            }
            _ => {
                let error = io::Error::last_os_error();
                match error.raw_os_error().unwrap_or(0) {
                    libc::EINTR => {}
                    libc::EAGAIN => return Progress::Full,
                    libc::EIO | libc::EISDIR | libc::EBADF | libc::ESTALE => return Progress::FileFailed(error),
                    errno => return Progress::Failed(errno),
                }
            }
        }
    }
    // The kernel sends its own pages: if the file was cut meanwhile, zeros can be in them.
    match part.file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() < part.offset => {
            Progress::FileFailed(io::ErrorKind::UnexpectedEof.into())
        }
        _ => Progress::Done,
    }
}

/// Returns whether the socket is writable. If it is not, it announces when it will be, as after a full send.
#[cfg(target_os = "linux")]
pub(super) fn is_writable(socket: &impl AsRawFd) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel writes to one entry, during the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) != 0 }
}

/// As on Linux. No call is short here.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_writable(_socket: &impl AsRawFd) -> bool {
    true
}
