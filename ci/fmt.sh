#!/usr/bin/env bash
# Is the Rust code formatted?  usage: fmt.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  '') cargo fmt --all -- --check ;;
  --fix) cargo fmt --all ;;
  *) echo "usage: $0 [--fix]" >&2; exit 2 ;;
esac
