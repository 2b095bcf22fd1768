//! Masking (RFC 6455 section 5.3): XOR with a repeating key of four bytes.
//!
//! Safe code in a shape that the compiler turns into vector instructions, for any length and any place in the payload.
//! The tests compare it with a loop over single bytes. Long payloads take the same code compiled for AVX2, where the
//! processor has it; calling that takes an `unsafe` block for each of the two forms.
//!
//! [`append_masked`] copies and masks in one pass. It is also faster than a plain copy on processors where `memcpy`
//! uses `rep movsb` although that is slow for some alignments (AMD Zen 3 and 4 with glibc 2.36: a quarter of the rate).

use std::mem::MaybeUninit;

/// The four unpredictable bytes that a client draws for each frame (RFC 6455 section 5.3).
///
/// This crate has no randomness: the caller that encodes a client's frame provides the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskingKey([u8; 4]);

impl MaskingKey {
    /// Returns the key of these bytes, in wire order.
    #[must_use]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The key that changes nothing: that of a frame without one.
    pub(crate) const NONE: Self = Self([0; 4]);

    /// Returns the bytes, in wire order.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }

    /// Returns the key for the payload from `offset_bytes` on.
    #[must_use]
    pub const fn at_offset(self, offset_bytes: usize) -> Self {
        let bits = 8 * (offset_bytes % 4) as u32;
        Self(u32::from_be_bytes(self.0).rotate_left(bits).to_be_bytes())
    }
}

impl From<[u8; 4]> for MaskingKey {
    fn from(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

/// Masks or unmasks `payload` in place, which is the same operation. `payload` is the start of a payload; for a later
/// piece use [`MaskingKey::at_offset`].
#[inline]
pub fn apply_mask(key: MaskingKey, payload: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= WIDE_BYTES_MIN && std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "see the module documentation")]
        // SAFETY: the processor has AVX2, the only requirement of the function.
        unsafe {
            apply_mask_avx2(key, payload)
        };
        return;
    }
    apply_mask_in_words(key, payload);
}

/// The smallest payload for which checking the processor's features pays off.
#[cfg(target_arch = "x86_64")]
const WIDE_BYTES_MIN: usize = 1024;

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_mask_avx2(key: MaskingKey, payload: &mut [u8]) {
    apply_mask_in_words(key, payload);
}

#[inline(always)]
fn apply_mask_in_words(key: MaskingKey, payload: &mut [u8]) {
    let [a, b, c, d] = key.0;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // 32 bytes at a time become one or two vector operations; the rest is at most three words and seven bytes.
    let (blocks, rest) = payload.as_chunks_mut::<32>();
    for block in blocks {
        for bytes in block.as_chunks_mut::<8>().0 {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// Appends `payload` to `to`, masked or unmasked on the way, which is the same operation.
#[inline]
pub(crate) fn append_masked(key: MaskingKey, payload: &[u8], to: &mut Vec<u8>) {
    to.reserve(payload.len());
    let len = to.len() + payload.len();
    copy_masked(key, payload, &mut to.spare_capacity_mut()[..payload.len()]);
    #[allow(unsafe_code, reason = "a vector cannot be extended from a slice of its spare capacity otherwise")]
    // SAFETY: `copy_masked` wrote every byte of the slice, which reaches from the former length to this one.
    unsafe {
        to.set_len(len)
    };
}

/// Writes all of `payload`, masked, to `to`, which has the same length.
#[inline]
fn copy_masked(key: MaskingKey, payload: &[u8], to: &mut [MaybeUninit<u8>]) {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= WIDE_BYTES_MIN && std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "see the module documentation")]
        // SAFETY: the processor has AVX2, the only requirement of the function.
        unsafe {
            copy_masked_avx2(key, payload, to)
        };
        return;
    }
    copy_masked_in_words(key, payload, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_masked_avx2(key: MaskingKey, payload: &[u8], to: &mut [MaybeUninit<u8>]) {
    copy_masked_in_words(key, payload, to);
}

#[inline(always)]
fn copy_masked_in_words(key: MaskingKey, payload: &[u8], to: &mut [MaybeUninit<u8>]) {
    assert_eq!(payload.len(), to.len());
    let [a, b, c, d] = key.0;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (blocks, rest) = payload.as_chunks::<32>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<32>();
    for (block, to_block) in blocks.iter().zip(to_blocks) {
        for (bytes, to_bytes) in block.as_chunks::<8>().0.iter().zip(to_block.as_chunks_mut::<8>().0) {
            *to_bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes().map(MaybeUninit::new);
        }
    }
    for ((byte, to_byte), key) in rest.iter().zip(to_rest).zip([a, b, c, d].into_iter().cycle()) {
        *to_byte = MaybeUninit::new(byte ^ key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6455 section 5.3, byte by byte.
    fn apply_mask_scalar(key: MaskingKey, payload: &mut [u8], offset_bytes: usize) {
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= key.bytes()[(offset_bytes + index) % 4];
        }
    }

    #[test]
    fn every_length_offset_and_alignment_agrees_with_the_scalar_twin() {
        let key = MaskingKey::new([0x37, 0xFA, 0x21, 0x3D]);
        let source: Vec<u8> = (0..1600_u32).map(|index| (index * 151 % 251) as u8).collect();
        // All of them take minutes under miri.
        let step = if cfg!(miri) { 29 } else { 1 };
        for len in (0..=200).chain([1024, 1500]).step_by(step) {
            for start in 0..9 {
                for offset_bytes in 0..5 {
                    let mut masked = source.clone();
                    let mut expected = source.clone();
                    apply_mask(key.at_offset(offset_bytes), &mut masked[start..start + len]);
                    apply_mask_scalar(key, &mut expected[start..start + len], offset_bytes);
                    assert_eq!(masked, expected, "len {len} start {start} offset {offset_bytes}");
                    let mut appended = vec![7; start];
                    append_masked(key.at_offset(offset_bytes), &source[start..start + len], &mut appended);
                    assert_eq!(appended[..start], vec![7; start]);
                    assert_eq!(appended[start..], expected[start..start + len], "len {len} start {start} appended");
                }
            }
        }
    }

    #[test]
    fn pieces_mask_like_the_whole() {
        let key = MaskingKey::new([1, 2, 3, 4]);
        let source: Vec<u8> = (0..100).collect();
        let mut whole = source.clone();
        apply_mask(key, &mut whole);
        for cut in 0..=source.len() {
            let mut pieces = source.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            apply_mask(key, head);
            apply_mask(key.at_offset(cut), tail);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_key_turns_at_any_offset() {
        let key = MaskingKey::new([1, 2, 3, 4]);
        for (offset_bytes, turned) in
            [(4, [1, 2, 3, 4]), (1_000_001, [2, 3, 4, 1]), (usize::MAX - 1, [3, 4, 1, 2]), (usize::MAX, [4, 1, 2, 3])]
        {
            assert_eq!(key.at_offset(offset_bytes).bytes(), turned, "{offset_bytes}");
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut payload = *b"\x7f\x9f\x4d\x51\x58";
        apply_mask(MaskingKey::new([0x37, 0xFA, 0x21, 0x3D]), &mut payload);
        assert_eq!(&payload, b"Hello");
    }
}
