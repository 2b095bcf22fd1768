//! The state of connections that keep none: borrowed from their thread for one message at a time.
//!
//! What is borrowed comes back without context, to the thread where the message ends.

use std::cell::RefCell;

use super::deflater::Deflater;
use super::inflater::Inflater;
use super::{CompressionLevel, WindowBits};

/// Inflaters a thread keeps: one serves all messages that come whole, the others those that come in pieces meanwhile.
const INFLATERS_KEPT_MAX: usize = 4;

/// Deflaters a thread keeps, for as many different levels and windows.
const DEFLATERS_KEPT_MAX: usize = 4;

#[derive(Default)]
#[expect(clippy::vec_box, reason = "they move in and out: a pointer each")]
struct Pool {
    inflaters: Vec<Box<Inflater>>,
    deflaters: Vec<Box<Deflater>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// An inflater without context, for any window.
pub(crate) fn take_inflater() -> Box<Inflater> {
    let kept = POOL.try_with(|pool| pool.borrow_mut().inflaters.pop()).ok().flatten();
    // The largest window reads what was made with a smaller one.
    kept.unwrap_or_else(|| Box::new(Inflater::new(WindowBits::MAX)))
}

pub(crate) fn give_inflater(mut inflater: Box<Inflater>) {
    // An error means that the thread is ending.
    let _ = POOL.try_with(|pool| {
        let inflaters = &mut pool.borrow_mut().inflaters;
        if inflaters.len() < INFLATERS_KEPT_MAX && inflater.window() == WindowBits::MAX {
            inflater.reset();
            inflaters.push(inflater);
        }
    });
}

/// A deflater without context.
pub(crate) fn take_deflater(level: CompressionLevel, window: WindowBits) -> Box<Deflater> {
    let kept = POOL.try_with(|pool| {
        let deflaters = &mut pool.borrow_mut().deflaters;
        let index = deflaters.iter().rposition(|deflater| deflater.is_of(level, window))?;
        Some(deflaters.remove(index))
    });
    kept.ok().flatten().unwrap_or_else(|| Box::new(Deflater::new(level, window)))
}

pub(crate) fn give_deflater(mut deflater: Box<Deflater>) {
    // An error means that the thread is ending.
    let _ = POOL.try_with(|pool| {
        let deflaters = &mut pool.borrow_mut().deflaters;
        // What has not been used for the longest goes first.
        if deflaters.len() == DEFLATERS_KEPT_MAX {
            deflaters.remove(0);
        }
        deflater.reset();
        deflaters.push(deflater);
    });
}
