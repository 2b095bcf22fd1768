//! Readings of memory, and how they are printed.

use std::io;
use std::time::Duration;

use tidegate::engine::Running;
use tidegate_benches::heap::{Allocator, Counts};
use tidegate_benches::idle::memory::{self, Kernel};
use tidegate_benches::outln;

use crate::HEAP;

/// The most kinds of blocks and of kernel objects that are printed.
const KINDS_MAX: usize = 10;

/// The memory in use at one time, in bytes.
pub struct Reading {
    /// Resident anonymous memory of this process.
    user: u64,
    /// The part of it that is the receive buffers of rings.
    buffers: u64,
    heap: Counts,
    allocator: Allocator,
    /// Memory of the kernel, for the whole system.
    kernel: Kernel,
    slabs: Vec<(String, u64)>,
    /// Memory that is left, on the whole system.
    available: u64,
}

impl Reading {
    pub fn now() -> io::Result<Self> {
        Ok(Self {
            heap: HEAP.counts(),
            allocator: Allocator::now(),
            user: memory::user(std::process::id())?,
            buffers: memory::huge_page_areas(std::process::id())?,
            kernel: Kernel::now()?,
            slabs: memory::slabs(),
            available: memory::available()?,
        })
    }

    /// Reads once the memory that is left has settled.
    pub fn settled() -> io::Result<Self> {
        memory::settled(memory::available, |left| *left)?;
        Self::now()
    }
}

/// Differences between two readings, for each of `count` things.
struct Growth<'a> {
    count: u64,
    before: &'a Reading,
    after: &'a Reading,
}

impl Growth<'_> {
    fn of(&self, part: impl Fn(&Reading) -> u64) -> i64 {
        self.each(part(self.after) as i64 - part(self.before) as i64)
    }

    fn each(&self, bytes: i64) -> i64 {
        bytes / self.count.max(1) as i64
    }
}

/// Prints what the workers cost before there is any connection.
pub fn workers(running: &Running, time: Duration, before: &Reading, after: &Reading) {
    let count = running.stats().len() as u64;
    let growth = Growth { count, before, after };
    let (user, all) = (growth.of(|reading| reading.user), -growth.of(|reading| reading.available));
    outln!(
        "{count} workers started in {:.2} s: {} KiB of user memory and {} KiB of kernel memory each, of which stacks {} KiB",
        time.as_secs_f64(),
        user / 1024,
        (all - user) / 1024,
        growth.of(|reading| reading.kernel.stacks) / 1024
    );
}

/// Prints the bytes that a connection costs.
pub fn memory(when: &str, connections: u64, before: &Reading, after: &Reading) {
    let growth = Growth { count: connections, before, after };
    outln!(
        "{connections} WebSockets {when}: {} user bytes each, {} kernel bytes each (both ends), {} of the machine's",
        growth.of(|reading| reading.user),
        growth.of(|reading| reading.kernel.total()),
        -growth.of(|reading| reading.available)
    );
}

/// Prints what the bytes of a connection consist of.
pub fn parts(running: &Running, connections: u64, before: &Reading, after: &Reading) {
    let growth = Growth { count: connections, before, after };
    let heap = after.heap.since(&before.heap);
    let (blocks, tables) = (heap.counted_bytes(), heap.large_bytes);
    let headers = after.allocator.used as i64 - before.allocator.used as i64 - blocks - tables;
    let buffers = after.buffers as i64 - before.buffers as i64;
    let rest = after.user as i64 - before.user as i64 - blocks - headers - buffers;
    outln!(
        "  user bytes each: blocks {}, their headers {}, receive buffers {} ({} KiB per worker), tables, stacks and free \
         memory {} (tables reserve {})",
        growth.each(blocks),
        growth.each(headers),
        growth.each(buffers),
        after.buffers / 1024 / running.stats().len().max(1) as u64,
        growth.each(rest),
        growth.each(tables)
    );
    let kinds = heap.blocks().into_iter().filter(|(_, count)| *count as u64 * 20 > connections);
    let kinds: Vec<_> = kinds
        .take(KINDS_MAX)
        .map(|(bytes, count)| format!("{bytes} x {:.2}", count as f64 / connections.max(1) as f64))
        .collect();
    outln!("  blocks each: {}", kinds.join(", "));
    outln!(
        "  kernel bytes each: slabs {}, per core {}, socket buffers {}, page tables {}",
        growth.of(|reading| reading.kernel.slab),
        growth.of(|reading| reading.kernel.percpu),
        growth.of(|reading| reading.kernel.sockets),
        growth.of(|reading| reading.kernel.page_tables)
    );
    let mut slabs: Vec<_> = after
        .slabs
        .iter()
        .map(|(name, bytes)| {
            let earlier = before.slabs.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes);
            (growth.each(*bytes as i64 - earlier as i64), name)
        })
        .filter(|(bytes, _)| *bytes > 0)
        .collect();
    slabs.sort_unstable_by(|one, other| other.cmp(one));
    let slabs: Vec<_> = slabs.iter().take(KINDS_MAX).map(|(bytes, name)| format!("{name} {bytes}")).collect();
    match slabs.is_empty() {
        true => outln!("  the kernel's slabs cannot be read (/proc/slabinfo needs root)"),
        false => outln!("  kernel bytes each by slab: {}", slabs.join(", ")),
    }
}
