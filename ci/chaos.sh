#!/usr/bin/env bash
# Attacks a server on every engine and placement, in processes of its own: kills clients, floods, bombs, and SIGTERM under load.
# Afterwards every count must be equal and memory flat. docs/reliability.md shows what it measured. Not part of .ci/run.
# usage: chaos.sh [--seconds N] [--engine ENGINE] [--handlers PLACEMENT] [--seed N]     (default: 600 seconds for everything)
# Exits with 1 after a fault. Each is printed, with the seed of its round.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release -p tidegate-benches --features chaos --bin chaos
exec "$(ci/target_folder.sh)/release/chaos" "$@"
