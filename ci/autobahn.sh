#!/usr/bin/env bash
# Runs the Autobahn test suite against the example echo, on every engine and handler placement, and against the example wscat
# as a client, on both engines.
# usage: autobahn.sh [--tls] [--only COMBINATION,...] [--all | CASE-GLOB...]
#
# Default cases: all of groups 1-7, 9 and 10, and 25 of the 216 cases about compression (12 and 13): 326 cases, about 30 s per
# combination on an idle core. --all: all 517, about 18 minutes per combination.
# env: AUTOBAHN_JOBS (combinations that run at a time; default: the number of processors)
# --tls: the server's combinations over wss (needs openssl). --only: some combinations, such as client/uring,uring/inline.
# Exit 0: every case ran everywhere, none FAILED, and every connection was closed correctly.
# A combination is skipped only where the kernel refuses io_uring to this process; a line then says SKIPPED.
# Reports: ci/autobahn/reports/COMBINATION/ (index.json, a page per case, log.txt, server.log).
# Needs python3 with venv. The first run installs the suite into ci/autobahn/venv.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=$PWD/ci/autobahn
# Of 12 and 13 each way to compress and to negotiate, with short whole messages, longer fragmented ones, and large ones.
default_cases=('1.*' '2.*' '3.*' '4.*' '5.*' '6.*' '7.*' '9.*' '10.*' '12.*.3' '12.*.13' '12.3.10' '13.*.3' '13.*.13')
default_cases_count=326
all_cases_count=517
# Engine, placement, and the style of the handlers if it is not async.
combinations=(
  uring/same-core uring/inline uring/threads:2 portable/same-core portable/inline
  uring/same-core/events uring/inline/events portable/inline/events
)
clients=(client/uring client/portable)

ready_seconds_max=20 # from start to listening; far below a second on an idle machine
stop_seconds_max=40  # the server's own drain deadline is 30 s
suite_seconds_max=7200

server=
tls=
outcomes=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -r "$outcomes"' EXIT

install_suite() {
  local stamp=$suite/venv/.installed want
  exec 9<"$suite"
  flock 9
  want=$(cat "$suite/install.sh" "$suite/py3port.py" "$suite"/requirements*.txt | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$suite/venv"
    "$suite/install.sh"
    printf '%s\n' "$want" >"$stamp"
  fi
  exec 9<&-
}

# Prints why the kernel refuses io_uring, or nothing.
io_uring_missing() {
  python3 - <<'P'
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
IO_URING_SETUP = 425  # the same number on every architecture
fd = libc.syscall(IO_URING_SETUP, 1, (ctypes.c_uint8 * 120)())
if fd >= 0:
    os.close(fd)
elif ctypes.get_errno() in (errno.ENOSYS, errno.EPERM):
    print("io_uring_setup: " + os.strerror(ctypes.get_errno()))
P
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_server() { # PORT LOG ENGINE-OPTIONS...; sets $server
  local port=$1 log=$2 i
  shift 2
  "$echo_binary" --addr "127.0.0.1:$port" --workers 1 "$@" >"$log" 2>&1 &
  server=$!
  for ((i = 0; i < ready_seconds_max * 10; i++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 0; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "the server is not listening on port $port; its output:"
  tail -n 20 "$log"
  return 1
}

make_certificate() { # FOLDER
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$1/key.pem" -out "$1/certificate.pem" 2>/dev/null
}

stop_server() { # LOG; 0 if the server was still running and exited successfully on SIGTERM
  local log=$1 pid=$server i status=0
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < stop_seconds_max * 10; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -KILL "$pid" 2>/dev/null; then echo "the server ignored SIGTERM for $stop_seconds_max s"; fi
  wait "$pid" || status=$?
  server=
  [ "$status" -eq 0 ] && return 0
  echo "the server exited with status $status; its last output:"
  tail -n 20 "$log"
  return 1
}

run_combination() { # NAME CASES...
  local name=$1 out=$suite/reports/${1//[\/:]/-} port status=0
  local options=(--compress --engine "${1%%/*}")
  shift
  local placement style
  IFS=/ read -r _ placement style <<<"$name"
  options+=(--handlers "$placement" --style "${style:-async}")
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  if [ -n "$tls" ]; then options+=(--tls-cert "$out/certificate.pem" --tls-key "$out/key.pem"); make_certificate "$out"; fi
  if ! start_server "$port" "$out/server.log" "${options[@]}"; then return 1; fi
  AGENT=$name TIMEOUT=$suite_seconds_max "$suite/run_server.sh" "ws${tls:+s}://127.0.0.1:$port/ws" "$out" "$@" \
    >"$out/summary.txt" || status=1
  cat "$out/summary.txt"
  stop_server "$out/server.log" || status=1
  judge "$out" "$status"
}

run_client() { # NAME CASES...
  local name=$1 out=$suite/reports/${1//[\/:]/-} status=0
  shift
  rm -rf "$out"
  mkdir -p "$out"
  TIMEOUT=$suite_seconds_max "$suite/run_client.sh" "$(free_port)" "$out" "$@" -- \
    "$suite/client.sh" "$wscat_binary" "$name" "${name#*/}" >"$out/summary.txt" || status=1
  cat "$out/summary.txt"
  judge "$out" "$status"
}

run() { # NAME CASES...; in a subshell, whose EXIT trap it sets
  trap 'if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi' EXIT
  echo "== $1"
  if [ -n "$missing" ] && [[ $1 == *uring* ]]; then
    echo "SKIPPED: $missing"
  elif [[ $1 == client/* ]]; then
    run_client "$@"
  else
    run_combination "$@"
  fi
}

judge() { # OUT STATUS
  local out=$1 status=$2
  # The suite counts wrongly closed connections separately from FAILED cases. Here both are failures.
  grep -q ' BADCLOSE=0$' "$out/summary.txt" || status=1
  # A case is unimplemented if compression was not negotiated, and compression is on here.
  grep -q ' UNIMPLEMENTED=0 ' "$out/summary.txt" || status=1
  if [ -n "$cases_count" ] && ! grep -q " cases=$cases_count\$" "$out/summary.txt"; then
    echo "the suite did not run exactly the $cases_count requested cases"
    status=1
  fi
  return "$status"
}

if [ "${1:-}" = --tls ]; then
  tls=yes
  shift
fi
chosen=("${combinations[@]}" "${clients[@]}")
if [ "${1:-}" = --only ]; then
  IFS=, read -ra chosen <<<"${2:?--only needs combinations}"
  for combination in "${chosen[@]}"; do
    [[ " ${combinations[*]} ${clients[*]} " == *" $combination "* ]] ||
      { echo "autobahn.sh: unknown combination $combination: must be one of ${combinations[*]} ${clients[*]}" >&2; exit 2; }
  done
  shift 2
fi

cases_count=
if [ $# -eq 0 ]; then
  cases_count=$default_cases_count
  set -- "${default_cases[@]}"
elif [ "$1" = --all ]; then
  cases_count=$all_cases_count
  set -- '*'
fi
install_suite
cargo build --profile quick --package tidegate --example echo --example wscat
target=$(ci/target_folder.sh)
echo_binary=$target/quick/examples/echo
wscat_binary=$target/quick/examples/wscat
missing=$(io_uring_missing)

jobs=${AUTOBAHN_JOBS:-$(nproc)}
pids=()
for combination in "${chosen[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  run "$combination" "$@" >"$outcomes/${combination//[\/:]/-}" 2>&1 &
  pids+=($!)
done
failed=()
for number in "${!chosen[@]}"; do
  wait "${pids[number]}" || failed+=("${chosen[number]}")
  cat "$outcomes/${chosen[number]//[\/:]/-}"
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "autobahn: FAILED on ${failed[*]}" >&2
  exit 1
fi
echo "autobahn: passed"
