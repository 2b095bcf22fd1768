//! Writes bits, the lowest first.

/// The most bits that are put at once.
const PUT_BITS_MAX: u32 = 56;

/// The bytes that are collected before they are appended together.
const STAGED_BYTES: usize = 512;

/// The bits that do not fill a byte yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OpenByte {
    bits: u64,
    /// Below 8.
    len: u32,
}

/// Appends bits to bytes.
#[derive(Debug)]
pub(super) struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Bytes that are not in `out` yet, fewer than `STAGED_BYTES` between calls. Behind them is room for a word.
    staged: [u8; STAGED_BYTES + size_of::<u64>()],
    staged_bytes: usize,
    open: OpenByte,
}

impl<'o> BitWriter<'o> {
    /// Continues after the bits of an open byte.
    pub(super) fn new(out: &'o mut Vec<u8>, open: OpenByte) -> Self {
        Self { out, staged: [0; STAGED_BYTES + size_of::<u64>()], staged_bytes: 0, open }
    }

    /// Appends up to 56 bits. All above `len` are 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, len: u32) {
        (self.open, self.staged_bytes) = self.stage(self.open, self.staged_bytes, bits, len);
    }

    /// Appends bits, each time up to 56, with their number.
    #[inline(always)]
    pub(super) fn put_all(&mut self, all: impl Iterator<Item = (u64, u32)>) {
        let (mut open, mut at) = (self.open, self.staged_bytes);
        for (bits, len) in all {
            (open, at) = self.stage(open, at, bits, len);
        }
        (self.open, self.staged_bytes) = (open, at);
    }

    /// Adds bits behind the open byte, which is to be staged at `at`. Returns the next open byte and its place.
    ///
    /// A whole word is stored, of which the next one overwrites the open byte. So there is no branch that depends on
    /// the number of bits: the processor could not foresee it.
    #[inline(always)]
    fn stage(&mut self, open: OpenByte, at: usize, bits: u64, len: u32) -> (OpenByte, usize) {
        debug_assert!(len <= PUT_BITS_MAX && bits >> len == 0);
        let (bits, len) = (open.bits | bits << open.len, open.len + len);
        // The modulus changes nothing. It spares a check of the bounds.
        let at = at % STAGED_BYTES;
        self.staged[at..at + size_of::<u64>()].copy_from_slice(&bits.to_le_bytes());
        let (open, end) = (OpenByte { bits: bits >> (len & !7), len: len & 7 }, at + len as usize / 8);
        if end < STAGED_BYTES {
            return (open, end);
        }
        self.append_staged(end);
        (open, 0)
    }

    /// Appends an empty stored block without its last four bytes, which ends a message (RFC 7692 section 7.2.1).
    pub(super) fn put_end_of_message(&mut self) {
        self.put(0, 3);
        self.put(0, self.open.len.wrapping_neg() & 7);
    }

    /// Appends a stored block (RFC 1951 section 3.2.4) of up to 65,535 bytes.
    pub(super) fn put_stored_block(&mut self, bytes: &[u8]) {
        self.put_end_of_message();
        self.append_staged(self.staged_bytes);
        let len = bytes.len() as u16;
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(&(!len).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// Returns the number of whole bytes in the output.
    pub(super) fn written_bytes(&self) -> usize {
        self.out.len() + self.staged_bytes
    }

    /// Returns the bits that do not fill a byte.
    pub(super) fn finish(mut self) -> OpenByte {
        self.append_staged(self.staged_bytes);
        self.open
    }

    #[inline(never)]
    fn append_staged(&mut self, len: usize) {
        self.out.extend_from_slice(&self.staged[..len]);
        self.staged_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_on_in_an_open_byte() {
        let mut out = vec![7];
        let mut writer = BitWriter::new(&mut out, OpenByte::default());
        writer.put(0b101, 3);
        writer.put(u64::from(u32::MAX), 32);
        assert_eq!(writer.written_bytes(), 5);
        let open = writer.finish();
        assert_eq!(out, [7, 0xFD, 0xFF, 0xFF, 0xFF]);
        let mut writer = BitWriter::new(&mut out, open);
        writer.put_stored_block(b"ab");
        assert_eq!(writer.finish().len, 0);
        assert_eq!(out[5..], [0b111, 2, 0, 0xFD, 0xFF, b'a', b'b']);
    }

    /// The bits are compared with those of a number that is written digit by digit.
    #[test]
    fn pieces_of_any_length_follow_one_another_across_the_staged_bytes() {
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out, OpenByte::default());
        let (mut digits, mut state) = (Vec::new(), 1_u64);
        for len in (0..=PUT_BITS_MAX).cycle().take(1000) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state >> 8 & ((1 << len) - 1);
            writer.put(bits, len);
            digits.extend((0..len).map(|digit| (bits >> digit & 1) as u8));
            assert_eq!(writer.written_bytes(), digits.len() / 8);
        }
        writer.put_end_of_message();
        assert_eq!(writer.finish().len, 0);
        digits.resize((digits.len() + 3).next_multiple_of(8), 0);
        let bytes: Vec<u8> =
            digits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, digit| byte << 1 | digit)).collect();
        assert!(out == bytes);
    }
}
