#!/usr/bin/env bash
# The engine's queues and wakes under loom: every interleaving, up to loom's bounds.  usage: loom.sh [TEST-NAME-FILTER]
# env: LOOM_MAX_PREEMPTIONS (default 3: more finds no more in practice and takes hours)
set -euo pipefail
cd "$(dirname "$0")/.."

export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3}
# A target folder of its own: another RUSTFLAGS would rebuild everything in the shared one, and back again.
target=$(ci/target_folder.sh)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR=$target/loom \
  cargo test -p tidegate-engine --release --lib "${1:-loom}" | tee "$log"
grep -q '^running [1-9]' "$log" || { echo "loom.sh: no loom test matched" >&2; exit 1; }
