//! The memory of reads.
//!
//! Small reads go into one area, one behind the other, and are copied out in the same tick; the next tick begins at the
//! start of the area again, so busy connections share a few cache lines and idle ones hold nothing. Connections that
//! receive large chunks read into buffers of a pool, which leave by lease. Where no large buffer is free a read takes a
//! small one, so no connection waits for memory.

use std::io::{self, Read};
use std::sync::Arc;

use socket2::Socket;

use crate::driver::Received;
use crate::shared::chunk::Chunk;
use crate::shared::lease::LeasePool;
use crate::shared::signal::Signal;
use crate::util::pages::Pages;

/// Maximum bytes of a small read. More than this moves by lease.
pub(super) const SMALL_BYTES: usize = 4096;
/// Size of the area: 8,192 reads of up to 64 bytes. Its memory is allocated on first use.
const AREA_BYTES: usize = 512 * 1024;
/// Small reads begin at multiples of this, a cache line.
const GRAIN_BYTES: usize = 64;

/// Size of a large buffer.
pub(super) const LARGE_BYTES: usize = 32 * 1024;
/// Number of large buffers. Their memory is allocated on first use.
const LARGE_COUNT: u16 = 128;
/// One large buffer in this many is never leased: chunks held by stalled handlers leave some to the others.
const UNLEASED_SHARE: usize = 4;

const _: () = assert!(AREA_BYTES / GRAIN_BYTES <= 1 << 16);

pub(super) struct ReceiveBuffers {
    area: Box<[u8]>,
    /// Bytes of the area that hold reads of this tick.
    used: usize,
    pool: Arc<LeasePool>,
    /// Large buffers, the one used last on top, because it is still in the processor's caches.
    free: Vec<u16>,
}

/// The outcome of a read.
pub(super) struct Arrived {
    pub(super) data: Received,
    pub(super) len: usize,
    /// There was room for more bytes.
    pub(super) short: bool,
}

impl ReceiveBuffers {
    pub(super) fn new(signal: &Arc<Signal>) -> io::Result<Self> {
        Ok(Self {
            area: vec![0; AREA_BYTES].into(),
            used: 0,
            pool: LeasePool::new(
                Pages::new(usize::from(LARGE_COUNT) * LARGE_BYTES)?,
                LARGE_COUNT,
                LARGE_BYTES,
                Arc::clone(signal),
            ),
            free: (0..LARGE_COUNT).rev().collect(),
        })
    }

    /// Takes back all small reads, which the worker has copied, and the large buffers of dropped leases.
    pub(super) fn begin_tick(&mut self) {
        self.used = 0;
        while let Some(buffer) = self.pool.take_returned() {
            self.free.push(buffer);
        }
    }

    /// Reads at most `bytes_max` bytes. Returns `None` at the end of the stream.
    pub(super) fn read(&mut self, socket: &Socket, bytes_max: usize, large: bool) -> io::Result<Option<Arrived>> {
        if large
            && bytes_max > SMALL_BYTES
            && let Some(buffer) = self.free.pop()
        {
            return self.read_large(socket, bytes_max, buffer);
        }
        let room = bytes_max.min(SMALL_BYTES);
        match self.area.get_mut(self.used..self.used + room) {
            Some(place) => {
                let len = read(socket, place)?;
                let data = Received::Buffer { buffer: (self.used / GRAIN_BYTES) as u16, large: false, len: len as u32 };
                self.used += len.next_multiple_of(GRAIN_BYTES);
                Ok((len > 0).then_some(Arrived { data, len, short: len < room }))
            }
            // The area is full: so many connections send so much at once that one more allocation costs little.
            None => {
                let mut bytes = vec![0; room];
                let len = read(socket, &mut bytes)?;
                bytes.truncate(len);
                Ok((len > 0).then_some(Arrived { data: Received::Owned(bytes), len, short: len < room }))
            }
        }
    }

    fn read_large(&mut self, socket: &Socket, bytes_max: usize, buffer: u16) -> io::Result<Option<Arrived>> {
        let room = bytes_max.min(self.pool.buffer_bytes());
        // SAFETY: `buffer` came from `free`, so nothing else names it: no `Received`, no lease. `room` is within the
        // buffer, whose memory was zeroed when it was mapped and stays mapped as long as the pool.
        let place = unsafe { std::slice::from_raw_parts_mut(self.pool.address(buffer), room) };
        match read(socket, place) {
            Ok(len) if len > 0 => {
                let data = Received::Buffer { buffer, large: true, len: len as u32 };
                Ok(Some(Arrived { data, len, short: len < room }))
            }
            nothing => {
                self.free.push(buffer);
                nothing.map(|_| None)
            }
        }
    }

    pub(super) fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8] {
        match *received {
            Received::Owned(ref mut bytes) => bytes,
            Received::Buffer { buffer, large: false, len } => {
                let start = usize::from(buffer) * GRAIN_BYTES;
                &mut self.area[start..start + len as usize]
            }
            // SAFETY: `len` bytes of this buffer were read into, and it is named by this `Received` alone until that is
            // recycled or leased, which the borrow of `self` rules out, as it does another view.
            Received::Buffer { buffer, large: true, len } => unsafe {
                std::slice::from_raw_parts_mut(self.pool.address(buffer), len as usize)
            },
        }
    }

    /// Takes the bytes over: a large buffer by lease if enough others are free, all else by copy.
    pub(super) fn lease(&mut self, received: Received) -> Chunk {
        match received {
            Received::Owned(bytes) => Chunk::from(bytes),
            Received::Buffer { buffer, large: true, len }
                if self.free.len() * UNLEASED_SHARE > usize::from(LARGE_COUNT) =>
            {
                // SAFETY: `len` bytes of this buffer were read into. The `Received` that named it is used up, and the
                // buffer comes back to `free` only through the pool's return queue.
                Chunk::leased(unsafe { self.pool.lease(buffer, len) })
            }
            mut received => {
                let chunk = Chunk::copied_long(self.view(&mut received));
                self.recycle(received);
                chunk
            }
        }
    }

    pub(super) fn recycle(&mut self, received: Received) {
        if let Received::Buffer { buffer, large: true, .. } = received {
            self.free.push(buffer);
        }
    }
}

fn read(mut socket: &Socket, place: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(place) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
