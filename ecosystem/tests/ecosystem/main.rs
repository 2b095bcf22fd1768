//! Tests with the crates of the ecosystem, on every engine and placement.
//!
//! One program, so that each crate is linked once. The tests of PostgreSQL and Redis need their servers:
//! `ci/ecosystem.sh` starts both and sets `TEST_POSTGRES_URL` and `TEST_REDIS_URL`.

mod applications;
mod databases;
mod serve;
mod support;
mod testing;
mod tokio_in_handlers;
mod tower_layers;
mod tower_services;
mod websockets;
