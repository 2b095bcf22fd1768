//! Values of the application's types, whose destructors run on the engine's threads.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the application. A panic in it is reported by the panic hook and ends here. Returns whether there was
/// none.
pub(crate) fn contain(code: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else { return true };
    // The panic's payload is a value of the application too. What its own destructor panics with is leaked.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
    false
}

/// A value that may run code of the application when it is dropped, such as `Bytes::from_owner`. A panic there is
/// logged and ends with the drop, not with the thread.
#[derive(Debug)]
pub(crate) struct Contained<T>(ManuallyDrop<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    /// Takes the value out of the place, which gets an empty one.
    pub(crate) fn take(&mut self) -> T
    where
        T: Default,
    {
        std::mem::take(&mut *self.0)
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        // SAFETY: this is the value's only drop, and nothing uses it afterwards.
        if !contain(|| unsafe { ManuallyDrop::drop(&mut self.0) }) {
            log::error!("the destructor of a sent value panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as the test asked for");
        }
    }

    #[test]
    fn a_panic_in_a_drop_ends_there() {
        drop(Contained::new(Bomb));
        assert!(!contain(|| std::panic::panic_any(())));
        assert!(contain(|| ()));
    }
}
