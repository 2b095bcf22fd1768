//! Small tools that know nothing of connections: locks, tasks, buffer reuse, mapped memory, tables that grow in pieces,
//! drops whose panics are contained, threads for files, flags, a processor hint, structs of settings.

pub(crate) mod biased_lock;
pub(crate) mod buffer_pool;
pub(crate) mod contained;
pub(crate) mod file_pool;
pub(crate) mod flags;
pub(crate) mod pages;
pub(crate) mod pieces;
pub(crate) mod prefetch;
mod raw_lock;
mod setters;
pub(crate) mod slab;
pub(crate) mod sync;
pub(crate) mod task;
