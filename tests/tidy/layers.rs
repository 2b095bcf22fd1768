//! Which module of a crate may import which.
//!
//! A crate's modules stand in one order, from the public surface down to the parts that know nothing of the rest. A
//! module imports only modules below it. Inside a top-level folder everything may import everything.

/// The modules and folders directly below each crate's `src`, top first.
pub const LAYERS: &[(&str, &[&str])] = &[
    (
        "engine",
        &[
            "lib",
            "bench_support",
            "engine",
            "worker",
            "fanout",
            "spawn_local",
            "connect",
            "executor",
            "file",
            "connection",
            "time",
            "driver",
            "shared",
            "shutdown",
            "clock",
            "util",
            "stats",
            "config",
            "error",
            "address",
        ],
    ),
    (
        "http",
        &[
            "lib",
            "files",
            "compression",
            "tower",
            "server",
            "proxy",
            "client",
            "protocol",
            "sse",
            "extract",
            "message",
            "route_config",
            "limits",
            "content_coding",
            "media_types",
            "field",
            "causes",
            "error",
        ],
    ),
    (
        "websocket",
        &[
            "lib",
            "client",
            "serve",
            "hub",
            "ext",
            "conn",
            "protocol",
            "deflate",
            "handshake",
            "frame",
            "config",
            "error",
            "message",
            "close",
            "protocol_error",
            "usage_error",
            "close_code",
            "opcode",
            "reserved_bits",
            "role",
            "limits",
            "utf8",
            "buffer_pool",
            "sync",
        ],
    ),
];

/// Imports that point up: the crate, the importing module, the imported one, and the reason.
pub const CIRCLES: &[(&str, &str, &str, &str)] = &[(
    "engine",
    "shared",
    "fanout",
    "`Command::FanOut` holds the lane it is for; a trait object would add an indirection",
)];
