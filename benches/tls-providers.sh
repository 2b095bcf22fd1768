#!/usr/bin/env bash
# Compares the cryptography below rustls, ring (feature tls) and aws-lc-rs (feature tls_aws_lc), in a small echo server: time of a clean
# build, size of the program, and speed with TLS 1.3. docs/tls.md has the outcome.
# usage: tls-providers.sh [ROUNDS]     (default 3; of each figure the best round counts. About 5 minutes)
# Needs two otherwise idle cores: servers run on core 0, the load on core 1. Needs a C compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-3}
seconds=2
root=$PWD
programs=$(ci/target_folder.sh)/release
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT

cargo build --release -p tidegate-benches --features tls --bin tls
"$programs/tls" --write-certificate "$folder"

make_program() { # PROVIDER FEATURE
  local at=$folder/$1 profile
  mkdir -p "$at/src"
  cp Cargo.lock "$at"
  profile=$(sed -n '/^\[profile.release\]/,/^$/p' Cargo.toml)
  cat >"$at/Cargo.toml" <<END
[package]
name = "server"
version = "0.0.0"
edition = "2024"

[dependencies]
tidegate = { path = "$root", default-features = false, features = ["$2"] }

$profile
strip = true

[workspace]
END
  cat >"$at/src/main.rs" <<'END'
use tidegate::engine::Tls;
use tidegate::prelude::*;

fn main() -> tidegate::Result<()> {
    let echo = websocket::upgrade(async |mut ws: WebSocket| {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    let words: Vec<String> = std::env::args().collect();
    let tls = Tls::from_pem_files(&words[2], &words[3])?;
    let config = Config::default().workers(1).placement(HandlerPlacement::Inline);
    Server::builder(Router::new().get("/ws", echo)).bind_tls(&*words[1], tls)?.config(config).run()
}
END
  # What is downloaded is not part of the time.
  cargo fetch --quiet --manifest-path "$at/Cargo.toml"
  local begun=$EPOCHREALTIME
  CARGO_TARGET_DIR=$at/target cargo build --quiet --release --manifest-path "$at/Cargo.toml"
  local built=$EPOCHREALTIME
  printf '%-10s clean build %5.1f s, program %5.2f MB\n' "$1" "$(awk "BEGIN { print $built - $begun }")" \
    "$(awk "BEGIN { print $(stat -c %s "$at/target/release/server") / 1e6 }")"
}

start() { # PROVIDER; sets $server and $address
  address=127.0.0.1:$((20000 + RANDOM % 10000))
  taskset -c 0 "$folder/$1/target/release/server" "$address" "$folder/certificate.pem" "$folder/key.pem" 2>/dev/null &
  server=$!
  local i
  for ((i = 0; i < 100; i++)); do
    if (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  echo "tls-providers.sh: the server does not listen" >&2
  exit 1
}

measure() { # PROVIDER OPTION...: prints the rate and the server's microseconds for each
  start "$1"
  shift
  "$programs/tls" --addr "$address" --ca "$folder/certificate.pem" --core 1 --server-pid "$server" --warmup 0.5 --seconds "$seconds" \
    "$@" 2>/dev/null | sed 's/.*"rate_per_s":\([0-9.]*\).*"server_cpu_us":\([0-9.]*\).*/\1 \2/'
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

make_program ring tls
make_program aws-lc-rs tls_aws_lc

compare() { # NAME OPTION...
  local name=$1 provider i
  shift
  for ((i = 0; i < rounds; i++)); do
    for provider in ring aws-lc-rs; do measure "$provider" "$@" >>"$folder/$provider.runs"; done
  done
  for provider in ring aws-lc-rs; do
    sort -rn "$folder/$provider.runs" | head -n 1 | {
      read -r rate time
      printf '%-28s %-10s %9.0f /s, server %7.2f us each\n' "$name" "$provider" "$rate" "$time"
    }
    rm "$folder/$provider.runs"
  done
}

compare 'echo 64 B, 64 connections' --mode echo --connections 64 --size 64
compare 'echo 16 KiB, 64 connections' --mode echo --connections 64 --size 16384
compare 'handshakes, full' --mode handshakes --connections 32
compare 'handshakes, resumed' --mode handshakes --connections 32 --resume
