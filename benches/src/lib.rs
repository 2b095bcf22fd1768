//! Shared parts of the Tidegate benchmarks. The programs in `src/bin` are thin shells over these modules.
//!
//! The limits (the raw servers `raw-uring` and `raw-epoll`) and the load generator (`load`) use the kernel directly and
//! none of the Tidegate crates, so their results do not move when Tidegate does. `bench` runs the matrix of servers and
//! cases and writes the report.
//!
//! Everything here measures on one machine over loopback. It is neither a client nor a server library.

pub mod args;
pub mod broadcast;
pub mod buffers;
pub mod churn;
pub mod compressed;
pub mod config;
pub mod cores;
pub mod cpu;
pub mod deflate;
pub mod echo;
pub mod error;
pub mod exchange;
pub mod files;
pub mod fleet;
pub mod handshake;
pub mod heap;
pub mod histogram;
pub mod http;
pub mod idle;
pub mod load;
pub mod matrix;
pub mod measure;
pub mod output;
pub mod payload;
pub mod replies;
pub mod report;
pub mod requests;
pub mod ring;
pub mod script;
pub mod setup;
pub mod socket;
