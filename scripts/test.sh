#!/usr/bin/env bash
# Runs the tests: scripts/test.sh [PACKAGE...] (default ./...).
#
# Some tests talk to real programs: a registry, the engines. Run as root on
# Debian, this installs those that are missing; elsewhere it says which tests will
# be left out. STRATA_TEST_REQUIRE=all turns every such skip into a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# program, or the pattern of its path where it is on no PATH, and the Debian package
# that has it, one a line.
needs='
docker-registry docker-registry
htpasswd        apache2-utils
skopeo          skopeo
podman          podman
containerd      containerd
python3         python3
chromium        chromium
xmllint         libxml2-utils
junitparser     junitparser
cmark-gfm       cmark-gfm
patch           patch
git             git
openssl         openssl
haproxy         haproxy
docker-compose  docker-compose
systemd-analyze systemd
/usr/lib/postgresql/*/bin/postgres postgresql
'

say() { printf 'test: %s\n' "$*" >&2; }

missing() { # the packages of the programs that aren't there
  while read -r program package; do
    if [[ -n $program ]] && ! command -v "$program" >/dev/null && ! compgen -G "$program" >/dev/null; then echo "$package"; fi
  done <<<"$needs"
}

install() { # install the packages, without starting their services
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@"
}

mapfile -t packages < <(missing)
if ((${#packages[@]} > 0)) && ((EUID == 0)) && command -v apt-get >/dev/null; then
  say "installing ${packages[*]}"
  install "${packages[@]}" >/dev/null || say 'apt-get failed'
  mapfile -t packages < <(missing)
fi
for package in "${packages[@]}"; do
  say "left out: tests that need $package (Debian: apt-get install $package)"
done
if ! docker version >/dev/null 2>&1; then
  say 'left out: tests that need a Docker engine (start it, and let this user reach its socket)'
fi
if [[ ! -d ../shared/images ]]; then
  say 'left out: tests on real images and advisories (../shared/images, ../shared/feeds)'
fi

# The detector knows no memory but Go's own. SQLite, translated from C, and its C library
# work in memory of their own, so there is nothing to find in them, and to have each of
# their accesses watched takes most of the time. Their driver is watched as all else.
race=(-race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false)
if ! command -v "$(go env CC)" >/dev/null || [[ $(go env CGO_ENABLED) != 1 ]]; then
  race=()
  say 'left out: the race detector (it needs a C compiler)'
fi

# All is built on all cores, then tested two packages at a time: most wait for programs
# half of the time. More would disturb those that measure memory and time.
if [[ ${*:-./...} == ./... ]]; then
  set -- ./internal/store ./cmd/strata ./internal/jobs ./... # the longest first
  go build "${race[@]}" -o /dev/null ./...
fi

# The tests' own PostgreSQL server (internal/imagetest) is started by the first that
# needs it, and stopped here, unless it ran before.
postgres=${TMPDIR:-/tmp}/strata-postgres-$EUID
stop_postgres() {
  local ctl as=()
  ctl=$(compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' | sort -V | tail -n 1)
  if ((EUID == 0)); then as=(runuser -u postgres --); fi
  (cd / && "${as[@]}" "$ctl" -D "$postgres/data" -m fast -s stop) || say "PostgreSQL goes on in $postgres"
}
finish() {
  if [[ -f $postgres/data/postmaster.pid ]]; then stop_postgres; fi
}
if [[ ! -f $postgres/data/postmaster.pid ]]; then trap finish EXIT; fi

go test "${race[@]}" -timeout 30m -p 2 "$@"
