//! The text of a panic, for the log.
//!
//! Public for the websocket crate alone, and hidden from the documentation.

pub use tidegate_engine::panic_note::message as panic_message;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_messages_are_found() {
        assert_eq!(panic_message(&"static"), "static");
        assert_eq!(panic_message(&"owned".to_owned()), "owned");
        assert_eq!(panic_message(&7), "(no message)");
    }
}
