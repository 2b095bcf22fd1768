//! Received bytes in transit to a handler.
//!
//! A [`Chunk`] is uniquely owned, so protocol code can rewrite it in place (a WebSocket payload is unmasked in place).
//! It either owns its memory or leases a receive buffer of a ring. A leased buffer returns to its ring when the chunk
//! is dropped, on any thread.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::shared::lease::Lease;
use crate::util::buffer_pool::Buffer;
use bytes::{Buf, Bytes};

/// Later receives grow a small owned chunk up to this size, so that a slow handler holds few full chunks instead of
/// many tiny ones.
pub(crate) const COALESCE_BYTES_MAX: usize = 4096;

/// Received bytes, uniquely owned.
///
/// Dereferences to the bytes not yet consumed by [`advance`](Chunk::advance). A chunk can lease one of the ring's
/// receive buffers, so consume it soon and copy bytes that are kept for longer ([`into_vec`](Chunk::into_vec) copies
/// where needed).
///
/// ```
/// let mut chunk = tidegate_engine::Chunk::from(b"hello".to_vec());
/// chunk.advance(1);
/// chunk.make_ascii_uppercase();
/// assert_eq!(&chunk[..], b"ELLO");
/// ```
pub struct Chunk {
    memory: Memory,
    start: u32,
    /// Keeps an enum that contains a chunk as small as the chunk. It lies in padding.
    _niche: Niche,
}

enum Memory {
    Owned(Buffer),
    Leased(Lease),
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Niche {
    Only = 1,
}

// Each of very many idle connections has room for one.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<Option<Chunk>>() <= 24);

impl Chunk {
    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// If `count` is greater than the chunk's length, a bug in the caller.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "cannot advance {count} bytes in a chunk of {}", self.len());
        self.start += count as u32;
    }

    /// Returns the bytes as a vector. Copies only if the chunk leases a receive buffer or was advanced.
    pub fn into_vec(mut self) -> Vec<u8> {
        match &mut self.memory {
            Memory::Owned(bytes) if self.start == 0 => bytes.take().into_vec(),
            _ => self.to_vec(),
        }
    }

    /// Returns the bytes of `memory` behind the first `kept_bytes`.
    pub(crate) fn behind(memory: Vec<u8>, kept_bytes: u32) -> Self {
        debug_assert!(kept_bytes as usize <= memory.len());
        Self { start: kept_bytes, ..Self::of(Memory::Owned(Buffer::from(memory))) }
    }

    /// Returns the address of the chunk's own memory, and the place in it at which its bytes begin; `None` if it leases
    /// a receive buffer.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        match &self.memory {
            Memory::Owned(bytes) => Some((bytes.as_ptr() as usize, self.start as usize)),
            Memory::Leased(_) => None,
        }
    }

    /// Returns the chunk's own memory, with what is before its bytes, and the place at which its bytes begin.
    pub(crate) fn into_memory(mut self) -> Option<(Vec<u8>, usize)> {
        match &mut self.memory {
            Memory::Owned(bytes) => Some((bytes.take().into_vec(), self.start as usize)),
            Memory::Leased(_) => None,
        }
    }

    /// Copies received bytes, into pooled memory if available.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self::of(Memory::Owned(Buffer::copy(bytes)))
    }

    /// Copies received bytes, into large pooled memory if they are many.
    pub(crate) fn copied_long(bytes: &[u8]) -> Self {
        Self::from(Buffer::copy_long(bytes))
    }

    #[inline]
    fn of(memory: Memory) -> Self {
        Self { memory, start: 0, _niche: Niche::Only }
    }

    /// Returns the bytes as shared bytes, without a copy. Any part of them keeps all of the chunk's memory allocated.
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = match self.memory {
            Memory::Owned(bytes) if bytes.is_large() => Bytes::from_owner(bytes),
            Memory::Owned(bytes) => Bytes::from(bytes.into_vec()),
            Memory::Leased(lease) => Bytes::from_owner(lease),
        };
        bytes.advance(self.start as usize);
        bytes
    }

    /// Returns the size of the memory that the chunk occupies.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.memory {
            Memory::Owned(bytes) => bytes.capacity(),
            Memory::Leased(lease) => lease.held_bytes(),
        }
    }

    /// Returns whether the chunk leases a receive buffer of a ring.
    pub fn is_leased(&self) -> bool {
        !matches!(self.memory, Memory::Owned(_))
    }

    pub(crate) fn leased(lease: Lease) -> Self {
        Self::of(Memory::Leased(lease))
    }

    /// Appends `bytes` if the chunk owns its memory and stays within [`COALESCE_BYTES_MAX`].
    pub(crate) fn try_extend(&mut self, bytes: &[u8]) -> bool {
        match &mut self.memory {
            Memory::Owned(owned) if owned.len() + bytes.len() <= COALESCE_BYTES_MAX => {
                owned.vec_mut().extend_from_slice(bytes);
                true
            }
            _ => false,
        }
    }
}

impl From<Vec<u8>> for Chunk {
    /// # Panics
    /// If the vector holds 4 GiB or more.
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Buffer::from(bytes))
    }
}

impl From<Buffer> for Chunk {
    /// # Panics
    /// If the buffer holds 4 GiB or more.
    fn from(bytes: Buffer) -> Self {
        assert!(u32::try_from(bytes.len()).is_ok(), "a chunk holds less than 4 GiB");
        Self::of(Memory::Owned(bytes))
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = match &self.memory {
            Memory::Owned(bytes) => bytes,
            Memory::Leased(lease) => lease,
        };
        &bytes[self.start as usize..]
    }
}

impl DerefMut for Chunk {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = match &mut self.memory {
            Memory::Owned(bytes) => bytes,
            Memory::Leased(lease) => lease,
        };
        &mut bytes[self.start as usize..]
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len()).field("leased", &self.is_leased()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advance_then_into_vec_keeps_the_rest() {
        let mut chunk = Chunk::from(b"abcdef".to_vec());
        chunk.advance(2);
        assert_eq!(chunk.len(), 4);
        assert_eq!(chunk.into_vec(), b"cdef");
    }

    #[test]
    fn the_memory_of_a_large_chunk_is_used_again_after_its_shared_bytes() {
        let bytes = Chunk::copied_long(&[1; 20_000]).into_bytes();
        let address = bytes.as_ptr();
        drop(bytes);
        // Takes the memory if it was freed.
        let _other = vec![2_u8; 20_480];
        let chunk = Chunk::copied_long(&[3; 20_000]);
        assert_eq!((chunk.as_ptr(), &chunk[..]), (address, &[3; 20_000][..]));
    }

    #[test]
    fn extends_only_up_to_the_coalescing_bound() {
        let mut chunk = Chunk::from(vec![1; COALESCE_BYTES_MAX - 1]);
        assert!(!chunk.try_extend(&[2, 2]));
        assert!(chunk.try_extend(&[2]));
        assert_eq!(chunk.len(), COALESCE_BYTES_MAX);
    }
}
