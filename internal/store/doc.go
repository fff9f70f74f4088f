// Package store keeps what Strata knows in SQL databases: the advisories, and
// the cache of analysed layers. All SQL of the project is here, written once for
// SQLite and PostgreSQL.
package store
