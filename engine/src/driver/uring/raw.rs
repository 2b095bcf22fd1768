//! Submission entries that the io-uring crate cannot yet build.

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

/// `SOCKET_URING_OP_GETSOCKOPT` (linux/io_uring.h), since Linux 6.7; only for level SOL_SOCKET.
const SOCKET_OP_GETSOCKOPT: u32 = 2;

/// Byte offsets in `struct io_uring_sqe`: the `cmd_op` half of the first union, and the union that holds `optlen`.
const CMD_OP_OFFSET: usize = 8;
const OPTLEN_OFFSET: usize = 44;

/// Builds a multishot receive into buffers of `group` that ends by itself after `budget` bytes (`optlen`, since Linux
/// 6.17; older kernels answer EINVAL).
pub(super) fn receive_multi_with_budget(fd: types::Fd, group: u16, budget: u32) -> Entry {
    patch(opcode::RecvMulti::new(fd, group).build(), OPTLEN_OFFSET, budget)
}

/// Builds a `getsockopt(SOL_SOCKET, name)` into `value`. Its result is the length written.
pub(super) fn getsockopt(fd: types::Fd, name: i32, value: *mut libc::c_void, len: u32) -> Entry {
    let entry = opcode::SetSockOpt::new(fd, libc::SOL_SOCKET as u32, name as u32, value, len).build();
    patch(entry, CMD_OP_OFFSET, SOCKET_OP_GETSOCKOPT)
}

/// Returns the entry with its descriptor marked as direct.
pub(super) fn fixed(entry: Entry, direct: bool) -> Entry {
    if direct { entry.flags(Flags::FIXED_FILE) } else { entry }
}

/// Returns `entry` with the 32-bit word at byte `offset` replaced.
fn patch(entry: Entry, offset: usize, word: u32) -> Entry {
    const WORDS: usize = size_of::<Entry>() / size_of::<u32>();
    const { assert!(size_of::<Entry>() == 64) };
    // SAFETY: an entry is `struct io_uring_sqe`: 64 bytes of integers and unions of integers, zeroed when built, so
    // every byte is initialised.
    let mut words: [u32; WORDS] = unsafe { std::mem::transmute(entry) };
    words[offset / size_of::<u32>()] = word;
    // SAFETY: the same 64 bytes, and every bit pattern is a valid `Entry` value (the kernel checks its meaning).
    unsafe { std::mem::transmute(words) }
}
