//! What a peer claims costs no memory: counted at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::common::{client, encode, header, server};
use crate::deflate::{Peer, agreed, compressed, compressed_config};
use tidegate_websocket::{
    CompressionLevel, DeflateConfig, Frame, MessageDeflater, Opcode, Protocol, ProtocolError, Role,
};

struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; counting touches a thread-local without destructor, which neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.set(ALLOCATED_BYTES.get() + layout.size());
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by way of `alloc`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated on this thread while `work` runs.
fn allocated_bytes(work: impl FnOnce()) -> usize {
    let before = ALLOCATED_BYTES.get();
    work();
    ALLOCATED_BYTES.get() - before
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut protocol = Protocol::new(server());
    let mut claim = header(Role::Server, true, Opcode::Text, 64 << 20);
    let bytes = allocated_bytes(|| {
        protocol.receive(&mut claim).unwrap();
    });
    assert_eq!(bytes, 0);
    let mut arrived = [0; 100];
    let bytes = allocated_bytes(|| {
        protocol.receive(&mut arrived).unwrap_err();
    });
    assert_eq!(bytes, 0, "bad text is not kept");
}

#[test]
fn memory_follows_arrival() {
    let mut protocol = Protocol::new(client());
    let mut claim = header(Role::Client, true, Opcode::Binary, 64 << 20);
    protocol.receive(&mut claim).unwrap();
    let mut arrived = [0; 1000];
    let bytes = allocated_bytes(|| {
        protocol.receive(&mut arrived).unwrap();
    });
    assert_eq!(bytes, 2000);
}

#[test]
fn messages_and_control_frames_that_come_whole_allocate_nothing() {
    let mut input = [
        encode(Role::Server, Frame::text("small")),
        encode(Role::Server, Frame::binary(&[5; 2000])),
        encode(Role::Server, Frame::ping(b"ping").unwrap()),
        encode(Role::Server, Frame::pong(b"").unwrap()),
    ]
    .concat();
    let mut protocol = Protocol::new(server());
    let mut events = 0;
    let bytes = allocated_bytes(|| {
        let mut rest = &mut input[..];
        while !rest.is_empty() {
            let progress = protocol.receive(rest).unwrap();
            events += usize::from(progress.event.is_some());
            rest = &mut rest[progress.consumed..];
        }
    });
    assert_eq!((events, bytes), (4, 0));
}

#[test]
fn what_is_inflated_takes_no_memory_beyond_the_limit() {
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
    // Grown by doubling, all that was allocated is twice what is held at the end, which is at most twice the limit.
    assert!(bytes < 5 << 20, "{bytes} bytes");
}

#[test]
fn the_memory_of_a_context_is_what_is_said_of_it() {
    let payload = [b'x'; 300];
    for bits in 9..=15 {
        let line = format!("; server_max_window_bits={bits}; client_max_window_bits={bits}");
        let mut input = compressed(Role::Server, false, &Peer::new(1, bits).deflate(&payload));
        let mut protocol = Protocol::new(compressed_config(Role::Server, &line));
        let mut deflated = Vec::with_capacity(1000);
        // What the thread keeps for all connections is there from now on.
        let mut warm = Protocol::new(compressed_config(Role::Server, &line));
        warm.receive(&mut input.clone()).unwrap();
        let bytes = allocated_bytes(|| assert!(protocol.receive(&mut input).unwrap().event.is_some()));
        check_said(bytes, protocol.held_bytes(), &format!("inflating with {bits} bits"));
        for level in [-2, 1, 9] {
            let mut config = DeflateConfig::default();
            config.level = CompressionLevel::new(level).unwrap();
            let new = || MessageDeflater::new(&config, &agreed(&line), Role::Server);
            assert!(new().deflate(&payload, &mut deflated));
            let mut deflater = new();
            let bytes = allocated_bytes(|| assert!(deflater.deflate(&payload, &mut deflated)));
            check_said(bytes, deflater.held_bytes(), &format!("deflating with {bits} bits at level {level}"));
        }
        let params = agreed(&line);
        let most = params.context_bytes_max(Role::Server);
        assert!(most >= protocol.held_bytes() && most < 450_000, "{most}");
    }
}

fn check_said(bytes: usize, said: usize, what: &str) {
    let off_bytes = bytes.abs_diff(said);
    assert!(off_bytes * 20 <= bytes, "{what}: {bytes} bytes were allocated, {said} are said");
}
