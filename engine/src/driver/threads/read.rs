//! The reading thread of a connection: receives within budgets, and looks for the end of a watched peer in between.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use socket2::Socket;

use super::{Post, errno};
use crate::driver::{Event, ReceiveEnd, Received, peer_end};
use crate::shared::key::ConnKey;
use crate::shared::mailbox::Mailbox;

/// Maximum bytes of one read.
const READ_BYTES_MAX: usize = 16 * 1024;
/// Interval at which a reading thread that waits looks for the end of a watched peer.
const WATCH_LOOK: Duration = Duration::from_millis(100);

/// An operation for the reading thread.
pub(super) enum ReadOp {
    /// Receive this many bytes.
    Receive(u64),
    /// Look for the peer's end while not receiving.
    Watch { fin: bool },
}

pub(super) fn read_loop(key: ConnKey, socket: Arc<Socket>, ops: &Receiver<ReadOp>, posts: &Mailbox<Post>) {
    let mut watched = None;
    loop {
        match next_read_op(ops, watched.is_some()) {
            Ok(ReadOp::Receive(budget)) => receive(key, &socket, budget, posts),
            Ok(ReadOp::Watch { fin }) => watched = Some(fin),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(error) = watched.and_then(|fin| peer_end::look(&socket, fin)) {
            watched = None;
            posts.post(Post::Event(Event::PeerEnded { key, error }));
        }
    }
}

/// Waits for the next operation; with a watch, only until the next look.
fn next_read_op(ops: &Receiver<ReadOp>, watches: bool) -> Result<ReadOp, RecvTimeoutError> {
    if watches { ops.recv_timeout(WATCH_LOOK) } else { ops.recv().map_err(|_| RecvTimeoutError::Disconnected) }
}

fn receive(key: ConnKey, socket: &Socket, mut budget: u64, posts: &Mailbox<Post>) {
    while budget > 0 {
        let mut bytes = vec![0; budget.min(READ_BYTES_MAX as u64) as usize];
        let event = match (&mut &*socket).read(&mut bytes) {
            Ok(0) => Event::ReceiveEnded { key, end: ReceiveEnd::Eof },
            Ok(len) => {
                bytes.truncate(len);
                bytes.shrink_to_fit();
                budget -= len as u64;
                Event::Received { key, data: Received::Owned(bytes), more: budget > 0 }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Event::ReceiveEnded { key, end: ReceiveEnd::Failed(errno(&error)) },
        };
        let ended = matches!(event, Event::ReceiveEnded { .. });
        posts.post(Post::Event(event));
        if ended {
            return;
        }
    }
}
