#!/usr/bin/env bash
# Prints cargo's target folder, which the environment or a configuration file can move.  usage: target_folder.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
