#!/usr/bin/env bash
# Runs the matrix of servers and cases, with the peers that are already built.
# usage: bench.sh [OPTION-OF-BENCH...]     (bench --help lists them; default: the echo cases of Tidegate and the limits, about 2 minutes)
# Needs Linux with io_uring and two otherwise idle cores: servers run on core 0, the load on core 1.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- --short --rounds 2 --seconds 1 --only echo --server raw-uring,raw-epoll,inline,same-core,events,portable,portable-same-core,portable-events
cargo build --release -p tidegate-benches --bins
cargo build --release --example echo --example http
exec "$(ci/target_folder.sh)/release/bench" "$@"
