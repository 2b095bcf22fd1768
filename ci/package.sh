#!/usr/bin/env bash
# Are the four crates ready to publish? A dry run builds each from its package; README and both licences must be in it.
# Any warning is an error.  usage: package.sh [--no-verify]
#
# --no-verify packages without building. Needs the registry's index, and the crates need not be published.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=(tidegate-engine tidegate-http tidegate-websocket tidegate)
options=("$@")
# While files are uncommitted, package what is on disk, as the other checks do.
[[ -z "$(git status --porcelain 2>/dev/null)" ]] || options+=(--allow-dirty)

# Cargo verifies a crate with the others as it has extracted them from their packages, under a name made from the path of this checkout. It
# keeps them for the next run, and the version does not change with the code.
registry=${CARGO_HOME:-$HOME/.cargo}/registry
for crate in "${crates[@]}"; do
    rm -rf "$registry"/src/*/"$crate"-[0-9]* "$registry"/cache/*/"$crate"-[0-9]*
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo publish --dry-run "${options[@]}" "${crates[@]/#/--package=}" 2>&1 | tee "$log"

failures=0
complain() {
    echo "package.sh: $1" >&2
    failures=$((failures + 1))
}

while read -r warning; do
    complain "$warning"
done < <(grep '^warning: ' "$log" | grep -Ev '^warning: aborting upload due to dry run' || true)

for crate in "${crates[@]}"; do
    files=$(cargo package --list --quiet --allow-dirty --package "$crate" 2>/dev/null)
    for file in README.md LICENSE-MIT LICENSE-APACHE Cargo.toml src/lib.rs; do
        grep -qx "$file" <<<"$files" || complain "$crate: $file is not in the package"
    done
done

# Real files, because a link is not one in every clone.
for folder in engine http websocket; do
    for licence in LICENSE-MIT LICENSE-APACHE; do
        cmp -s "$licence" "$folder/$licence" && [[ ! -L $folder/$licence ]] || complain "$folder/$licence must be a copy of $licence"
    done
done

exit $((failures > 0))
