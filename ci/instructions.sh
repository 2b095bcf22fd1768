#!/usr/bin/env bash
# Counts instructions under callgrind and compares each count with its limit: of single parts of Tidegate, then of whole echo
# servers, a message.  usage: instructions.sh [BENCHMARK-NAME-FILTER]     (a filter leaves the servers out)
# Needs valgrind; the runner of the benchmarks is installed into the target folder at the first run.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || {
  echo "instructions.sh: no valgrind here; get it with: apt-get install valgrind" >&2
  exit 2
}
# The runner has to be of the very version of the library.
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
