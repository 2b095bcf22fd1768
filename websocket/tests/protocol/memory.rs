//! A peer's claims cost no memory, counted at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::common::{client, encode, header, server};
use tidegate_websocket::{
    Opcode,
    protocol::{Frame, Protocol, Role},
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

/// Returns the bytes allocated on this thread while `work` runs.
pub fn allocated_bytes(work: impl FnOnce()) -> usize {
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
    assert!(bytes <= 96, "{bytes} bytes are more than the state of an open message");
    let mut arrived = [0; 100];
    let bytes = allocated_bytes(|| {
        protocol.receive(&mut arrived).unwrap_err();
    });
    assert_eq!(bytes, 0, "invalid text is not stored");
}

#[test]
fn memory_grows_with_what_arrives() {
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
