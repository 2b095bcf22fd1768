#!/usr/bin/env bash
# Checks the format of the Rust code, or formats it with --fix.  usage: fmt.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  '') options=(--check) ;;
  --fix) options=() ;;
  *) echo "usage: $0 [--fix]" >&2; exit 2 ;;
esac
# The fuzz targets are a workspace by themselves.
for manifest in Cargo.toml fuzz/Cargo.toml; do
  cargo fmt --all --manifest-path "$manifest" "${options[@]}"
done
