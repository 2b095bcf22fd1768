//! Small tools that know nothing of connections: locks, buffer reuse, a processor hint.

pub(crate) mod biased_lock;
pub(crate) mod buffer_pool;
pub(crate) mod prefetch;
pub(crate) mod sync;
