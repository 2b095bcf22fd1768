//! Prefetching memory: a walk over very many scattered objects then waits for several of them at once instead of one
//! after the other.

/// Size of a cache line in bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINE_BYTES: usize = 64;

/// Asks the processor to fetch all of `object` into its caches, where it has an instruction for that. Has no other
/// effect.
#[inline]
pub(crate) fn prefetch<T>(object: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(object).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            // SAFETY: the address lies within `object`, and a prefetch is only a hint: it cannot fault and does not
            // access memory.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = object;
}
