//! The features of the running kernel, found by trying them on a socket pair.
//!
//! Features are tried instead of comparing versions, because distributions backport features and containers forbid
//! them. The features of Linux 6.1 are required; later ones are used where they work.

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};

use super::buffers::BufferRing;
use super::op::{Op, Token};
use super::raw;
use super::ring::Ring;
use crate::config::UringConfig;
use crate::shared::signal::Signal;
use crate::util::pages::Pages;

/// The features beyond Linux 6.1 that a ring uses: those that work, except those that the configuration turns off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// Sockets live in the ring's file table. Needs the peer's address as a ring operation (6.7) and the
    /// installation of a direct descriptor as a regular one (6.8).
    pub(super) direct_descriptors: bool,
    /// The ring binds sockets (6.11).
    pub(super) bind: bool,
    /// Receives end by themselves after a number of bytes (6.17).
    pub(super) receive_budget: bool,
    /// The ring has no indirection array (6.6).
    no_sqarray: bool,
}

impl Features {
    pub(super) fn names(self) -> Vec<&'static str> {
        [
            (self.no_sqarray, "no-sqarray"),
            (self.direct_descriptors, "direct-descriptors"),
            (self.receive_budget, "receive-budget"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect()
    }
}

const PROBE_GROUP: u16 = u16::MAX;
const PROBE_BUFFERS: u16 = 4;
const PROBE_BUFFER_BYTES: usize = 64;
const PROBE_MESSAGE: &[u8] = b"12345678";

/// Tries each feature on `ring`, which must have nothing in flight, and has nothing in flight afterwards.
///
/// # Errors
/// The kernel's error if a required feature is refused.
pub(super) fn probe(ring: &mut Ring, config: &UringConfig, signal: &Arc<Signal>) -> io::Result<Features> {
    let seen = receive(ring, signal, without_budget)?;
    if seen.result() != PROBE_MESSAGE.len() as i32 || !cqueue::more(seen.flags()) {
        let errno = if seen.result() < 0 { -seen.result() } else { libc::EOPNOTSUPP };
        return Err(io::Error::from_raw_os_error(errno));
    }
    let mut supported = io_uring::Probe::new();
    ring.submitter().register_probe(&mut supported)?;
    let install = supported.is_supported(opcode::FixedFdInstall::CODE);
    Ok(Features {
        direct_descriptors: config.direct_descriptors && install && has_peer_name(ring)?,
        bind: supported.is_supported(opcode::Bind::CODE),
        receive_budget: config.receive_budget && has_receive_budget(ring, signal)?,
        no_sqarray: ring.has_no_sqarray(),
    })
}

fn has_peer_name(ring: &mut Ring) -> io::Result<bool> {
    let (_peer, socket) = UnixStream::pair()?;
    // SO_PEERNAME refuses a length above that of the name, which for an unnamed socket is just its family. The value is
    // leaked on an error, because the kernel may still write to it.
    let mut family: ManuallyDrop<Box<libc::sa_family_t>> = ManuallyDrop::new(Box::new(0));
    let (value, len) = (std::ptr::from_mut(&mut **family).cast(), size_of::<libc::sa_family_t>() as u32);
    let entry = raw::getsockopt(types::Fd(socket.as_raw_fd()), libc::SO_PEERNAME, value, len);
    // SAFETY: the value is freed only after the completion; the kernel keeps the socket open for the operation.
    let seen = unsafe { run(ring, entry) }?;
    drop(ManuallyDrop::into_inner(family));
    Ok(seen.result() >= 0)
}

/// Arms a receive with a budget of half the message. It ends there if the kernel supports budgets; otherwise the kernel
/// answers EINVAL.
fn has_receive_budget(ring: &mut Ring, signal: &Arc<Signal>) -> io::Result<bool> {
    let budget = PROBE_MESSAGE.len() as u32 / 2;
    let seen = receive(ring, signal, |fd| raw::receive_multi_with_budget(fd, PROBE_GROUP, budget))?;
    // The kernel can fill a whole buffer past the budget, but no more.
    Ok(seen.result() >= budget as i32 && !cqueue::more(seen.flags()))
}

fn without_budget(fd: types::Fd) -> squeue::Entry {
    opcode::RecvMulti::new(fd, PROBE_GROUP).build()
}

/// Runs a multishot receive on a socket that holds [`PROBE_MESSAGE`]. Returns its first completion.
fn receive(
    ring: &mut Ring,
    signal: &Arc<Signal>,
    entry: impl FnOnce(types::Fd) -> squeue::Entry,
) -> io::Result<cqueue::Entry> {
    let (mut peer, socket) = UnixStream::pair()?;
    peer.write_all(PROBE_MESSAGE)?;
    // Leaked on an error: the receive may still be armed, and the group registered.
    let pages = Pages::small(usize::from(PROBE_BUFFERS) * PROBE_BUFFER_BYTES)?;
    let buffers = BufferRing::new(pages, PROBE_BUFFERS, PROBE_BUFFER_BYTES, Arc::clone(signal))?;
    let mut buffers = ManuallyDrop::new(buffers);
    // SAFETY: the buffers are freed only after the group is unregistered.
    unsafe { buffers.register(ring, PROBE_GROUP)? };
    // SAFETY: names no memory but the group's buffers; the kernel keeps the socket open for the operation.
    let first = unsafe { run(ring, entry(types::Fd(socket.as_raw_fd()))) };
    // The end of the stream ends a receive that does not end by itself.
    peer.shutdown(Shutdown::Both)?;
    let first = first?;
    let mut last = first.clone();
    loop {
        if let Some(buffer) = cqueue::buffer_select(last.flags()) {
            buffers.filled();
            buffers.recycle(buffer);
        }
        if !cqueue::more(last.flags()) {
            break;
        }
        last = wait(ring)?;
    }
    ring.submitter().unregister_buf_ring(PROBE_GROUP)?;
    drop(ManuallyDrop::into_inner(buffers));
    Ok(first)
}

/// Runs one operation and returns its first completion. After an error the operation may still be in flight.
///
/// # Safety
/// As [`Ring::push`].
unsafe fn run(ring: &mut Ring, entry: squeue::Entry) -> io::Result<cqueue::Entry> {
    let token = Token::plain(Op::Ignore, 0);
    // SAFETY: guaranteed by the caller.
    unsafe { ring.push(&entry.user_data(token.pack())) };
    wait(ring)
}

fn wait(ring: &mut Ring) -> io::Result<cqueue::Entry> {
    let mut completions = Vec::new();
    while completions.is_empty() {
        ring.enter(None)?;
        ring.reap(&mut completions);
    }
    Ok(completions.remove(0))
}
