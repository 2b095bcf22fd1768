#!/usr/bin/env bash
# Runs the engine's black-box tests in threads where a system-call filter forbids io_uring, as in many containers, through EngineKind::Auto.
# usage: without-io-uring.sh [TEST-NAME-FILTER]      Needs Linux with seccomp.
set -euo pipefail
cd "$(dirname "$0")/.."

TIDEGATE_TEST_FORBIDS_IO_URING=1 cargo test -p tidegate-engine --test engine -- "$@"
