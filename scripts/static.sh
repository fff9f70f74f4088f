#!/usr/bin/env bash
# Fails unless the binary $1 is static: made without cgo and asking for no loader.
set -euo pipefail
binary=$1
go version -m "$binary" | grep -q 'CGO_ENABLED=0' || { echo "$binary was built with cgo: set CGO_ENABLED=0" >&2; exit 1; }
if command -v ldd >/dev/null && ldd "$binary" 2>/dev/null | grep -q '=>'; then
  echo "$binary is linked dynamically:" >&2
  ldd "$binary" >&2
  exit 1
fi
