//! HTTP requests: the events, the refusal with its status, and the bytes sent do not depend on how the input was cut.
//!
//! The lowest three bits of the first byte are the setup, the rest is what the peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::adapters::http::{Setup, serve};
use tidegate_fuzz::cuts::Cut;

fuzz_target!(|data: &[u8]| {
    let Some((flags, input)) = data.split_first() else { return };
    let setup = Setup { small_limits: flags & 1 != 0, early_responses: flags & 2 != 0, continues: flags & 4 != 0 };
    let whole = serve(setup, input, Cut::Whole);
    for cut in Cut::ways(input) {
        let outcome = serve(setup, input, cut);
        assert_eq!(outcome.refusal, whole.refusal, "the refusal depends on the cut {cut:?}, {setup:?}");
        assert_eq!(outcome, whole, "the outcome depends on the cut {cut:?}, {setup:?}");
    }
});
