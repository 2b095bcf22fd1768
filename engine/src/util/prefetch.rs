//! Asking for memory before it is needed: a walk over very many objects that lie apart then waits for several of them at
//! once, and not for one after the other.

/// Bytes of a cache line, on what this is for.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINE_BYTES: usize = 64;

/// Has the processor fetch all of `object` into its caches, where it has an instruction for that; changes nothing else.
#[inline]
pub(crate) fn prefetch<T>(object: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(object).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            // SAFETY: the address lies within `object`; and a prefetch is a hint, which cannot fault and is no access.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = object;
}
