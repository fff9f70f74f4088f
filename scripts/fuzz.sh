#!/usr/bin/env bash
# Runs every fuzz target, each for $1 (default 10s), and stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

ran=0
for dir in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do
  for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$dir"/*_test.go); do
    echo "fuzz: $target in ${dir#"$PWD"/}"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir"
    ran=$((ran + 1))
  done
done
echo "fuzz: $ran targets, $time each"
