//! Writes bits, the lowest first.

use super::codes::Code;

/// The bits that do not fill a byte yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OpenByte {
    bits: u64,
    len: u32,
}

/// Appends bits to bytes.
#[derive(Debug)]
pub(super) struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    bits: u64,
    /// The number of bits that are not in `out` yet, below 32 between calls.
    len: u32,
}

impl<'o> BitWriter<'o> {
    /// Continues after the bits of an open byte.
    pub(super) fn new(out: &'o mut Vec<u8>, open: OpenByte) -> Self {
        Self { out, bits: open.bits, len: open.len }
    }

    /// Appends up to 32 bits. All above `len` are 0.
    #[inline]
    pub(super) fn put(&mut self, Code { bits, len }: Code) {
        self.bits |= u64::from(bits) << self.len;
        self.len += len;
        if self.len >= 32 {
            self.out.extend_from_slice(&(self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.len -= 32;
        }
    }

    /// Appends an empty stored block without its last four bytes, which ends a message (RFC 7692 section 7.2.1).
    pub(super) fn put_end_of_message(&mut self) {
        self.put(Code { bits: 0, len: 3 });
        self.fill_byte();
    }

    /// Appends a stored block (RFC 1951 section 3.2.4) of up to 65,535 bytes.
    pub(super) fn put_stored_block(&mut self, bytes: &[u8]) {
        self.put_end_of_message();
        let len = bytes.len() as u16;
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(&(!len).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// Returns the number of whole bytes in the output.
    pub(super) fn written_bytes(&self) -> usize {
        self.out.len() + self.len as usize / 8
    }

    /// Returns the bits that do not fill a byte.
    pub(super) fn finish(mut self) -> OpenByte {
        while self.len >= 8 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.len -= 8;
        }
        OpenByte { bits: self.bits, len: self.len }
    }

    /// Fills the last byte with zeros.
    fn fill_byte(&mut self) {
        let bytes = self.len.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.bits.to_le_bytes()[..bytes]);
        (self.bits, self.len) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_on_in_an_open_byte() {
        let mut out = vec![7];
        let mut writer = BitWriter::new(&mut out, OpenByte::default());
        writer.put(Code { bits: 0b101, len: 3 });
        writer.put(Code { bits: u32::MAX, len: 32 });
        assert_eq!(writer.written_bytes(), 5);
        let open = writer.finish();
        assert_eq!(out, [7, 0xFD, 0xFF, 0xFF, 0xFF]);
        let mut writer = BitWriter::new(&mut out, open);
        writer.put_stored_block(b"ab");
        assert_eq!(writer.finish().len, 0);
        assert_eq!(out[5..], [0b111, 2, 0, 0xFD, 0xFF, b'a', b'b']);
    }
}
