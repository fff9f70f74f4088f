#!/usr/bin/env bash
# Lets what can fail do so, and prints what came of it: three instances over a PostgreSQL
# pair behind HAProxy, with a real registry, are killed, paused and cut off while images
# are pushed and clients ask. What is done and held is told by TestChaos in
# cmd/strata/chaos_test.go; figures are in docs/reliability.md.
#
#   scripts/chaos.sh [TIMES]     so often in a row (default 1); the first failure ends it
#   scripts/chaos.sh short       once, with 80 images and the faults that take little time
set -euo pipefail
cd "$(dirname "$0")/.."

times=${1:-1}
export STRATA_CHAOS=full
if [[ $times == short ]]; then
  times=1
  STRATA_CHAOS=short
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$dir/strata" ./cmd/strata
go test -c -o "$dir/chaos.test" ./cmd/strata
export STRATA_CHAOS_BINARY=$dir/strata STRATA_TEST_REQUIRE=all

# What the balancer and the instances wrote is long: it is kept, and the rest printed.
failed() {
  local log=${TMPDIR:-/tmp}/strata-chaos.log
  cp "$dir/out" "$log"
  grep -vE 'instances/strata-|level=(INFO|WARN|ERROR)' "$log" | cut -c1-400
  echo "run $i failed; all that was written is in $log" >&2
  exit 1
}

for ((i = 1; i <= times; i++)); do
  echo "run $i of $times ($STRATA_CHAOS), on $(nproc) processors"
  (cd cmd/strata && "$dir/chaos.test" -test.run '^TestChaos' -test.timeout 30m >"$dir/out" 2>&1) || failed
  awk -F '\t' '$1 == "chaos" { print $2, $3 }' "$dir/out"
  grep '^figure' "$dir/out" >>"$dir/figures"
done
echo "$times of $times passed"

# One line for each figure: the least, the median and the greatest of all runs.
awk -F '\t' '!($2 in nr) { nr[$2] = ++n } { printf "%03d\t%s\t%s\t%s\n", nr[$2], $2, $3, $4 }' "$dir/figures" | sort -t $'\t' -k1,1n -k3,3n |
  awk -F '\t' '
    BEGIN { printf "| %-75s | %10s | %10s | %10s | %5s |\n", "", "least", "median", "most", "times"; print "|---|--:|--:|--:|--:|" }
    function out() { if (k) printf "| %-75s | %10s | %10s | %10s | %5d |\n", name, v[1] u, v[int((k + 1) / 2)] u, v[k] u, k }
    $2 != name { out(); k = 0; name = $2; u = $4 == "" ? "" : " " $4 }
    { v[++k] = $3 + 0 }
    END { out() }'
