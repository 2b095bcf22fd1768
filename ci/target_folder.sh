#!/usr/bin/env bash
# Prints the folder cargo builds into, wherever the environment or a configuration file puts it.  usage: target_folder.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
