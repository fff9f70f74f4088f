#!/usr/bin/env bash
# Makes a fleet of STRATA_BENCH_IMAGES images (default 100000) in a database, and prints
# what ingest, storage, impact and news cost beside the goals: on PostgreSQL, which has
# to be installed, and on SQLite; STRATA_BENCH_ENGINES=postgres or =sqlite for one.
# What is measured is told by TestFleetBenchmark in internal/store/fleet_bench_test.go.
set -euo pipefail
cd "$(dirname "$0")/.."

export STRATA_BENCH_IMAGES=${STRATA_BENCH_IMAGES:-100000}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo "a fleet of $STRATA_BENCH_IMAGES images, on $(nproc) processors"
go test -v -run '^TestFleetBenchmark$' -count 1 -timeout 120m "$@" ./internal/store | tee "$out" |
  awk -F '\t' '$1 == "fleet" { printf "%-11s %-58s %-48s %s\n", $2, $3, $4, $5; fflush(); next } { print > "/dev/stderr" }'
grep -q '^fleet' "$out" || { echo 'bench-fleet: nothing was measured' >&2; exit 1; }
