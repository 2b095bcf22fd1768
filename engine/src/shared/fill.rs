//! A receive straight into the memory of a reader.

use std::fmt;
use std::mem::MaybeUninit;

use crate::shared::chunk::Chunk;

/// Memory of a reader, and the place in it for the next bytes of its connection.
///
/// It moves by value: from the reader to its worker, to the driver, and back with the received bytes. Whoever has it
/// owns the memory, so the end of a handler or of a connection frees nothing that a driver writes to.
pub(crate) struct MemoryFill {
    memory: Vec<u8>,
    /// Length of the memory before the fill.
    kept_bytes: u32,
    /// Maximum bytes to receive, all in the spare capacity.
    room_bytes: u32,
}

impl MemoryFill {
    /// Returns a fill of at most `bytes_max` bytes behind those that `memory` holds, or the memory if there is no room.
    pub(crate) fn new(memory: Vec<u8>, bytes_max: usize) -> Result<Box<Self>, Vec<u8>> {
        let room = (memory.capacity() - memory.len()).min(bytes_max).min(FILL_BYTES_MAX);
        match u32::try_from(memory.len() + room) {
            Ok(end) if room > 0 => {
                let kept_bytes = end - room as u32;
                Ok(Box::new(Self { memory, kept_bytes, room_bytes: room as u32 }))
            }
            _ => Err(memory),
        }
    }

    /// Returns the place for the bytes. It stays where it is until the fill is dropped or taken apart.
    pub(crate) fn place(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.memory.spare_capacity_mut()[..self.room_bytes as usize]
    }

    /// Returns the memory, for the driver that has written to [`place`](Self::place).
    pub(crate) fn memory_mut(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Returns the address of the memory.
    pub(crate) fn address(&self) -> usize {
        self.memory.as_ptr() as usize
    }

    /// Returns the number of received bytes.
    pub(crate) fn filled_bytes(&self) -> usize {
        self.memory.len() - self.kept_bytes as usize
    }

    /// Returns the received bytes as a chunk, which keeps the bytes before them.
    pub(crate) fn into_chunk(self) -> Chunk {
        Chunk::behind(self.memory, self.kept_bytes)
    }
}

/// Maximum bytes of one fill: a connection that floods delays the others of its worker by the time of one copy of this.
pub(crate) const FILL_BYTES_MAX: usize = 256 * 1024;

impl fmt::Debug for MemoryFill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFill")
            .field("kept", &self.kept_bytes)
            .field("room", &self.room_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(len: usize, capacity: usize) -> Vec<u8> {
        let mut memory = Vec::with_capacity(capacity);
        memory.resize(len, 7);
        memory
    }

    #[test]
    fn a_fill_has_the_room_that_was_asked_for_if_the_memory_has_it() {
        for (len, capacity, bytes_max, room) in [
            (0, 100, 40, 40),
            (10, 100, 1000, 90),
            (99, 100, 1, 1),
            (3, FILL_BYTES_MAX * 2, usize::MAX, FILL_BYTES_MAX),
        ] {
            let mut fill = MemoryFill::new(memory(len, capacity), bytes_max).unwrap();
            assert_eq!((fill.place().len(), fill.filled_bytes()), (room, 0));
        }
        for (len, capacity, bytes_max) in [(0, 0, 10), (10, 10, 10), (0, 10, 0)] {
            let memory = memory(len, capacity);
            assert_eq!(MemoryFill::new(memory.clone(), bytes_max).unwrap_err(), memory);
        }
    }

    #[test]
    fn the_chunk_shows_only_what_was_received() {
        let mut fill = MemoryFill::new(memory(3, 100), 10).unwrap();
        fill.memory_mut().extend_from_slice(b"new");
        assert_eq!(fill.filled_bytes(), 3);
        let chunk = fill.into_chunk();
        assert_eq!(&chunk[..], b"new");
        assert_eq!(chunk.into_memory().unwrap(), (b"\x07\x07\x07new".to_vec(), 3));
    }
}
