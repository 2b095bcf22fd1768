//! Reads bits, the lowest first.

use super::Stop;

/// The bits that are there after a refill, while there is input.
const REFILLED_BITS: u32 = 56;

/// The bytes of input for two refills in a row without a look at its end.
pub(super) const AHEAD_BYTES: usize = 16;

/// Bits that were taken from the input and not used yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenBits {
    bits: u64,
    len: u32,
}

impl OpenBits {
    pub(super) const NONE: Self = Self { bits: 0, len: 0 };
}

/// Reads open bits, and then those of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct BitReader<'i> {
    input: &'i [u8],
    /// The part of the input that was not taken.
    rest: &'i [u8],
    /// The next bits. Those above `len` are either zeros or the bits of input that was not taken yet.
    bits: u64,
    /// The number of bits that were taken and not used, in the lowest six bits. The others have no meaning, which saves
    /// an instruction that the next symbol would wait for.
    dirty_len: u32,
}

impl<'i> BitReader<'i> {
    pub(super) fn new(input: &'i [u8], open: OpenBits) -> Self {
        Self { input, rest: input, bits: open.bits, dirty_len: open.len }
    }

    /// Returns the rest of the input and the open bits.
    pub(super) fn finish(self) -> (&'i [u8], OpenBits) {
        let len = self.len();
        let open = OpenBits { bits: self.bits & ((1 << len) - 1), len };
        (self.rest, open)
    }

    /// Returns the next bits, and others above the first [`len`](Self::len).
    #[inline(always)]
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    #[inline(always)]
    pub(super) fn len(&self) -> u32 {
        self.dirty_len & 63
    }

    /// Uses up `len` bits, which must be there.
    #[inline(always)]
    pub(super) fn consume(&mut self, len: u32) {
        self.bits >>= len;
        self.dirty_len = self.dirty_len.wrapping_sub(len);
    }

    /// Uses up as many bits as the lowest six bits of `dirty_len` say. They must be there.
    #[inline(always)]
    pub(super) fn consume_dirty(&mut self, dirty_len: u32) {
        self.bits >>= dirty_len & 63;
        self.dirty_len = self.dirty_len.wrapping_sub(dirty_len);
    }

    /// Reads up to 32 bits.
    #[inline(always)]
    pub(super) fn take(&mut self, len: u32) -> Result<usize, Stop> {
        self.refill_below(len);
        if self.len() < len {
            return Err(Stop::InputNeeded);
        }
        let bits = self.bits & ((1 << len) - 1);
        self.consume(len);
        Ok(bits as usize)
    }

    /// Refills if there are fewer than `len` bits. Afterwards there are fewer only if the input has ended.
    #[inline(always)]
    pub(super) fn refill_below(&mut self, len: u32) {
        if self.len() < len {
            self.refill();
        }
    }

    /// Takes input until there are 56 bits or more.
    #[inline]
    pub(super) fn refill(&mut self) {
        if let Some(word) = self.rest.first_chunk() {
            self.add_word(*word);
            return;
        }
        while self.len() < REFILLED_BITS
            && let [byte, rest @ ..] = self.rest
        {
            self.bits |= u64::from(*byte) << self.len();
            self.dirty_len = self.len() + 8;
            self.rest = rest;
        }
    }

    /// Returns the next bytes of the input; `None` near its end.
    #[inline(always)]
    pub(super) fn ahead(&self) -> Option<&'i [u8; AHEAD_BYTES]> {
        self.rest.first_chunk()
    }

    /// Returns whether there are more bits than one step of decoding takes.
    #[inline(always)]
    pub(super) fn is_promising(&self) -> bool {
        self.rest.len() >= AHEAD_BYTES - 4
    }

    /// Returns a reader that goes on with zeros after the input, of which fewer than [`AHEAD_BYTES`] are left.
    #[inline(always)]
    pub(super) fn padded<'p>(&self, padding: &'p mut [u8; 2 * AHEAD_BYTES]) -> BitReader<'p> {
        let count = self.rest.len().min(AHEAD_BYTES);
        padding[..count].copy_from_slice(&self.rest[..count]);
        BitReader { input: padding, rest: padding, bits: self.bits, dirty_len: self.dirty_len }
    }

    /// Returns whether a padded reader has used only bytes of this input.
    #[inline(always)]
    pub(super) fn reaches(&self, padded: &BitReader<'_>) -> bool {
        let taken = padded.input.len() - padded.rest.len();
        8 * taken <= 8 * self.rest.len() + padded.len() as usize
    }

    /// Takes what a padded reader took.
    #[inline(always)]
    pub(super) fn follow(&mut self, padded: &BitReader<'_>) {
        let taken = padded.input.len() - padded.rest.len();
        let zeros = taken.saturating_sub(self.rest.len());
        self.rest = &self.rest[taken - zeros..];
        self.dirty_len = padded.len() - 8 * zeros as u32;
        self.bits = if zeros > 0 { padded.bits & ((1 << self.dirty_len) - 1) } else { padded.bits };
    }

    /// Refills from the bytes ahead, of which `offset` were taken, up to 7. Returns how many are taken then.
    #[inline(always)]
    pub(super) fn refill_from(&mut self, ahead: &[u8; AHEAD_BYTES], offset: usize) -> usize {
        let offset = offset & 7;
        let mut word = [0; 8];
        word.copy_from_slice(&ahead[offset..offset + 8]);
        offset + self.add_word(word)
    }

    /// Takes as many of the next eight bytes as there is room for. Returns their number, which is up to 7.
    #[inline(always)]
    fn add_word(&mut self, word: [u8; 8]) -> usize {
        self.bits |= u64::from_le_bytes(word) << self.len();
        let bytes = (!self.dirty_len & 63) as usize / 8;
        self.rest = &self.rest[bytes..];
        self.dirty_len |= REFILLED_BITS;
        bytes
    }

    /// Drops the bits before the next byte boundary.
    pub(super) fn align(&mut self) {
        self.consume(self.len() % 8);
    }

    /// Returns whole bytes that were not used to the input, except those that were open before it.
    pub(super) fn unread_bytes(&mut self) {
        let taken = self.input.len() - self.rest.len();
        let unused = taken.min(self.len() as usize / 8);
        self.rest = &self.input[taken - unused..];
        self.dirty_len = self.len() - 8 * unused as u32;
        self.bits &= (1 << self.dirty_len) - 1;
    }

    /// Copies the next bytes to `out`, as many as there are and fit. Returns their number. There must be no bits before
    /// them.
    pub(super) fn copy_bytes(&mut self, out: &mut [u8]) -> usize {
        let count = self.rest.len().min(out.len());
        let (bytes, rest) = self.rest.split_at(count);
        out[..count].copy_from_slice(bytes);
        self.rest = rest;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_on_in_the_next_input() {
        let mut reader = BitReader::new(&[0b1010_1100, 0xFF], OpenBits::NONE);
        assert_eq!(reader.take(3), Ok(0b100));
        assert_eq!(reader.take(9), Ok(0b1111_10101));
        assert_eq!(reader.take(5), Err(Stop::InputNeeded));
        let (rest, open) = reader.finish();
        assert!(rest.is_empty());
        let mut reader = BitReader::new(&[0b0110, 7, 8, 9, 10, 11, 12, 13, 14], open);
        assert_eq!(reader.take(7), Ok(0b110_1111));
        reader.align();
        reader.unread_bytes();
        let mut bytes = [0; 3];
        assert_eq!(reader.copy_bytes(&mut bytes), 3);
        assert_eq!(bytes, [7, 8, 9]);
        assert_eq!(reader.take(32), Ok(0x0D0C_0B0A));
        reader.unread_bytes();
        assert_eq!(reader.finish().0, [14]);
    }

    #[test]
    fn refills_of_all_kinds_agree() {
        let input: Vec<u8> = (0..40_u8).map(|byte| byte.wrapping_mul(37)).collect();
        for len in 1..=32 {
            let mut reader = BitReader::new(&input, OpenBits::NONE);
            let mut ahead = reader;
            let mut place = 0;
            while let Some(bytes) = ahead.ahead() {
                let offset = ahead.refill_from(bytes, 0);
                ahead.refill_from(bytes, offset);
                let expected = (0..len as usize)
                    .map(|bit| usize::from(input[(place + bit) / 8] >> ((place + bit) % 8) & 1) << bit)
                    .sum();
                assert_eq!(reader.take(len), Ok(expected));
                assert_eq!(ahead.take(len), Ok(expected));
                place += len as usize;
            }
        }
    }
}
