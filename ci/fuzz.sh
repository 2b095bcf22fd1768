#!/usr/bin/env bash
# Fuzzes the parsers and state machines, each target for some seconds, from the seeds in fuzz/corpus.
# usage: fuzz.sh [SECONDS] [TARGET...]     (default: 30 seconds, every target; 0 seconds runs the seeds alone)
# env: FUZZ_TOOLCHAIN (default nightly), FUZZ_SANITIZER (default address; none is faster),
#      FUZZ_JOBS (targets that run at a time; default: the number of processors)
# Exits with 1 after a crash, and says how to reproduce it; with 2 if the compiler or libFuzzer is missing.
# Inputs found are kept in the target folder, and the next run begins with them.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${FUZZ_TOOLCHAIN:-nightly}
sanitizer=${FUZZ_SANITIZER:-address}
seconds=${1:-30}
[[ "$seconds" =~ ^[0-9]+$ ]] || { echo "fuzz.sh: invalid number of seconds: $seconds" >&2; exit 2; }
shift $(($# > 0))
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(ls fuzz/fuzz_targets | sed 's/\.rs$//')
fi
for name in "${targets[@]}"; do
  [ -f "fuzz/fuzz_targets/$name.rs" ] || { echo "fuzz.sh: unknown target: $name" >&2; exit 2; }
done

missing() { echo "fuzz.sh: $1" >&2; exit 2; }

if ! cargo "+$toolchain" --version >/dev/null 2>&1; then
  rustup toolchain install "$toolchain" --profile minimal || missing "the toolchain $toolchain is missing, and rustup cannot install it"
fi
command -v c++ >/dev/null || missing "c++ not found; libFuzzer needs it: apt-get install g++"
folder=$(ci/target_folder.sh)/fuzz

# The flags of `cargo fuzz build`, which would have to be installed first. Overflow checks come with the assertions.
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1"
for option in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
  flags+=" -Cllvm-args=-sanitizer-coverage-$option"
done
flags+=" -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
[ "$sanitizer" = none ] || flags+=" -Zsanitizer=$sanitizer"
export ASAN_OPTIONS="detect_odr_violation=0:${ASAN_OPTIONS:-}"
RUSTFLAGS="$flags ${RUSTFLAGS:-}" CARGO_TARGET_DIR=$folder \
  cargo "+$toolchain" build --release --manifest-path fuzz/Cargo.toml --target "$host" "${targets[@]/#/--bin=}"

limit=(-max_total_time="$seconds")
[ "$seconds" -gt 0 ] || limit=(-runs=0)
# Runs one target and prints its outcome: one line, and after a crash how to reproduce it.
fuzz() { # TARGET
  local name=$1 log=$folder/$1.log binary=$folder/$host/release/$1 found=$folder/found/$1 artifacts=$folder/artifacts/$1/ input
  mkdir -p "$found" "$artifacts"
  touch "$log.start"
  if "$binary" "${limit[@]}" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$artifacts" "$found" "fuzz/corpus/$name" >"$log" 2>&1; then
    printf '%-20s passed: %s\n' "$name" "$(grep -a '^Done' "$log" || echo 'the seeds')"
    return
  fi
  printf '%-20s FAILED\n' "$name"
  grep -a -A 6 -E 'panicked at|ERROR: ' "$log" | cut -c 1-1000 | head -n 30
  while IFS= read -r input; do
    printf '\ninput (base64): %s\nreproduce: %s %s\nminimize:  %s -minimize_crash=1 -max_total_time=60 %s\n' \
      "$(base64 -w 0 "$input")" "$binary" "$input" "$binary" "$input"
  done < <(find "$artifacts" -type f -newer "$log.start")
  printf 'log: %s\n\n' "$log"
}

jobs=${FUZZ_JOBS:-$(nproc)}
for name in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  fuzz "$name" >"$folder/$name.outcome" &
done
wait
failed=()
for name in "${targets[@]}"; do
  cat "$folder/$name.outcome"
  grep -q "^$name *passed: " "$folder/$name.outcome" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz.sh: failed: ${failed[*]}" >&2; exit 1; }
