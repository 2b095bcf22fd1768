//! Per-core io_uring rings (with a std-sockets fallback) that own sockets and hand handlers bounded byte streams.
