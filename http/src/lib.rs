//! Strict sans-I/O HTTP/1.1 and the Tidegate HTTP server.
