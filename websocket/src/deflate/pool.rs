//! Compressors and decompressors that connections without context takeover borrow from their thread for one message.
//!
//! They are returned to the thread where the message ends, and lose their context there or when they are taken.

use std::cell::RefCell;

use super::deflater::Deflater;
use super::inflater::Inflater;
use super::{CompressionLevel, WindowBits};

/// Maximum inflaters of a thread: one serves all messages that arrive whole, the others those that arrive in pieces.
const INFLATERS_MAX: usize = 4;

/// Maximum deflaters of a thread, for as many different levels and windows.
const DEFLATERS_MAX: usize = 4;

#[derive(Default)]
#[expect(clippy::vec_box, reason = "they move in and out: a pointer each")]
struct Pool {
    inflaters: Vec<Box<Inflater>>,
    deflaters: Vec<Box<Deflater>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// Takes an inflater without context, for any window.
pub(crate) fn take_inflater() -> Box<Inflater> {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().inflaters.pop()).ok().flatten();
    // The largest window also reads messages of smaller ones.
    pooled.unwrap_or_else(|| Box::new(Inflater::new(WindowBits::MAX)))
}

pub(crate) fn return_inflater(mut inflater: Box<Inflater>) {
    // An error means that the thread is ending.
    let _ = POOL.try_with(|pool| {
        let inflaters = &mut pool.borrow_mut().inflaters;
        if inflaters.len() < INFLATERS_MAX && inflater.window() == WindowBits::MAX {
            inflater.reset();
            inflaters.push(inflater);
        }
    });
}

/// Takes a deflater without context, for a message of `payload_bytes`.
pub(crate) fn take_deflater(level: CompressionLevel, window: WindowBits, payload_bytes: usize) -> Box<Deflater> {
    let pooled = POOL.try_with(|pool| {
        let deflaters = &mut pool.borrow_mut().deflaters;
        let index = deflaters.iter().rposition(|deflater| deflater.is_of(level, window))?;
        Some(deflaters.remove(index))
    });
    let mut deflater = pooled.ok().flatten().unwrap_or_else(|| Box::new(Deflater::new(level, window)));
    deflater.reset_for(payload_bytes);
    deflater
}

pub(crate) fn return_deflater(deflater: Box<Deflater>) {
    // An error means that the thread is ending.
    let _ = POOL.try_with(|pool| {
        let deflaters = &mut pool.borrow_mut().deflaters;
        // The least recently used one goes first.
        if deflaters.len() == DEFLATERS_MAX {
            deflaters.remove(0);
        }
        deflaters.push(deflater);
    });
}
