//! Tidegate: a Linux io_uring thread-per-core HTTP/1.1 and WebSocket engine.
