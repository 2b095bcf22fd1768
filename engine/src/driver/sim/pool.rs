//! The receive buffers of the simulated ring.

use std::sync::Arc;

use super::Luck;
use crate::driver::Received;
use crate::shared::signal::Signal;

enum Buffer {
    Free,
    /// Named by a completion.
    Filled(Vec<u8>),
    /// Leased to a handler.
    Leased,
}

/// The buffers with their states. A lease is simulated by a copy, with the buffer unavailable for a random time.
pub(super) struct Pool {
    buffers: Vec<Buffer>,
    pub(super) buffer_bytes: usize,
    /// The worker waits for a buffer, so the next one returned raises the signal.
    notify_on_return: bool,
    signal: Arc<Signal>,
}

impl Pool {
    pub(super) fn new(count: u16, buffer_bytes: usize, signal: Arc<Signal>) -> Self {
        Self { buffers: (0..count).map(|_| Buffer::Free).collect(), buffer_bytes, notify_on_return: false, signal }
    }

    pub(super) fn has_free(&self) -> bool {
        self.free() > 0
    }

    /// Fills a free buffer, as the kernel does.
    pub(super) fn fill(&mut self, bytes: Vec<u8>) -> Received {
        assert!(!bytes.is_empty() && bytes.len() <= self.buffer_bytes);
        let number = self.buffers.iter().position(|buffer| matches!(buffer, Buffer::Free)).expect("a free buffer");
        let len = bytes.len() as u32;
        self.buffers[number] = Buffer::Filled(bytes);
        Received::Buffer { buffer: number as u16, large: false, len }
    }

    pub(super) fn view(&mut self, received: &Received) -> &mut [u8] {
        match &mut self.buffers[number(received)] {
            Buffer::Filled(bytes) => bytes,
            Buffer::Free | Buffer::Leased => panic!("a view of a buffer that was given back"),
        }
    }

    /// Takes the bytes over. The buffer stays leased for a while if more than half of the buffers are free.
    pub(super) fn lease(&mut self, received: Received) -> Vec<u8> {
        let bytes = self.view(&received).to_vec();
        let plenty = self.free() * 2 > self.buffers.len();
        self.buffers[number(&received)] = if plenty { Buffer::Leased } else { Buffer::Free };
        bytes
    }

    pub(super) fn recycle(&mut self, received: &Received) {
        self.view(received);
        self.buffers[number(received)] = Buffer::Free;
    }

    /// Returns the number of free buffers. It can be outdated at once, because handlers on other threads return buffers
    /// at any time.
    pub(super) fn buffers_free_or_notify(&mut self, luck: &mut Luck) -> usize {
        let free = self.free();
        self.notify_on_return |= free == 0;
        if luck.fault(2) {
            self.step(luck, false);
        }
        free
    }

    /// Lets handlers return some of the leased buffers.
    pub(super) fn step(&mut self, luck: &mut Luck, force: bool) -> bool {
        let mut moved = false;
        for buffer in &mut self.buffers {
            if matches!(buffer, Buffer::Leased) && luck.now(force) {
                *buffer = Buffer::Free;
                moved = true;
            }
        }
        if moved && std::mem::take(&mut self.notify_on_return) {
            self.signal.notify_now();
        }
        moved
    }

    fn free(&self) -> usize {
        self.buffers.iter().filter(|buffer| matches!(buffer, Buffer::Free)).count()
    }
}

fn number(received: &Received) -> usize {
    match received {
        Received::Buffer { buffer, .. } => usize::from(*buffer),
        Received::Owned(_) => panic!("the simulation has only buffers"),
    }
}
