#!/usr/bin/env bash
# Builds the facade's documentation as docs.rs does, and checks that what a feature adds is labelled there.  usage: docs.sh
# Needs a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(ci/target_folder.sh)/docs
flags="--cfg tidegate_docs"
RUSTFLAGS=$flags RUSTDOCFLAGS="$flags -D warnings" cargo +nightly doc --package tidegate --all-features --no-deps --target-dir "$target"

status=0
for label in struct.WindowBits:compression struct.TextRoutes:json struct.MessageSink:futures struct.WebSocket:json; do
  page=${label%:*} feature=${label#*:}
  if ! grep -q "Available on <strong>crate feature <code>$feature</code>" "$target/doc/tidegate/websocket/$page.html"; then
    echo "docs.sh: nothing on the page of $page is labelled with the feature $feature" >&2
    status=1
  fi
done
exit "$status"
