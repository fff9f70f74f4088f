#!/usr/bin/env bash
# Tests the Helm chart: lint, golden output, the types of Kubernetes, its README.
#
#   scripts/chart.sh             always
#   scripts/chart.sh --changed   unless the chart and its tests are as when they last passed
#   scripts/chart.sh --update    writes golden files and README.md anew
#
# Helm and Kubernetes' types take more than a minute of CPU to build, and the result is the
# same until a file here changes. So deploy/helm/checked.sum, which is written when the tests
# pass and is checked in, says of which files they did.
set -euo pipefail
cd "$(dirname "$0")/../deploy/helm"

sum() { # of all files, by names and contents
  git ls-files --cached --others --exclude-standard . | grep -v '^checked.sum$' | LC_ALL=C sort -u | while read -r file; do
    if [[ -f $file ]]; then sha256sum "$file"; fi
  done | sha256sum | cut -d ' ' -f 1
}

if [[ ${1:-} == --changed && $(sum) == "$(cat checked.sum)" ]]; then
  echo 'chart: unchanged since its tests passed'
  exit
fi
args=()
if [[ ${1:-} == --update ]]; then args=(-update); fi
(cd testdata && go vet . && go mod tidy -diff && go test -count=1 . "${args[@]}")
sum >checked.sum
