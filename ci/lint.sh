#!/usr/bin/env bash
# clippy over every target and feature, then the documentation; a warning of either is an error.  usage: lint.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo clippy --workspace --all-targets --all-features -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps
