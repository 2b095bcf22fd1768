//! Values of the application's types, whose destructors run on the engine's threads.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the application. A panic in it is reported by the panic hook and ends here. Returns whether there was
/// none.
pub(crate) fn contain(code: impl FnOnce()) -> bool {
    catch(code).is_ok()
}

/// Runs code of the application. A panic in it ends here.
///
/// # Errors
/// The message of the panic.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(take_message)
}

/// Returns the message of a panic caught with [`catch_unwind`].
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// Returns the message of a panic, and drops its value, whose destructor is the application's too.
#[cold]
fn take_message(panic: Box<dyn Any + Send>) -> String {
    let message = panic_message(&*panic).to_owned();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
    message
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
        // The value of the second panic is leaked, which miri reports.
        #[cfg(not(miri))]
        assert!(!contain(|| std::panic::panic_any(Bomb)));
        assert!(contain(|| ()));
    }

    #[test]
    fn the_message_of_a_panic_is_returned() {
        assert_eq!(catch(|| -> () { panic!("text") }), Err("text".to_owned()));
        assert_eq!(catch(|| -> () { panic!("number {}", 7) }), Err("number 7".to_owned()));
        assert_eq!(catch(|| -> () { std::panic::panic_any(7) }), Err("(no message)".to_owned()));
        assert_eq!(catch(|| 7), Ok(7));
    }
}
