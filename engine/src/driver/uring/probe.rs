//! What the running kernel can do, found by trying it on a socket pair.
//!
//! Each answer is a behaviour seen, not a version compared: distributions backport, and containers forbid.

use std::io;
use std::io::Write;
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

/// The features a ring will use: what the kernel can do, less what the configuration turns off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features {
    pub(super) provided_buffers: bool,
    pub(super) multishot_receive: bool,
    pub(super) receive_budget: bool,
    pub(super) multishot_accept: bool,
    pub(super) direct_descriptors: bool,
    /// SO_PEERNAME as a ring operation: the peer of a direct descriptor (6.7).
    pub(super) peer_name: bool,
    /// A direct descriptor can be lent out as a regular one (6.8).
    pub(super) install: bool,
}

impl Features {
    pub(super) fn names(&self) -> Vec<&'static str> {
        [
            (self.direct_descriptors, "direct-descriptors"),
            (self.multishot_accept, "multishot-accept"),
            (self.multishot_receive, "multishot-receive"),
            (self.provided_buffers, "provided-buffers"),
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

/// Tries each feature on `ring`, which must have nothing in flight and is left so. `provided` says whether it has
/// provided buffers.
pub(super) fn probe(
    ring: &mut Ring,
    config: &UringConfig,
    provided: bool,
    signal: &Arc<Signal>,
) -> io::Result<Features> {
    let mut supported = io_uring::Probe::new();
    ring.submitter().register_probe(&mut supported)?;
    let since_6_0 = supported.is_supported(opcode::SendZc::CODE);
    let mut features = Features {
        provided_buffers: provided,
        multishot_receive: config.multishot_receive && provided && since_6_0,
        install: supported.is_supported(opcode::FixedFdInstall::CODE),
        ..Features::default()
    };
    let (mut left, right) = UnixStream::pair()?;
    features.peer_name = has_peer_name(ring, &right)?;
    // Without either, the peer of a direct descriptor accepted by a multishot could not be known.
    features.direct_descriptors = config.direct_descriptors && since_6_0 && features.peer_name && features.install;
    features.multishot_accept = config.multishot_accept && since_6_0;
    features.receive_budget = config.receive_budget;
    if features.multishot_receive && features.receive_budget {
        let mut buffers = BufferRing::new(PROBE_BUFFERS, PROBE_BUFFER_BYTES, Arc::clone(signal))?;
        features.receive_budget = has_receive_budget(ring, &mut left, &right, &mut buffers)?;
    }
    Ok(features)
}

fn has_peer_name(ring: &mut Ring, socket: &UnixStream) -> io::Result<bool> {
    // SO_PEERNAME refuses a length beyond the name's own, which for an unnamed socket is its family alone.
    let mut family: libc::sa_family_t = 0;
    let (value, len) = (std::ptr::from_mut(&mut family).cast(), size_of_val(&family) as u32);
    let entry = raw::getsockopt(types::Fd(socket.as_raw_fd()), libc::SO_PEERNAME, value, len);
    Ok(run(ring, entry)?.result() >= 0)
}

/// Arms a receive with a budget of four bytes on a socket that holds eight: where budgets are known it ends with them.
fn has_receive_budget(
    ring: &mut Ring,
    left: &mut UnixStream,
    right: &UnixStream,
    buffers: &mut BufferRing,
) -> io::Result<bool> {
    left.write_all(b"12345678")?;
    // SAFETY: the table lives until after the group is unregistered below.
    unsafe { buffers.register(ring, PROBE_GROUP)? };
    let entry = raw::receive_multi_with_budget(types::Fd(right.as_raw_fd()), PROBE_GROUP, 4);
    let completion = run(ring, entry);
    // A kernel without budgets answers EINVAL; in case one ignores them, the socket's end ends the receive.
    left.shutdown(std::net::Shutdown::Both)?;
    let mut seen = completion?;
    // A whole buffer may be filled past the budget, but nothing comes after it.
    let budget = seen.result() >= 4 && !cqueue::more(seen.flags());
    loop {
        if let Some(buffer) = cqueue::buffer_select(seen.flags()) {
            buffers.filled();
            buffers.recycle(buffer);
        }
        if !cqueue::more(seen.flags()) {
            break;
        }
        seen = wait(ring)?;
    }
    ring.submitter().unregister_buf_ring(PROBE_GROUP)?;
    Ok(budget)
}

/// Runs one operation and returns its first completion.
fn run(ring: &mut Ring, entry: squeue::Entry) -> io::Result<cqueue::Entry> {
    let token = Token::plain(Op::Ignore, 0);
    // SAFETY: the callers keep socket and memory until the completion, which is waited for here.
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
