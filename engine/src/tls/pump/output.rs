//! Memory that records are written to.

use rustls::Error;

/// Where records are appended. Memory behind them that has been written to before is not zeroed again for each record.
pub(crate) struct Output<'a> {
    memory: &'a mut Vec<u8>,
    /// The bytes of `memory` up to here are kept, and the records behind them.
    len: usize,
}

impl<'a> Output<'a> {
    /// Appends to what `memory` holds.
    pub(crate) fn of(memory: &'a mut Vec<u8>) -> Self {
        Self::behind(memory.len(), memory)
    }

    /// Puts records behind the first `len` bytes of `memory`. The rest is overwritten.
    pub(crate) fn behind(len: usize, memory: &'a mut Vec<u8>) -> Self {
        Self { memory, len }
    }

    /// Appends what `put` writes into `space` bytes.
    pub(super) fn fill(
        &mut self,
        space: usize,
        put: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let end = self.len + space;
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.len += put(&mut self.memory[self.len..end])?;
        Ok(())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.memory.truncate(self.len);
    }
}
