#!/usr/bin/env bash
# Runs clippy on every target and feature and builds the documentation; warnings are errors.  usage: lint.sh [--peers]
#
# The peers of the benchmarks are left out, because they take some 250 crates. With --peers only they are checked. The tests with the
# crates of the ecosystem are checked by ci/ecosystem.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == --peers ]]; then
    exec cargo clippy --package tidegate-benches --features peers --bin peers -- -D warnings
fi

# Every feature of the benches except the peers, read from their manifest.
features=$(sed -n '/^\[features\]/,/^\[[^f]/s/^\([a-z0-9_-]*\) = .*/\1/p' benches/Cargo.toml | { grep -v '^peer' || true; } | paste -sd, -)

export RUSTDOCFLAGS="-D warnings"
cargo clippy --workspace --exclude tidegate-benches --exclude tidegate-ecosystem --all-targets --all-features -- -D warnings
# Compression is a default feature: the WebSocket crate must also build without it.
cargo clippy --package tidegate-websocket --no-default-features --all-targets -- -D warnings
cargo clippy --package tidegate-benches --all-targets --features "$features" -- -D warnings
cargo doc --workspace --exclude tidegate-benches --exclude tidegate-ecosystem --all-features --no-deps
cargo doc --package tidegate-benches --features "$features" --no-deps
