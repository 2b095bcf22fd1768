#!/usr/bin/env bash
# Builds the facade's documentation as docs.rs does, and checks that what a feature adds is labelled there.  usage: docs.sh
# Needs a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(ci/target_folder.sh)/docs
flags="--cfg tidegate_docs"
RUSTFLAGS=$flags RUSTDOCFLAGS="$flags -D warnings" cargo +nightly doc --package tidegate --all-features --no-deps --target-dir "$target"

status=0
for page in WindowBits:compression TextRoutes:json MessageSink:futures; do
  file=$target/doc/tidegate/websocket/struct.${page%:*}.html
  if ! grep -q "crate feature <strong>${page#*:}</strong>\|crate feature.*<code>${page#*:}</code>" "$file"; then
    echo "docs.sh: ${page%:*} is not labelled with the feature ${page#*:}" >&2
    status=1
  fi
done
exit "$status"
