//! Receiving large messages straight into the memory in which they stay.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::connection::{Connection, is_read_overdue};
use crate::error::ReceiveError;
use crate::shared::command::Command;
use crate::shared::fill::MemoryFill;
use crate::shared::inbound::End;

/// What a reader knows of its memory between [`Connection::poll_fill_into`] and [`Connection::take_filled`]. One for
/// each large message; it costs nothing to make.
///
/// ```no_run
/// use std::future::poll_fn;
/// use tidegate_engine::{Connection, Filling, ReceiveError};
///
/// /// Gathers the next `total` bytes, or fewer if the stream ends before them.
/// async fn gather(connection: &mut Connection, total: usize) -> Result<Vec<u8>, ReceiveError> {
///     let (mut filling, mut memory) = (Filling::new(), Vec::with_capacity(total));
///     while memory.len() < total {
///         let missing = total - memory.len();
///         if !poll_fn(|cx| connection.poll_fill_into(cx, &mut memory, &mut filling, missing)).await? {
///             break;
///         }
///         match connection.take_filled(&mut filling) {
///             // The bytes are behind those that the memory held.
///             Some((filled, _)) => memory = filled,
///             None => {
///                 let len = connection.buffer().len().min(missing);
///                 memory.extend_from_slice(&connection.buffer()[..len]);
///                 connection.consume(len);
///             }
///         }
///     }
///     Ok(memory)
/// }
/// ```
#[derive(Debug, Default)]
pub struct Filling {
    /// Address of the memory while it is away, otherwise 0.
    away: usize,
    /// Bytes that it held before.
    kept: usize,
    /// The worker was asked to leave it to this reader how bytes are received.
    asked: bool,
}

impl Filling {
    /// Returns the state of memory that is with the reader.
    #[must_use]
    pub const fn new() -> Self {
        Self { away: 0, kept: 0, asked: false }
    }

    /// Returns whether the memory is away: bytes are being received into it, or have been and were not
    /// [taken](Connection::take_filled).
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.away != 0
    }
}

/// # Reading into memory
impl Connection {
    /// Waits until bytes can be read, as [`poll_fill`](Self::poll_fill) does. The next bytes, at most `bytes_max` and
    /// at most 256 KiB, can be received straight into the spare capacity of `memory` meanwhile. For a protocol that
    /// knows how many bytes of a message are missing, from about 16 KiB on: the bytes are not copied from a receive
    /// buffer.
    ///
    /// While it is pending, `memory` can be away: it is then empty, and [`Filling::is_away`]. When it completes,
    /// [`take_filled`](Self::take_filled) returns the memory if the bytes were received into it. Otherwise they are in
    /// [`buffer`](Self::buffer), and the memory never left. The first bytes of a connection come that way, and all of
    /// one with TLS.
    ///
    /// Nothing that was received is lost if it is not polled again: other reads return it, without what the memory held
    /// before. At the end of the stream and after an error, memory that was away is dropped.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn poll_fill_into(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Vec<u8>,
        filling: &mut Filling,
        bytes_max: usize,
    ) -> Poll<Result<bool, ReceiveError>> {
        if self.unread.is_none() && !filling.is_away() && self.give(cx, memory, filling, bytes_max) {
            return Poll::Pending;
        }
        self.poll_fill(cx)
    }

    /// Takes the memory that was given to [`poll_fill_into`](Self::poll_fill_into), with the received bytes behind
    /// those that it held, whose number is returned with it. `None` if the bytes in [`buffer`](Self::buffer) were not
    /// received into that memory, or are partly consumed.
    pub fn take_filled(&mut self, filling: &mut Filling) -> Option<(Vec<u8>, usize)> {
        let away = match &self.unread {
            Some(_) => std::mem::take(&mut filling.away),
            None => 0,
        };
        let chunk = self.unread.take_if(|chunk| away != 0 && chunk.place() == Some((away, filling.kept)))?;
        chunk.into_memory()
    }

    /// Gives the memory to the worker, if nothing has arrived and the connection is held. Asks for a hold otherwise.
    fn give(&mut self, cx: &Context<'_>, memory: &mut Vec<u8>, filling: &mut Filling, bytes_max: usize) -> bool {
        let shared = &self.sender.shared;
        let mut inbound = shared.lock_inbound();
        if !inbound.is_empty() || is_read_overdue(shared) {
            return false;
        }
        match inbound.end() {
            End::Held => {}
            End::Open if !filling.asked => {
                filling.asked = true;
                drop(inbound);
                shared.post(Command::HoldBack(shared.key));
                return false;
            }
            _ => return false,
        }
        let kept = memory.len();
        let fill = match MemoryFill::new(std::mem::take(memory), bytes_max) {
            Ok(fill) => fill,
            Err(small) => {
                *memory = small;
                return false;
            }
        };
        (filling.away, filling.kept) = (fill.address(), kept);
        inbound.begin_fill();
        shared.park_reader(&mut inbound, cx.waker());
        shared.turn_chunks.store(0, Ordering::Relaxed);
        drop(inbound);
        shared.post(Command::MemoryFill(shared.key, fill));
        true
    }
}
