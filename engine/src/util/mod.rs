//! Small tools that know nothing of connections: locks, buffer reuse, mapped memory, a processor hint, waiting for one
//! future, structs of settings.

pub(crate) mod biased_lock;
pub(crate) mod block_on;
pub(crate) mod buffer_pool;
#[cfg(target_os = "linux")]
pub(crate) mod pages;
pub(crate) mod prefetch;
mod setters;
pub(crate) mod sync;
