#!/bin/sh
# What a new primary has: the database, who owns it, and who copies it. PostgreSQL's image
# runs it once, after it made the data folder.
set -eu

psql -q -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
\set strata `cat "${STRATA_PASSWORD_FILE:-/run/secrets/strata_password}"`
\set replication `cat "${REPLICATION_PASSWORD_FILE:-/run/secrets/replication_password}"`
CREATE ROLE strata LOGIN PASSWORD :'strata';
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication';
CREATE DATABASE strata OWNER strata ENCODING 'UTF8' TEMPLATE template0;
SQL
echo 'host replication replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"
