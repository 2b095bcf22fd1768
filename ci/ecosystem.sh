#!/usr/bin/env bash
# Runs the tests with the crates of the ecosystem: tokio, tower, axum, databases.  usage: ecosystem.sh [CARGO-TEST-ARGUMENT...]
#
# PostgreSQL and Redis are installed if they are missing, as root on Debian only, and started on free ports of loopback for as long as
# the tests run. TEST_POSTGRES_URL and TEST_REDIS_URL name servers to use instead.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
    echo "ecosystem.sh: $1 not found; install it (Debian: 'apt-get install $2' as root)" >&2
    exit 2
}

install() { # PACKAGE
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 0
    # A failure shows when the program is looked for.
    apt-get -qq -o DPkg::Lock::Timeout=120 update || return 0
    # The package starts no server of its own: this script does.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$1" || return 0
}

# The folder of PostgreSQL's programs, which Debian keeps out of the path.
postgres_bin() {
    local folder
    for folder in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl ]]; then echo "$folder"; return; fi
    done
    command -v initdb >/dev/null && command -v pg_ctl >/dev/null && dirname "$(command -v initdb)"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

state=$(mktemp -d)
redis_pid=
as_postgres=()
stop() {
    [[ -z $redis_pid ]] || kill "$redis_pid" 2>/dev/null || true
    [[ ! -f $state/postgres/postmaster.pid ]] || "${as_postgres[@]}" "$bin/pg_ctl" -D "$state/postgres" -m immediate stop >/dev/null || true
    rm -rf "$state"
}
trap stop EXIT

if [[ -z "${TEST_POSTGRES_URL:-}" ]]; then
    bin=$(postgres_bin) || { install postgresql; bin=$(postgres_bin) || missing initdb postgresql; }
    port=$(free_port)
    mkdir "$state/postgres"
    if [[ $(id -u) == 0 ]]; then
        # PostgreSQL does not run as root.
        owner=$(id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody)
        as_postgres=(runuser -u "$owner" --)
        chmod 755 "$state"
        chown "$owner" "$state/postgres"
    fi
    "${as_postgres[@]}" "$bin/initdb" -D "$state/postgres" -U tests -A trust -E UTF8 --no-sync >/dev/null
    options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c fsync=off"
    "${as_postgres[@]}" "$bin/pg_ctl" -D "$state/postgres" -o "$options" -l "$state/postgres/log" -w start >/dev/null
    export TEST_POSTGRES_URL="postgres://tests@127.0.0.1:$port/postgres"
fi

if [[ -z "${TEST_REDIS_URL:-}" ]]; then
    command -v redis-server >/dev/null || install redis-server
    command -v redis-server >/dev/null || missing redis-server redis-server
    port=$(free_port)
    redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$state" >"$state/redis.log" &
    redis_pid=$!
    export TEST_REDIS_URL="redis://127.0.0.1:$port"
    for _ in $(seq 100); do
        ! redis-cli -p "$port" ping >/dev/null 2>&1 || break
        sleep 0.1
    done
fi

cargo test --package tidegate-ecosystem "$@"
