#!/usr/bin/env bash
# All tests.  usage: test.sh [CARGO-TEST-ARGUMENT...]
# The interoperability tests install their peers (tests/peers/install.sh) at the first run; chromium only as root on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --workspace "$@"
