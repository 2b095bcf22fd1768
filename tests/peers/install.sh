#!/usr/bin/env bash
# Installs the test peers next to this script: .venv (clients from PyPI) and node_modules (ws and playwright-core, from npm),
# at the pinned versions.  usage: install.sh [--browser] [--tools] [--proxies]
# It also installs packages of Debian, for which it must run as root; anybody else installs libuv1 and, with the options, these programs:
# --browser: chromium, or another chromium whose program CHROMIUM names, and certutil of NSS.  --tools: curl, wget, wrk and h2load.
# --proxies: nginx, haproxy and caddy.
# Does nothing when they are there already.  Two callers at once: the second waits for the first.
set -euo pipefail
cd "$(dirname "$0")"

for tool in python3 node npm; do
  command -v "$tool" >/dev/null || { echo "the test peers need $tool (python >= 3.9 with venv, node >= 20)" >&2; exit 1; }
done

# The lock is on the folder itself, so there is no lock file to ignore. macOS has no flock: run one test process at a time there.
exec 9<.
if command -v flock >/dev/null; then flock 9; fi

# up_to_date FOLDER PINS: were exactly these pins installed, to the end?
up_to_date() { [ "$(cat "$1/.installed" 2>/dev/null)" = "$(cksum <"$2")" ]; }

if ! up_to_date .venv requirements.txt || [ ! -x .venv/bin/python ]; then
  rm -rf .venv
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
  cksum <requirements.txt >.venv/.installed
fi
if ! up_to_date node_modules package-lock.json; then
  npm ci --silent --ignore-scripts --no-audit --no-fund
  cksum <package-lock.json >node_modules/.installed
fi

packages=()
# The library below socketify, which brings its own elsewhere.
if [ "$(uname)" = Linux ]; then packages+=(libuv.so.1=libuv1); fi
for option in "$@"; do
  case $option in
    --browser)
      if [ -n "${CHROMIUM:-}" ]; then
        command -v "$CHROMIUM" >/dev/null || { echo "CHROMIUM names $CHROMIUM, which is missing" >&2; exit 1; }
      else
        packages+=(chromium=chromium)
      fi
      # For a browser that trusts the authority of a test.
      packages+=(certutil=libnss3-tools) ;;
    --tools) packages+=(curl=curl wget=wget wrk=wrk h2load=nghttp2-client) ;;
    --proxies) packages+=(nginx=nginx haproxy=haproxy caddy=caddy) ;;
    *) echo "usage: install.sh [--browser] [--tools] [--proxies]" >&2; exit 2 ;;
  esac
done
[ ${#packages[@]} -eq 0 ] || ./debian.sh "${packages[@]}"
