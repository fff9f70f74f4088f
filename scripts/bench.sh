#!/usr/bin/env bash
# Runs the scan benchmarks and prints their medians and what a scan costs over the
# floor: read, hash, decompress and walk, with the layers in parallel; and what
# licences and classifiers add to it. cmd/strata/bench_test.go tells what each is;
# each has one sub-benchmark an image: BenchmarkCold/node-gzip. Other flags go to
# go test.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp)
trap 'rm -f "$out"' EXIT
go test -run '^$' -bench 'Floor|Bare|Cold|Warm|Start' -benchmem -count 5 -timeout 60m "$@" ./cmd/strata | tee "$out"

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
  function over(a, b) { return a > 0 && b > 0 ? sprintf("%.2f", a / b) : "-" }
  END {
    if (n == 0) { print "bench: no benchmark ran" > "/dev/stderr"; exit 1 }
    printf "\n%-14s %12s %12s %12s %12s %12s %12s %12s\n", "medians of 5", "floor", "bare", "cold", "cold/bare", "cold/floor", "warm", "program"
    for (i = 1; i <= n; i++) {
      f = median("Floor" SUBSEP images[i]); c = median("Cold" SUBSEP images[i]); w = median("Warm" SUBSEP images[i])
      b = median("Bare" SUBSEP images[i]); p = median("Start" SUBSEP images[i])
      printf "%-14s %12s %12s %12s %12s %12s %12s %12s\n", images[i], show(f, " ms"), show(b, " ms"), show(c, " ms"), over(c, b), over(c, f), show(w, " ms"), show(p, " ms")
    }
  }
' "$out"
