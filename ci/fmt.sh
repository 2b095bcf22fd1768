#!/usr/bin/env bash
# Checks the format of the Rust code, or formats it with --fix.  usage: fmt.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  '') cargo fmt --all -- --check ;;
  --fix) cargo fmt --all ;;
  *) echo "usage: $0 [--fix]" >&2; exit 2 ;;
esac
