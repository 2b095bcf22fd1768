#!/usr/bin/env bash
# Runs clippy on every target and feature and builds the documentation; warnings are errors.  usage: lint.sh [--peers]
#
# The peers of the benchmarks are left out, because they take some 250 crates. With --peers only they are checked.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == --peers ]]; then
    exec cargo clippy --package tidegate-benches --features peers --bin peers -- -D warnings
fi

# Every feature of every package, except the peers and the tests of the ecosystem. Together, so that nothing is checked twice.
features=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    for feature in package["features"]:
        if package["name"] != "tidegate-ecosystem" and not feature.startswith("peer"):
            print("%s/%s" % (package["name"], feature), end=",")')

export RUSTDOCFLAGS="-D warnings"
cargo clippy --workspace --all-targets --features "${features}tidegate-ecosystem/differential" -- -D warnings
# Compression is a default feature: the WebSocket crate must also build without it.
cargo clippy --package tidegate-websocket --no-default-features --all-targets -- -D warnings
cargo doc --workspace --exclude tidegate-ecosystem --features "${features%,}" --no-deps
