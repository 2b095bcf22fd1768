//! An error with its causes, for the log.
//!
//! Public for the websocket crate alone, and hidden from the documentation.

use std::error::Error;
use std::fmt;

/// Displays an error and its causes, separated by colons.
#[derive(Debug)]
pub struct WithCauses<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut causes = std::iter::successors(self.0.source(), |&cause| cause.source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        #[source]
        cause: Option<Box<Failed>>,
    }

    #[test]
    fn all_causes_are_displayed_in_order() {
        let cause = |text, cause: Failed| Failed { text, cause: Some(Box::new(cause)) };
        let disk = Failed { text: "disk on fire", cause: None };
        assert_eq!(WithCauses(&disk).to_string(), "disk on fire");
        let error = cause("cannot load the user", cause("cannot read the table", disk));
        assert_eq!(WithCauses(&error).to_string(), "cannot load the user: cannot read the table: disk on fire");
    }
}
