//! The memory of compressed messages and their contexts, counted at the allocator.

use crate::deflate::{NO_TAKEOVER, Peer, agreed, compressed, compressed_config};
use crate::memory::allocated_bytes;
use tidegate_websocket::{
    CompressionLevel, DeflateConfig, ProtocolError,
    protocol::{MessageDeflater, Protocol, Role},
};

#[test]
fn inflated_payload_takes_no_memory_beyond_the_limit() {
    let bomb = Peer::new(9, 15).deflate(&vec![0; 16 << 20]);
    let mut input = compressed(Role::Server, false, &bomb);
    let mut config = compressed_config(Role::Server, "");
    config.message_bytes_max = 1 << 20;
    let mut protocol = Protocol::new(config);
    let bytes = allocated_bytes(|| {
        let mut rest = &mut input[..];
        let error = loop {
            match protocol.receive(rest) {
                Ok(progress) => rest = &mut rest[progress.consumed..],
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ProtocolError::MessageTooBig { .. }), "{error}");
    });
    // With doubling, all allocations together are twice the final buffer, which is at most twice the limit.
    assert!(bytes < 5 << 20, "{bytes} bytes");
}

#[test]
fn contexts_hold_as_much_memory_as_they_report() {
    let payload = [b'x'; 300];
    for bits in 9..=15 {
        let line = format!("; server_max_window_bits={bits}; client_max_window_bits={bits}");
        let input = compressed(Role::Server, false, &Peer::new(1, bits).deflate(&[b'x'; 10_000]));
        let mut protocol = Protocol::new(compressed_config(Role::Server, &line));
        let mut deflated = Vec::with_capacity(1000);
        // What a message takes without a context. Before it is counted, the thread has the buffers that all connections
        // share.
        let mut alone = Protocol::new(compressed_config(Role::Server, NO_TAKEOVER));
        let receive = |protocol: &mut Protocol| {
            let mut input = input.clone();
            allocated_bytes(|| assert!(protocol.receive(&mut input).unwrap().event.is_some()))
        };
        let [_, of_message, bytes] = [receive(&mut alone), receive(&mut alone), receive(&mut protocol)];
        check_reported(bytes - of_message, protocol.held_bytes(), &format!("inflating with {bits} bits"));
        for level in [-2, 1, 9] {
            let config = DeflateConfig::default().level(CompressionLevel::new(level).unwrap());
            let new = || MessageDeflater::new(&config, &agreed(&line), Role::Server);
            assert!(new().deflate(&payload, &mut deflated));
            let mut deflater = new();
            let bytes = allocated_bytes(|| assert!(deflater.deflate(&payload, &mut deflated)));
            check_reported(bytes, deflater.held_bytes(), &format!("deflating with {bits} bits at level {level}"));
        }
        let params = agreed(&line);
        let most = params.context_bytes_max(Role::Server);
        assert!(most >= protocol.held_bytes() && most < 450_000, "{most}");
    }
}

fn check_reported(bytes: usize, reported: usize, what: &str) {
    let off_bytes = bytes.abs_diff(reported);
    assert!(off_bytes * 20 <= bytes, "{what}: {bytes} bytes were allocated, {reported} are reported");
}
