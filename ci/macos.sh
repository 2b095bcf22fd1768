#!/usr/bin/env bash
# Checks the types of the crates and examples for macOS, where the portable engine runs on kqueue: no warning is allowed.
# usage: macos.sh [OPTION-OF-CARGO-CHECK...]
# env: MACOS_TOOLCHAIN (default nightly).  Needs no Mac and no linker: the standard library is checked from its source.
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
for target in x86_64-apple-darwin aarch64-apple-darwin; do
  cargo "+$toolchain" check -Zbuild-std --target "$target" --lib --examples --all-features \
    -p tidegate-engine -p tidegate-http -p tidegate-websocket -p tidegate "$@"
done
