#!/usr/bin/env bash
# Sends thousands of requests (valid, odd, malformed, cut) to Tidegate on both engines, nginx and hyper. Every difference in what they mean
# must be listed in docs/conformance.md.  usage: differential.sh [CARGO-TEST-ARGUMENT...]
# nginx is installed if it is missing, as root on Debian only; without it this exits with 2.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/peers/debian.sh nginx=nginx
cargo test --package tidegate-ecosystem --features differential --test differential "$@"
