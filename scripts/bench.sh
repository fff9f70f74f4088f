#!/usr/bin/env bash
# Runs the scan benchmarks and prints their medians and what a scan costs over the
# floor: read, hash, decompress and walk, with the layers in parallel.
# Benchmarks are named Floor, Cold and Warm in cmd/strata, each with one
# sub-benchmark an image: BenchmarkCold/node-gzip. Other flags go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp)
trap 'rm -f "$out"' EXIT
go test -run '^$' -bench 'Floor|Cold|Warm' -benchmem -count 5 -timeout 60m "$@" ./cmd/strata | tee "$out"

awk '
  /^Benchmark/ && $4 == "ns/op" {
    name = $1
    sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
    image = "-"
    if (i = index(name, "/")) { image = substr(name, i + 1); name = substr(name, 1, i - 1) }
    if (!(image in seen)) { seen[image] = 1; images[++n] = image }
    key = name SUBSEP image
    value[key, ++count[key]] = $3 / 1e6
  }
  function median(key,   m, i, j, v, sorted) {
    m = count[key]
    if (m == 0) return -1
    for (i = 1; i <= m; i++) {
      v = value[key, i]
      for (j = i; j > 1 && sorted[j - 1] > v; j--) sorted[j] = sorted[j - 1]
      sorted[j] = v
    }
    return m % 2 ? sorted[(m + 1) / 2] : (sorted[m / 2] + sorted[m / 2 + 1]) / 2
  }
  function show(v, unit) { return v < 0 ? "-" : sprintf("%.1f%s", v, unit) }
  END {
    if (n == 0) { print "bench: no benchmark ran" > "/dev/stderr"; exit 1 }
    printf "\n%-24s %12s %12s %12s %12s\n", "medians of 5", "floor", "cold", "cold/floor", "warm"
    for (i = 1; i <= n; i++) {
      f = median("Floor" SUBSEP images[i]); c = median("Cold" SUBSEP images[i]); w = median("Warm" SUBSEP images[i])
      ratio = (f > 0 && c >= 0) ? sprintf("%.2f", c / f) : "-"
      printf "%-24s %12s %12s %12s %12s\n", images[i], show(f, " ms"), show(c, " ms"), ratio, show(w, " ms")
    }
  }
' "$out"
