#!/usr/bin/env bash
# Builds uWebSockets' load tester (its benchmarks/load_test.c) as `uws-load-test` in the folder of release programs, from the sources that
# come with the crate libuwebsockets-sys.  usage: uws-load-test.sh
# Two things are changed: it asks for /ws in place of /, and its output is not held back in a pipe. Needs gcc.
set -euo pipefail
cd "$(dirname "$0")/.."

manifest=$(cargo metadata --format-version 1 --manifest-path benches/Cargo.toml --features peers-uwebsockets |
  grep -o '"manifest_path":"[^"]*/libuwebsockets-sys-[^"]*"' | head -n 1 | cut -d '"' -f 4)
[ -n "$manifest" ] || { echo "uws-load-test.sh: the crate libuwebsockets-sys is missing" >&2; exit 1; }
source=${manifest%/*}/uWebSockets
folder=$(ci/target_folder.sh)/release
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

sed -e 's#"GET / HTTP#"GET /ws HTTP#' -e 's/^int main(.*{$/&\n    setvbuf(stdout, NULL, _IOLBF, 0);/' \
  "$source/benchmarks/load_test.c" >"$build/load_test.c"
mkdir -p "$folder"
gcc -std=gnu11 -O3 -flto -w -DLIBUS_NO_SSL -I"$source/uSockets/src" -o "$folder/uws-load-test" \
  "$build/load_test.c" "$source"/uSockets/src/*.c "$source"/uSockets/src/eventing/*.c
