#!/usr/bin/env bash
# Counts instructions under callgrind and compares each count with its limit: single parts of Tidegate, then whole servers per
# message.  usage: instructions.sh [BENCHMARK-NAME-FILTER]     (a filter skips the servers)
# Needs valgrind. The first run installs the benchmark runner into the target folder.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || {
  echo "instructions.sh: valgrind not found; install it with: apt-get install valgrind" >&2
  exit 2
}
# The runner must have exactly the version of the library.
version=$(sed -n 's/^gungraun = { version = "=\([^"]*\)".*/\1/p' benches/Cargo.toml)
tools=$(ci/target_folder.sh)/gungraun
if ! grep -qs "^\"gungraun-runner $version " "$tools/.crates.toml"; then
  cargo install gungraun-runner --version "=$version" --locked --root "$tools" --target-dir "$tools/build"
fi

export GUNGRAUN_RUNNER=$tools/bin/gungraun-runner
status=0
cargo bench -p tidegate-benches --features instructions --bench instructions -- "$@" || status=1
[ $# -gt 0 ] || cargo bench -p tidegate-benches --features instructions --bench echo_instructions || status=1
exit "$status"
