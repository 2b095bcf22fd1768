#!/usr/bin/env bash
# The protocol crates' and the engine's unit tests under miri: undefined behaviour, leaks, and reliance on anything outside the inputs
# (isolation stays on: no clock, no files, no sockets).  usage: miri.sh [TEST-NAME-FILTER]
# env: MIRI_TOOLCHAIN (default nightly).  Tests that are too slow here or need the system say so with cfg(miri).
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
cargo "+$toolchain" miri --version >/dev/null 2>&1 || {
  echo "miri.sh: no miri here; get it with: rustup toolchain install $toolchain --component miri,rust-src" >&2
  exit 2
}
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-strict-provenance"
cargo "+$toolchain" miri test -p tidegate-http -p tidegate-websocket --lib -- "$@"
# The engine's parts without a system below them. The simulated worker is left out: miri's aliasing rules refuse
# self-referential futures behind async-task's thread check (`Pin::deref` of a wrapper), which is not ours to mend.
cargo "+$toolchain" miri test -p tidegate-engine --lib -- --skip worker::tests "$@"
