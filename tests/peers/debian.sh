#!/usr/bin/env bash
# Installs the packages of Debian whose programs or libraries are missing, as root. Otherwise says what to install.
# usage: debian.sh [PROGRAM=PACKAGE | LIBRARY=PACKAGE]...   such as curl=curl or libuv.so.1=libuv1
# Exits with 2 if a program or library is missing at the end.
set -euo pipefail
# Debian keeps servers out of the path of ordinary users.
PATH=$PATH:/usr/sbin:/sbin

# missing PROGRAM=PACKAGE...: the packages that are missing
missing() {
  local pair
  for pair in "$@"; do is_there "${pair%%=*}" || echo "${pair#*=}"; done
}

# is_there NAME: whether a program, or a library, of this name is installed. (A pipe to grep -q would end ldconfig early.)
is_there() {
  case $1 in
    *.so*) [[ $(ldconfig -p) == *"$1"* ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

packages=($(missing "$@"))
[ ${#packages[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Servers among them start when a test wants it, not when they are installed.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get -qq -o DPkg::Lock::Timeout=120 update || true
  apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "${packages[@]}" || true
  packages=($(missing "$@"))
  [ ${#packages[@]} -gt 0 ] || exit 0
fi
echo "the tests need ${packages[*]}: install it (Debian: 'apt-get install ${packages[*]}' as root)" >&2
exit 2
