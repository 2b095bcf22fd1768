#!/usr/bin/env bash
# Changes the code of the protocol files in small ways, one at a time, and runs the tests of the crate. A change that no test
# notices (a survivor) is a missing test, or makes no difference, which .cargo/mutants.toml then argues.
# usage: mutants.sh [FILE...]     (default: every file listed here, which takes hours)
# env: MUTANTS_JOBS (default: half of the processors), MUTANTS_SHARD (such as 0/4: the first of four parts)
# Exits with 1 if a change survived. The lists are in mutants.out in the target folder.
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_MUTANTS_VERSION=27.1.0
# Mistakes in these files are within reach of a peer: parsers, state machines, and what bounds memory and time.
FILES=(
  http/src/field.rs
  http/src/message/head_memory.rs
  http/src/protocol
  engine/src/shared/inbound.rs
  engine/src/shared/outbound
  engine/src/shared/send_batch.rs
  engine/src/shared/waiters.rs
  engine/src/shared/memory.rs
  engine/src/connection/gathering.rs
  engine/src/clock/wheel.rs
  websocket/src/close
  websocket/src/deflate/negotiate.rs
  websocket/src/frame
  websocket/src/handshake
  websocket/src/protocol
  websocket/src/utf8
)
[ $# -eq 0 ] || FILES=("$@")

arguments=()
for file in "${FILES[@]}"; do
  # A file that has moved would be passed over in silence.
  [ -e "$file" ] || { echo "mutants.sh: no such file: $file" >&2; exit 2; }
  if [ -d "$file" ]; then file="$file/**/*.rs"; fi
  arguments+=(--file "$file")
done
[ -z "${MUTANTS_SHARD:-}" ] || arguments+=(--shard "$MUTANTS_SHARD")

target=$(ci/target_folder.sh)
tools=$target/mutants
if ! grep -qs "^\"cargo-mutants $CARGO_MUTANTS_VERSION " "$tools/.crates.toml"; then
  cargo install cargo-mutants --version "=$CARGO_MUTANTS_VERSION" --locked --root "$tools" --target-dir "$tools/build"
fi
mkdir -p "$tools/copies"

# Without debug information the test programs are linked in half of the time.
unset CARGO_TARGET_DIR
TMPDIR=$tools/copies CARGO_PROFILE_DEV_DEBUG=0 "$tools/bin/cargo-mutants" mutants --workspace --output "$target" \
  --jobs "${MUTANTS_JOBS:-$((($(nproc) + 1) / 2))}" "${arguments[@]}"
