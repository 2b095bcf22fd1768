//! Small tools without knowledge of connections: locks, memory that is used again, a processor hint.

pub(crate) mod biased_lock;
pub(crate) mod buffer_pool;
pub(crate) mod prefetch;
pub(crate) mod sync;
