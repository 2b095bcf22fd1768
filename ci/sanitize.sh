#!/usr/bin/env bash
# Runs the tests of the engine, of http and of WebSockets under AddressSanitizer and ThreadSanitizer.
# usage: sanitize.sh [--engine] [address|thread] [TEST-NAME-FILTER...]     (default: both, all tests)
# --engine runs the engine's tests alone: all unsafe code but a few lines, and all threads, are there. .ci/run runs some of these.
# env: SANITIZE_TOOLCHAIN (default nightly)
# Installs the toolchain and the standard library's source with rustup, and exits with 2 if it cannot.
# ci/sanitize/ lists the reports that are not faults of this project, with reasons.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${SANITIZE_TOOLCHAIN:-nightly}
sanitizers=(address thread)
engine_only=
if [ "${1:-}" = --engine ]; then
  engine_only=yes
  shift
fi
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

# All, except aws-lc-rs: it is the C code of others.
engine_features=futures,testing,tls,tokio
facade_features=files,futures,http-compression,json,testing,tls

# What each sanitizer needs is set by the environment. The standard library is built with it too, or its atomics and locks
# would be invisible to ThreadSanitizer. Tests panic on purpose, and a backtrace takes seconds.
run() { # SANITIZER CARGO-TEST-ARGUMENT...
  local sanitizer=$1
  shift
  RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=$sanitizer" CARGO_TARGET_DIR=$target/sanitize/$sanitizer \
    ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}" \
    LSAN_OPTIONS="suppressions=$suppressions/leak.suppressions:print_suppressions=0:${LSAN_OPTIONS:-}" \
    TSAN_OPTIONS="suppressions=$suppressions/thread.suppressions:halt_on_error=0:${TSAN_OPTIONS:-}" \
    RUST_TEST_THREADS=$threads RUST_BACKTRACE=0 \
    cargo "+$toolchain" test -Zbuild-std --target "$host" --no-fail-fast "$@"
}

# Not under ThreadSanitizer: the simulated worker, which has one thread; a signal that has to interrupt a wait, because the
# sanitizer delays signal handlers until a call that it knows, and a futex of the standard library is none; and compression,
# whose code has one thread and takes minutes.
skipped_of_thread=(--skip worker::tests --skip signals_end_a_server_whose_handler_holds_the_worker --skip compression::)

status=0
for sanitizer in "${sanitizers[@]}"; do
  start=$SECONDS
  result=passed
  skipped=()
  [ "$sanitizer" = address ] || skipped=("${skipped_of_thread[@]}")
  run "$sanitizer" -p tidegate-engine --features "$engine_features" --lib --tests -- "${skipped[@]}" "$@" || result=FAILED
  if [ -z "$engine_only" ]; then
    run "$sanitizer" -p tidegate-http -p tidegate-websocket --all-features --lib --tests -- "${skipped[@]}" "$@" || result=FAILED
    run "$sanitizer" -p tidegate --features "$facade_features" --test websocket --test testing -- "${skipped[@]}" "$@" || result=FAILED
  fi
  [ "$result" = passed ] || status=1
  printf 'sanitize.sh: %s %s (%d s)\n' "$sanitizer" "$result" $((SECONDS - start))
done
exit "$status"
