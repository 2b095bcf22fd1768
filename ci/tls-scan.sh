#!/usr/bin/env bash
# Scans the TLS of the echo example with sslscan, and checks that it finds nothing weak.
# usage: tls-scan.sh [--write]     (--write: keeps the output as docs/tls-scan.txt)
# Needs sslscan and openssl: apt-get install sslscan openssl
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in sslscan openssl; do
  command -v "$tool" >/dev/null || { echo "tls-scan.sh: $tool not found: apt-get install $tool" >&2; exit 2; }
done
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2>/dev/null
cargo build --release --example echo
: >"$folder/log" # read below, perhaps before the server's shell has opened it
"$(ci/target_folder.sh)/release/examples/echo" --addr 127.0.0.1:0 --workers 1 \
  --tls-cert "$folder/certificate.pem" --tls-key "$folder/key.pem" >"$folder/log" 2>&1 &
server=$!
for ((i = 0; i < 100; i++)); do
  port=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\) .*/\1/p' "$folder/log")
  [ -z "$port" ] || break
  sleep 0.1
done
[ -n "$port" ] || { echo "tls-scan.sh: the server does not start:" >&2; cat "$folder/log" >&2; exit 1; }

# What changes with each run is left out: the port, and the dates of the certificate.
sslscan --no-colour --show-sigs "127.0.0.1:$port" | sed -e "s/:$port/:PORT/g" -e "s/port $port/port PORT/" -e '/^Not valid /d' -e 's/[ \t]*$//' \
  >"$folder/scan"
cat "$folder/scan"

# Old protocols, renegotiation without protection, compression, Heartbleed; and all ciphers but those with forward secrecy
# and authenticated encryption, by the names of OpenSSL.
strong='TLS_(AES_(128|256)_GCM|CHACHA20_POLY1305)_SHA|ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-|CHACHA20-POLY1305)'
weak=$(
  grep -E 'SSLv[23] +enabled|TLSv1\.[01] +enabled|Insecure|Compression enabled|[^t] vulnerable to heartbleed' "$folder/scan" || true
  grep -E '^(Preferred|Accepted) ' "$folder/scan" | grep -vE "$strong" || true
)
[ -z "$weak" ] || { printf 'tls-scan.sh: weak:\n%s\n' "$weak" >&2; exit 1; }
for expected in 'TLSv1.2   enabled' 'TLSv1.3   enabled' 'TLS_AES_256_GCM_SHA384' 'ECDHE-ECDSA-AES256-GCM-SHA384'; do
  grep -q "$expected" "$folder/scan" || { echo "tls-scan.sh: $expected is missing" >&2; exit 1; }
done
[ "${1:-}" != --write ] || cp "$folder/scan" docs/tls-scan.txt
echo "tls-scan: nothing weak"
