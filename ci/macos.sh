#!/usr/bin/env bash
# Checks the types of the crates and examples for macOS, where the portable engine runs on kqueue: no warning is allowed.
# usage: macos.sh [OPTION-OF-CARGO-CHECK...]
# env: MACOS_TOOLCHAIN (default nightly).  Needs no Mac, no linker and no C compiler for it: the standard library is checked from its source,
# and the C code of dependencies (ring, zstd, SQLite) is left out. aws-lc-rs is not checked, because its build tests the compiler.
# Installs the toolchain and its source with rustup, and exits with 2 if it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${MACOS_TOOLCHAIN:-nightly}
if ! [ -d "$(rustc "+$toolchain" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ]; then
  rustup toolchain install "$toolchain" --profile minimal --component rust-src || {
    echo "macos.sh: the toolchain $toolchain with rust-src is missing, and rustup cannot install it" >&2
    exit 2
  }
fi
export RUSTFLAGS="${RUSTFLAGS:-} -D warnings"
# Checking types needs no objects: this compiler makes empty ones. The crate cc takes it for clang, by its name, if it refuses `-?`, which
# compilers with the options of MSVC accept.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/clang" <<'P'
#!/bin/sh
[ "$1" != "-?" ] || exit 1
while [ $# -gt 1 ]; do
  [ "$1" != -o ] || : >"$2"
  shift
done
P
chmod +x "$folder/clang"
export CC_x86_64_apple_darwin=$folder/clang CC_aarch64_apple_darwin=$folder/clang

features=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "tidegate":
        print(",".join(feature for feature in package["features"] if feature != "tls_aws_lc"))')
for target in x86_64-apple-darwin aarch64-apple-darwin; do
  cargo "+$toolchain" check -Zbuild-std --target "$target" -p tidegate --lib --examples --features "$features" "$@"
done
