#!/usr/bin/env bash
# Runs all tests, except those with the crates of the ecosystem (ci/ecosystem.sh).  usage: test.sh [CARGO-TEST-ARGUMENT...]
# The first run of the interoperability tests installs their peers (tests/peers/install.sh): chromium, proxies and tools only as root on
# Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

# Many tests wait for time to pass, so more of them run at once than there are processors.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}
# With the compile errors of layers, which need the feature `tower`.
packages=(--workspace --exclude tidegate-ecosystem --features tidegate/tower)
# Tests that run examples build them, for which cargo would compile the crates once more, with the features of one package.
cargo build "${packages[@]}" --examples
EXAMPLES_ARE_BUILT=yes cargo test "${packages[@]}" "$@"
