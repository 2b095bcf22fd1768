#!/usr/bin/env bash
# Tests the engine's queues and wakes under loom: every interleaving within loom's bounds.  usage: loom.sh [TEST-NAME-FILTER]
# env: LOOM_MAX_PREEMPTIONS (default 3; in practice more finds nothing new and takes hours)
set -euo pipefail
cd "$(dirname "$0")/.."

export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3}
# A separate target folder: in the shared one, the other RUSTFLAGS would rebuild everything in every run.
target=$(ci/target_folder.sh)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR=$target/loom \
  cargo test -p tidegate-engine --release --lib "${1:-loom}" | tee "$log"
grep -q '^running [1-9]' "$log" || { echo "loom.sh: no loom test matched" >&2; exit 1; }
