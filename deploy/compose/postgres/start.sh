#!/bin/sh
# Starts PostgreSQL as it was. Where it has no data yet: as a new primary, or, with
# STANDBY_OF, as a replica of that server.
#
# The copy is made beside the data and renamed when it is whole, so that one that broke off
# is made anew at the next start.
set -eu

if [ -n "${STANDBY_OF:-}" ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  PGPASSWORD=$(cat "${REPLICATION_PASSWORD_FILE:-/run/secrets/replication_password}")
  export PGPASSWORD
  slot=$(hostname | tr -c 'a-z0-9\n' _)
  until pg_isready -q -h "$STANDBY_OF"; do
    echo "waiting for $STANDBY_OF"
    sleep 1
  done
  # The primary keeps what this replica has yet to get, also while it is away.
  psql -q -v ON_ERROR_STOP=1 -h "$STANDBY_OF" -U replication -d strata -o /dev/null -c "
    SELECT pg_create_physical_replication_slot('$slot')
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$slot')"
  rm -rf "$PGDATA.new"
  # -R writes how to follow the primary into the copy.
  pg_basebackup -d "host=$STANDBY_OF user=replication application_name=$slot" -D "$PGDATA.new" -X stream -c fast -R -S "$slot"
  rm -rf "$PGDATA"
  mv "$PGDATA.new" "$PGDATA"
  unset PGPASSWORD
fi
exec docker-entrypoint.sh "$@"
