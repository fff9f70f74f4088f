#!/usr/bin/env bash
# Measures one, two and three instances on one PostgreSQL with a replica, all on this
# machine: images scanned a second, and what an image and an answer cost in processor
# time. What is measured is told by TestScaling in cmd/strata/scaling_test.go.
#
#   scripts/scaling.sh [IMAGES]     (default 300)
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go test -c -o "$dir/scaling.test" ./cmd/strata
echo "${1:-300} images, on $(nproc) processors"
(cd cmd/strata && STRATA_SCALING=${1:-300} STRATA_TEST_REQUIRE=all "$dir/scaling.test" -test.run '^TestScaling$' -test.timeout 60m >"$dir/out" 2>&1) || { cat "$dir/out"; exit 1; }
awk -F '\t' '
  $1 == "scaling" { if (!($3 in v)) name[++k] = $3; v[$3] = 1; at[$3, $2] = $4 }
  END {
    printf "| %-58s | %10s | %10s | %10s |\n", "instances", 1, 2, 3; print "|---|--:|--:|--:|"
    for (i = 1; i <= k; i++) printf "| %-58s | %10s | %10s | %10s |\n", name[i], at[name[i], 1], at[name[i], 2], at[name[i], 3]
  }' "$dir/out"
