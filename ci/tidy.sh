#!/usr/bin/env bash
# The house rules that no compiler checks: file lengths, words, where `unsafe` may stand, which crate knows which.
# They are a test, tests/tidy/; this runs it alone.  usage: tidy.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --quiet --test tidy
