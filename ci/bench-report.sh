#!/usr/bin/env bash
# Measures the whole matrix and writes docs/benchmarks: numbers, tables, plots, conditions. Takes about an hour.
# usage: bench-report.sh [OPTION-OF-BENCH...]     (bench --help lists them; --from docs/benchmarks/results.json measures nothing)
# Needs Linux with io_uring and two otherwise idle cores: servers run on core 0, the load on core 1.
set -euo pipefail
cd "$(dirname "$0")/.."

features=clients,peers,report,tls
# uWebSockets needs libraries that may be missing (benches/peers.md).
if pkg-config --exists libuv openssl zlib 2>/dev/null; then features=$features,peers-uwebsockets; benches/uws-load-test.sh; fi
cargo build --release -p tidegate-benches --features "$features" --bins
cargo build --release --example echo --example http
exec "$(ci/target_folder.sh)/release/bench" --report docs/benchmarks "$@"
