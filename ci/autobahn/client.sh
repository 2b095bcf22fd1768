#!/usr/bin/env bash
# Runs every case of the fuzzing server at $WS_URL with the example wscat as the client; run_client.sh starts that server.
# usage: client.sh WSCAT AGENT ENGINE
# wscat ends with a status other than 0 where the server breaks the protocol, and where it closes without a code, as it does
# after each answer. Neither is a failure of the case.
set -euo pipefail
wscat=$1 agent=$2 options=(--compress --ping 0 --engine "$3")

count=$("$wscat" "$WS_URL/getCaseCount" "${options[@]}" </dev/null || true)
for ((number = 1; number <= count; number++)); do
  "$wscat" "$WS_URL/runCase?case=$number&agent=$agent" --echo "${options[@]}" || true
done
"$wscat" "$WS_URL/updateReports?agent=$agent" "${options[@]}" </dev/null || true
