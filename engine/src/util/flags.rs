//! Eight flags in one byte, for state that exists once per connection.

/// A set of flags, each one bit of a byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Returns whether the flag is set; of several, whether one of them is.
    #[inline]
    pub(crate) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flag: u8) {
        self.0 &= !flag;
    }

    /// Sets a flag or clears it.
    #[inline]
    pub(crate) fn put(&mut self, flag: u8, on: bool) {
        self.0 = self.0 & !flag | if on { flag } else { 0 };
    }

    /// Clears a flag. Returns whether it was set.
    #[inline]
    pub(crate) fn take(&mut self, flag: u8) -> bool {
        let was_set = self.has(flag);
        self.clear(flag);
        was_set
    }

    /// Sets a flag. Returns whether it was set before.
    #[inline]
    pub(crate) fn replace(&mut self, flag: u8) -> bool {
        let was_set = self.has(flag);
        self.set(flag);
        was_set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_one_by_one() {
        let mut flags = Flags::default();
        assert!(!flags.replace(1) && flags.replace(1) && !flags.has(2) && flags.has(1 | 2));
        flags.put(2, true);
        flags.put(1, false);
        assert!(!flags.has(1) && flags.take(2) && !flags.take(2));
        flags.set(128);
        flags.clear(1);
        assert!(flags.has(128));
    }
}
