#!/usr/bin/env bash
# Runs all tests, except those with the crates of the ecosystem (ci/ecosystem.sh).  usage: test.sh [CARGO-TEST-ARGUMENT...]
# The first run of the interoperability tests installs their peers (tests/peers/install.sh): chromium, proxies and tools only as root on
# Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --workspace --exclude tidegate-ecosystem "$@"
