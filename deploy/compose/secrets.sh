#!/bin/sh
# Makes the secrets that are missing in ./secrets; those that are there stay. The folder is
# for its owner alone; the files in it are mounted into containers that run as others, who
# must be able to read them.
#
#   ./secrets.sh [NAME]    NAME is what the certificate is for, until you have a real one
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

make() { # make FILE COMMAND...: what the command prints
  file=$1
  shift
  if [ ! -s "$file" ]; then
    "$@" >"$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
    echo "made secrets/$file"
  fi
}

certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1" -keyout /dev/stdout -out /dev/stdout 2>/dev/null
}

make strata_key openssl rand -hex 32
make postgres_password openssl rand -hex 24
make strata_password openssl rand -hex 24
make replication_password openssl rand -hex 24
make pgpass printf '*:*:*:strata:%s\n' "$(cat strata_password)"
make tls.pem certificate "${1:-localhost}"
