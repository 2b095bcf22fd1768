#!/usr/bin/env bash
# Measures one axum application on hyper and on Tidegate: processor time per request, and the memory of idle connections.
# usage: bench-axum.sh [SECONDS [ROUNDS]]     (default 2 3; about 3 minutes)
# The server has core 0 and one thread per role; the load (wrk) has core 1. The best of the rounds is printed.
# Needs Linux, two otherwise idle cores, python3, 10,000 open files per process, and wrk, which it installs as root on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/peers/debian.sh wrk=wrk
cargo build --release -p tidegate-ecosystem --example routes
exec python3 ci/bench_axum.py "$(ci/target_folder.sh)/release/examples/routes" "${1:-2}" "${2:-3}"
