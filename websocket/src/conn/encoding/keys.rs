//! Random numbers for the masking keys of frames (RFC 6455 sections 5.3 and 10.3).
//!
//! A key must not be predictable by whoever chooses the payload, nor from earlier keys. So all of them come from the
//! operating system. A system call for each message would be slow, so a thread draws [`POOL_BYTES`] at a time.

use std::cell::RefCell;

use crate::frame::mask::MaskingKey;
use crate::role::Role;

/// Random bytes that a thread draws at a time: 1,024 keys. Larger pools gain nothing.
const POOL_BYTES: usize = 4096;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// Random bytes, each of which is used once.
struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

impl Pool {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if POOL_BYTES - self.used < N {
            fill(&mut self.bytes);
            self.used = 0;
        }
        let mut taken = [0; N];
        let unused = &mut self.bytes[self.used..self.used + N];
        taken.copy_from_slice(unused);
        // A key that has been used must not be found in memory later.
        unused.fill(0);
        self.used += N;
        taken
    }
}

/// Fills `bytes` with the operating system's random bytes.
///
/// # Panics
/// If it has none, which happens only before it has collected any entropy, or in a sandbox without the call and without
/// its device.
#[cold]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("a WebSocket client needs random bytes from the operating system");
}

#[inline]
fn random<const N: usize>() -> [u8; N] {
    POOL.try_with(|pool| pool.borrow_mut().take()).unwrap_or_else(|_| {
        // The thread is ending.
        let mut bytes = [0; N];
        fill(&mut bytes);
        bytes
    })
}

/// Returns a fresh key for a frame.
#[inline]
pub(crate) fn masking_key() -> MaskingKey {
    MaskingKey::new(random())
}

/// Returns 16 random bytes, for the nonce of a handshake.
pub(crate) fn random_nonce() -> [u8; 16] {
    random()
}

/// Returns a random number.
pub(crate) fn random_u64() -> u64 {
    u64::from_ne_bytes(random())
}

/// Returns a fresh key for a frame of a client; `None` for one of a server.
#[inline]
pub(crate) fn masking_key_of(role: Role) -> Option<MaskingKey> {
    match role {
        Role::Server => None,
        Role::Client => Some(masking_key()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Across several pools, and for keys between draws of other lengths.
    #[test]
    fn keys_do_not_repeat() {
        let mut keys = HashSet::new();
        let count = 3 * POOL_BYTES / 4;
        for number in 0..count {
            if number % 100 == 0 {
                random_nonce();
                random_u64();
            }
            keys.insert(masking_key().bytes());
        }
        // Three thousand of four billion keys: two equal ones are rare, ten are impossible.
        assert!(count - keys.len() < 10, "{} of {count} keys differ", keys.len());
        let ones: u32 = keys.iter().map(|key| u32::from_ne_bytes(*key).count_ones()).sum();
        let share = f64::from(ones) / (keys.len() * 32) as f64;
        assert!((0.47..0.53).contains(&share), "{share} of the bits are set");
    }

    #[test]
    fn only_a_client_masks() {
        assert_eq!(masking_key_of(Role::Server), None);
        assert!(masking_key_of(Role::Client).is_some());
    }
}
