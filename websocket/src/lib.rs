//! Sans-I/O WebSocket (RFC 6455) and the Tidegate WebSocket connection.
