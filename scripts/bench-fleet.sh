#!/usr/bin/env bash
# Makes a fleet of STRATA_BENCH_IMAGES images (default 100000) in a database, and prints
# what ingest, storage, impact and news cost beside the goals: on PostgreSQL, which has
# to be installed, and on SQLite; STRATA_BENCH_ENGINES=postgres or =sqlite for one.
# What is measured is told by TestFleetBenchmark in internal/store/fleet_bench_test.go.
#
# PostgreSQL runs on Debian's settings but for 1 GB of shared buffers, and so writes each
# commit through to the disk. STRATA_BENCH_POSTGRES, the URL of an empty database, lets
# another server be measured.
set -euo pipefail
cd "$(dirname "$0")/.."

export STRATA_BENCH_IMAGES=${STRATA_BENCH_IMAGES:-100000}
dir=$(mktemp -d)
chmod 755 "$dir"
as=()
if ((EUID == 0)); then as=(runuser -u postgres --); fi

stop() {
  if [[ -f $dir/data/postmaster.pid ]]; then (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m fast -s stop); fi
  rm -rf "$dir"
}
trap stop EXIT

bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
if [[ -z ${STRATA_BENCH_POSTGRES:-} && ${STRATA_BENCH_ENGINES:-postgres} == postgres && -n $bin ]]; then
  if ((EUID == 0)); then chown postgres "$dir"; fi
  (cd / && "${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-locale >/dev/null)
  (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s -o "-c listen_addresses='' -c unix_socket_directories=$dir -c shared_buffers=1GB" start)
  export STRATA_BENCH_POSTGRES="postgres://postgres@/postgres?host=${dir//\//%2F}"
fi

out=$(mktemp)
trap 'rm -f "$out"; stop' EXIT
echo "a fleet of $STRATA_BENCH_IMAGES images, on $(nproc) processors"
go test -v -run '^TestFleetBenchmark$' -count 1 -timeout 120m "$@" ./internal/store | tee "$out" |
  awk -F '\t' '$1 == "fleet" { printf "%-11s %-58s %-48s %s\n", $2, $3, $4, $5; fflush(); next } { print > "/dev/stderr" }'
grep -q '^fleet' "$out" || { echo 'bench-fleet: nothing was measured' >&2; exit 1; }
