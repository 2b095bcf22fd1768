#!/usr/bin/env bash
# Runs the unit tests of the protocol crates and the engine under miri, which finds undefined behaviour, leaks and reliance on anything
# but the inputs (isolation stays on: no clock, no files, no sockets).  usage: miri.sh [TEST-NAME-FILTER]
# env: MIRI_TOOLCHAIN (default nightly).  Tests that need the system are excluded with cfg(miri), and the slowest inputs bounded.
# Installs the toolchain and miri with rustup, and exits with 2 if it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
if ! cargo "+$toolchain" miri --version >/dev/null 2>&1; then
  rustup toolchain install "$toolchain" --profile minimal --component miri,rust-src || {
    echo "miri.sh: the toolchain $toolchain with miri and rust-src is missing, and rustup cannot install it" >&2
    exit 2
  }
fi
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-strict-provenance"
cargo "+$toolchain" miri test -p tidegate-http -p tidegate-websocket --lib -- "$@"
# The engine's parts without system calls. The simulated worker is left out: miri's aliasing rules reject
# self-referential futures behind async-task's thread check (`Pin::deref` of a wrapper), which only async-task can fix.
cargo "+$toolchain" miri test -p tidegate-engine --lib -- --skip worker::tests "$@"
