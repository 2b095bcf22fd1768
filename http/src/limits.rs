//! The limits of a request.
//!
//! Owns the numbers and their check. The parser and the protocol machine read them; a server calls [`Limits::check`]
//! once and shares one [`Limits`] between all connections.

use tidegate_engine::ConfigError;

tidegate_engine::__settings! {
    /// The limits of one request. Exceeding one is answered with the status named at it.
    ///
    /// Each has a default and a setter.
    ///
    /// ```
    /// use tidegate_http::Limits;
    /// let limits = Limits::default().body_bytes_max(1024);
    /// assert!(limits.check().is_ok());
    /// assert_eq!(limits.fields_max, 100);
    /// ```
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Limits {
        /// Bytes of the request line and all fields, line ends included. A larger head is answered with 431. Default 64
        /// KiB, at most [`HEAD_BYTES_CEILING`](Limits::HEAD_BYTES_CEILING).
        pub head_bytes_max: usize,
        /// Fields in one head, and in one trailer section. More are answered with 431. Default 100, at most
        /// [`FIELDS_CEILING`](Limits::FIELDS_CEILING).
        pub fields_max: usize,
        /// Bytes of the request-target. A longer one is answered with 414. Default 8 KiB, as RFC 9110 section 4.1
        /// recommends; at most [`TARGET_BYTES_CEILING`](Limits::TARGET_BYTES_CEILING).
        pub target_bytes_max: usize,
        /// Bytes of a request's content, after decoding the transfer coding. Larger content is answered with 413.
        /// Default 100 MiB.
        pub body_bytes_max: u64,
        /// Bytes of one chunk-size line with its extensions. A longer line is answered with 400. Default 1 KiB.
        pub chunk_line_bytes_max: usize,
        /// Bytes of chunk extensions in one request. They are skipped unread, so they only cost time. More are answered
        /// with 400. Default 16 KiB.
        pub chunk_extension_bytes_max: usize,
        /// Bytes of a trailer section, line ends included. A larger one is answered with 431. Default 8 KiB.
        pub trailer_bytes_max: usize,
        /// Bytes of unread content that are discarded after the response, to keep the connection for the next request.
        /// With more, the connection is closed. Default 256 KiB, about what a peer has in flight.
        pub drain_bytes_max: u64,
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 64 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 100 * 1024 * 1024,
            chunk_line_bytes_max: 1024,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 8 * 1024,
            drain_bytes_max: 256 * 1024,
        }
    }
}

impl Limits {
    /// The largest value of [`fields_max`](field@Limits::fields_max): the parser keeps its field table on the stack.
    pub const FIELDS_CEILING: usize = 256;

    /// The largest value of [`target_bytes_max`](field@Limits::target_bytes_max): the longest that `http::Uri` holds.
    pub const TARGET_BYTES_CEILING: usize = 65_534;

    /// The largest value of [`head_bytes_max`](field@Limits::head_bytes_max): positions in a head are 32 bits wide, and
    /// a head is in memory whole.
    pub const HEAD_BYTES_CEILING: usize = 16 * 1024 * 1024;

    /// Checks each limit, and that they fit together. [`ServerBuilder::start`](crate::ServerBuilder::start) calls it.
    ///
    /// [`Protocol`](crate::protocol::Protocol) works with unchecked limits too, and treats a value above its ceiling as
    /// the ceiling.
    ///
    /// # Errors
    /// The first limit that is zero or above its ceiling, or a target that does not fit in a head.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bytes = (Limits::HEAD_BYTES_CEILING, "1 to 16,777,216");
        for (name, value, (ceiling, rule)) in [
            ("head_bytes_max", self.head_bytes_max, bytes),
            ("fields_max", self.fields_max, (Limits::FIELDS_CEILING, "1 to 256")),
            ("target_bytes_max", self.target_bytes_max, (Limits::TARGET_BYTES_CEILING, "1 to 65,534")),
            ("chunk_line_bytes_max", self.chunk_line_bytes_max, bytes),
            ("trailer_bytes_max", self.trailer_bytes_max, bytes),
        ] {
            if !(1..=ceiling).contains(&value) {
                return Err(ConfigError::new(name, value, rule));
            }
        }
        if self.target_bytes_max >= self.head_bytes_max {
            return Err(ConfigError::new("target_bytes_max", self.target_bytes_max, "below head_bytes_max"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn zero_and_too_large_are_named() {
        let limits = Limits::default().fields_max(Limits::FIELDS_CEILING + 1);
        let error = limits.check().expect_err("too large");
        assert_eq!(error.to_string(), "invalid fields_max \"257\": must be 1 to 256");
        let limits = Limits::default().head_bytes_max(0);
        assert!(limits.check().is_err_and(|error| error.setting == "head_bytes_max"));
    }

    #[test]
    fn the_rules_name_the_ceilings() {
        let thousands = |text: &str| text.replace(',', "");
        for (limits, ceiling) in [
            (Limits::default().fields_max(0), Limits::FIELDS_CEILING),
            (Limits::default().target_bytes_max(0), Limits::TARGET_BYTES_CEILING),
            (Limits::default().head_bytes_max(0), Limits::HEAD_BYTES_CEILING),
            (Limits::default().chunk_line_bytes_max(0), Limits::HEAD_BYTES_CEILING),
            (Limits::default().trailer_bytes_max(0), Limits::HEAD_BYTES_CEILING),
        ] {
            let error = limits.check().expect_err("zero");
            assert_eq!(thousands(error.rule), format!("1 to {ceiling}"));
        }
    }

    #[test]
    fn the_target_fits_in_the_head() {
        let limits = Limits::default().head_bytes_max(1024).target_bytes_max(1024);
        let error = limits.check().expect_err("the target alone fills the head").to_string();
        assert_eq!(error, "invalid target_bytes_max \"1024\": must be below head_bytes_max");
    }
}
