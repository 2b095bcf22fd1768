#!/usr/bin/env bash
# Runs the tests of the engine, of http and of WebSockets under AddressSanitizer and ThreadSanitizer.
# usage: sanitize.sh [address|thread] [TEST-NAME-FILTER]     (default: both, all tests)
# env: SANITIZE_TOOLCHAIN (default nightly)
# Installs the toolchain and the standard library's source with rustup, and exits with 2 if it cannot.
# ci/sanitize/ lists the reports that are not faults of this project, with reasons.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${SANITIZE_TOOLCHAIN:-nightly}
sanitizers=(address thread)
case "${1:-}" in
  address | thread) sanitizers=("$1"); shift ;;
esac

source=$(rustc "+$toolchain" --print sysroot 2>/dev/null || true)/lib/rustlib/src/rust/library
if [ ! -d "$source" ]; then
  rustup toolchain install "$toolchain" --profile minimal --component rust-src || {
    echo "sanitize.sh: the toolchain $toolchain with rust-src is missing, and rustup cannot install it" >&2
    exit 2
  }
fi
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
target=$(ci/target_folder.sh)
suppressions=$PWD/ci/sanitize
# A test runs several times slower, so fewer run at once.
threads=${RUST_TEST_THREADS:-$(nproc)}

# What each sanitizer needs is set by the environment. The standard library is built with it too, or its atomics and locks
# would be invisible to ThreadSanitizer.
run() { # SANITIZER CARGO-TEST-ARGUMENT...
  local sanitizer=$1
  shift
  RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=$sanitizer" CARGO_TARGET_DIR=$target/sanitize/$sanitizer \
    ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}" \
    LSAN_OPTIONS="suppressions=$suppressions/leak.suppressions:print_suppressions=0:${LSAN_OPTIONS:-}" \
    TSAN_OPTIONS="suppressions=$suppressions/thread.suppressions:halt_on_error=0:${TSAN_OPTIONS:-}" \
    RUST_TEST_THREADS=$threads \
    cargo "+$toolchain" test -Zbuild-std --target "$host" --no-fail-fast "$@"
}

status=0
for sanitizer in "${sanitizers[@]}"; do
  start=$SECONDS
  result=passed
  # The simulated worker has one thread, and no races.
  skipped=()
  [ "$sanitizer" = address ] || skipped=(--skip worker::tests)
  run "$sanitizer" -p tidegate-engine -p tidegate-http -p tidegate-websocket --lib --tests -- "${skipped[@]}" "$@" || result=FAILED
  run "$sanitizer" -p tidegate --test websocket -- "$@" || result=FAILED
  [ "$result" = passed ] || status=1
  printf 'sanitize.sh: %s %s (%d s)\n' "$sanitizer" "$result" $((SECONDS - start))
done
exit "$status"
