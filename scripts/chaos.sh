#!/usr/bin/env bash
# Lets what can fail do so, and prints what came of it: three instances over a PostgreSQL
# pair behind HAProxy, with a real registry, are killed, paused and cut off while images
# are pushed and clients ask. What is done and held is told by TestChaos in
# cmd/strata/chaos_test.go; the figures are in docs/reliability.md.
#
#   scripts/chaos.sh [TIMES]     so often in a row (default 1); the first failure ends it
set -euo pipefail
cd "$(dirname "$0")/.."

times=${1:-1}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$dir/strata" ./cmd/strata
go test -c -o "$dir/chaos.test" ./cmd/strata
export STRATA_CHAOS=full STRATA_CHAOS_BINARY=$dir/strata STRATA_TEST_REQUIRE=all
for ((i = 1; i <= times; i++)); do
  echo "run $i of $times, on $(nproc) processors"
  (cd cmd/strata && "$dir/chaos.test" -test.run '^TestChaos$' -test.timeout 30m >"$dir/out" 2>&1) || { cat "$dir/out"; exit 1; }
  awk -F '\t' '$1 == "chaos" { print $2, $3 }' "$dir/out"
done
