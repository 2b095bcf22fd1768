#!/usr/bin/env bash
# Runs the unit tests of the protocol crates and the engine under miri, which finds undefined behaviour, leaks and reliance on anything
# but the inputs (isolation stays on: no clock, no files, no sockets).  usage: miri.sh [TEST-NAME-FILTER]
# env: MIRI_TOOLCHAIN (default nightly).  Tests that are too slow here or need the system are excluded with cfg(miri).
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
cargo "+$toolchain" miri --version >/dev/null 2>&1 || {
  echo "miri.sh: miri not found; install it with: rustup toolchain install $toolchain --component miri,rust-src" >&2
  exit 2
}
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-strict-provenance"
cargo "+$toolchain" miri test -p tidegate-http -p tidegate-websocket --lib -- "$@"
# The engine's parts without system calls. The simulated worker is left out: miri's aliasing rules reject
# self-referential futures behind async-task's thread check (`Pin::deref` of a wrapper), which only async-task can fix.
cargo "+$toolchain" miri test -p tidegate-engine --lib -- --skip worker::tests "$@"
