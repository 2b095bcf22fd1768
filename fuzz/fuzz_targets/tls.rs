//! TLS sessions: they never panic, whatever arrives in whatever pieces, and what they deliver was sent.
//!
//! With the lowest bit of the first byte clear, the rest is what a server receives from its first byte on; the outcome
//! does not depend on how it was cut. With the bit set, the rest is a script for two sessions that have shaken hands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::tls::{TlsPump, client, server};
use tidegate_fuzz::cuts::Cut;

/// More than a handshake message can have, and a record.
const PARTIAL_BYTES_MAX: usize = 100_000;

/// The failure of an end that receives more than 32 changes of keys in a row, answers included.
const TOO_MANY_KEYS: &str = "peer misbehaved: TooManyKeyUpdateRequests";

fuzz_target!(|data: &[u8]| {
    let Some((flags, input)) = data.split_first() else { return };
    if flags & 1 == 0 {
        let whole = outcome(input, Cut::Whole);
        for cut in Cut::ways(input) {
            assert_eq!(outcome(input, cut), whole, "the outcome depends on the cut {cut:?}");
        }
    } else {
        script(Source::new(input));
    }
});

/// Returns how a server ends that receives these bytes.
fn outcome(input: &[u8], cut: Cut) -> (Option<String>, bool) {
    let mut server = server();
    let mut failure = None;
    cut.apply(input, |piece| {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        failure = server.receive(&mut piece.to_vec(), &mut plain, &mut out).err();
        assert!(plain.is_empty(), "bytes that no key has made");
        assert!(server.partial_bytes() < PARTIAL_BYTES_MAX);
        failure.is_none()
    });
    (failure, server.is_handshaking())
}

/// One end of a session.
struct End {
    pump: TlsPump,
    /// Bytes that it has yet to receive.
    wire: Vec<u8>,
    /// What the other end has sent to it, and what has arrived.
    expected: Vec<u8>,
    received: Vec<u8>,
    closed: bool,
}

impl End {
    fn new(pump: TlsPump) -> End {
        End { pump, wire: Vec::new(), expected: Vec::new(), received: Vec::new(), closed: false }
    }

    /// Receives up to `length` bytes. Returns what it has to send, or the reason why the session failed.
    fn receive(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut piece: Vec<u8> = self.wire.drain(..length.min(self.wire.len())).collect();
        let mut out = Vec::new();
        let received = self.pump.receive(&mut piece, &mut self.received, &mut out);
        assert!(self.expected.starts_with(&self.received), "bytes arrived that were not sent");
        received.map(|()| out)
    }
}

fn script(mut source: Source<'_>) {
    let mut ends = [End::new(client()), End::new(server())];
    let mut broken = false;
    while ends.iter().any(|end| end.pump.is_handshaking()) {
        for to in [0, 1] {
            let out = ends[to].receive(usize::MAX).expect("a handshake between two that agree");
            ends[1 - to].wire.extend_from_slice(&out);
        }
    }
    while !source.is_empty() {
        let action = source.byte();
        let from = usize::from(action & 1);
        let to = 1 - from;
        let mut out = Vec::new();
        match action >> 1 & 7 {
            0 | 1 if !ends[from].closed => {
                let bytes = vec![action; source.number()];
                ends[from].pump.encrypt(&bytes, &mut out).expect("an open side");
                ends[to].expected.extend_from_slice(&bytes);
            }
            2 if !ends[from].closed => ends[from].pump.refresh_keys(&mut out).expect("an open side"),
            // A side that has ended and then receives a broken record trips an assertion of rustls 0.23
            // (`send_fatal_alert`). The engine catches it, but to libFuzzer every panic is a crash. So either comes
            // alone.
            3 if !ends[from].closed && !broken => {
                ends[from].closed = true;
                ends[from].pump.close(&mut out).expect("an open side");
            }
            4 => {
                let at = source.number();
                if !ends[to].closed
                    && let Some(byte) = ends[to].wire.get_mut(at)
                {
                    *byte ^= source.byte();
                    broken = true;
                }
            }
            _ => {
                let length = source.number();
                match ends[to].receive(length) {
                    Ok(answer) => ends[from].wire.extend_from_slice(&answer),
                    Err(failure) => {
                        assert!(
                            broken || failure == TOO_MANY_KEYS,
                            "a session failed although no byte was changed: {failure}"
                        );
                        return;
                    }
                }
            }
        }
        ends[to].wire.extend_from_slice(&out);
    }
    if broken {
        return;
    }
    while ends.iter().any(|end| !end.wire.is_empty()) {
        for to in [0, 1] {
            match ends[to].receive(usize::MAX) {
                Ok(out) => ends[1 - to].wire.extend_from_slice(&out),
                Err(failure) => {
                    assert_eq!(failure, TOO_MANY_KEYS);
                    return;
                }
            }
        }
    }
    for to in [0, 1] {
        assert_eq!(ends[to].received.len(), ends[to].expected.len(), "bytes were lost");
        assert_eq!(ends[to].pump.has_peer_closed(), ends[1 - to].closed);
    }
}
