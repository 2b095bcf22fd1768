#!/usr/bin/env bash
# Checks the rules that no compiler checks: file lengths, words, places of `unsafe`, dependencies between the crates.
# They are the test tests/tidy/, which this runs alone.  usage: tidy.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --quiet --test tidy
