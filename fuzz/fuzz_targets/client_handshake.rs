//! A client's reading of responses to its handshake. A response means the same in whatever pieces it arrives; what
//! follows a 101 or begins a tunnel is left alone; what is accepted has every field that it needs; memory is bounded.
//!
//! The first byte says whether the request was a CONNECT. The rest is the response and what follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::adapters::client_handshake::{HEAD_BYTES_MAX, Read, Reading};
use tidegate_fuzz::cuts::Cut;

fuzz_target!(|data: &[u8]| {
    let Some((&way, input)) = data.split_first() else { return };
    let answers_connect = way & 1 == 1;
    let whole = read(answers_connect, input, Cut::Whole);
    for cut in Cut::ways(input) {
        let pieces = read(answers_connect, input, cut);
        // What came before an error depends on the pieces.
        if whole.error.is_some() {
            assert_eq!(pieces.error.is_some(), whole.error.is_some(), "{cut:?}");
        } else {
            assert_eq!(pieces, whole, "{cut:?}");
        }
    }
    let Some((status, fields)) = &whole.head else {
        assert!(whole.error.is_some() || input.is_empty(), "neither a head nor an error");
        return;
    };
    assert!((100..=999).contains(status) && fields.len() <= 20);
    assert!(whole.used <= input.len());
    let is_without_content = *status == 101 || *status == 204 || *status == 304;
    if is_without_content || (answers_connect && (200..300).contains(status)) {
        assert!(whole.content.is_empty() && whole.used <= HEAD_BYTES_MAX, "bytes of the next protocol were taken");
        assert!(input[..whole.used].ends_with(b"\r\n\r\n"));
    }
    if whole.accepts {
        assert_eq!(*status, 101);
        let text = String::from_utf8_lossy(input).to_ascii_lowercase();
        for required in ["upgrade", "websocket", "sec-websocket-accept", "s3pplmbitxaq9kygzzhzrbk+xoo="] {
            assert!(text.contains(required), "accepted without {required:?}");
        }
    }
});

fn read(answers_connect: bool, input: &[u8], cut: Cut) -> Read {
    let mut reading = Reading::new(answers_connect);
    cut.apply(input, |piece| reading.take(piece));
    reading.end()
}
