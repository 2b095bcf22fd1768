#!/usr/bin/env bash
# The echo example on each engine and placement beside the raw io_uring limit, under the load generator, in alternation.
# usage: bench.sh [OPTION-OF-COMPARE...]     (compare --help lists them; default: two rounds of two seconds, about 2 minutes)
# Needs Linux with io_uring and two cores with nothing else to do: servers run on core 0, the load on core 1.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- --rounds 2 --seconds 2
cargo build --release -p tidegate-benches --bins
cargo build --release --example echo
programs=$(ci/target_folder.sh)/release
echo_server="$programs/examples/echo --addr {addr} --workers 1"
"$programs/compare" --protocol ws --path /ws \
  --server "uring/inline=$echo_server --engine uring --handlers inline" \
  --server "uring/same-core=$echo_server --engine uring --handlers same-core" \
  --server "std=$echo_server --engine std" \
  "$@"
