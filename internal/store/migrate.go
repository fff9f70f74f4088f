package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/server/*.sql
var serverMigrationFiles embed.FS

// ErrNewerTables is wrapped by errors about tables that a newer version has made, and that
// this one can't use: what is in them may mean something else than it thinks.
var ErrNewerTables = errors.New("its tables are of a newer version of Strata")

// ErrOlderInstances is wrapped by errors about tables that are not changed, since instances
// run that could not use them then.
var ErrOlderInstances = errors.New("instances of an older version run")

// migrate brings the tables to the form of this version (docs/decisions/0011). On
// PostgreSQL it holds an advisory lock, so that instances that start together don't
// disturb each other.
func (d *DB) migrate(ctx context.Context) error {
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	dialect := goose.DialectSQLite3
	if d.pool != nil {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := d.migrationFiles()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, d.db, files, options...)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	d.schema = sources[len(sources)-1].Version
	if err := d.mayContract(ctx, p, files); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	if err := d.usable(ctx); err != nil || d.pool == nil {
		return err
	}
	return d.migrateAdvisories(ctx, options)
}

// usable refuses tables that this version can't use. They may be newer: what came since
// was added, unless a migration says otherwise.
func (d *DB) usable(ctx context.Context) error {
	var oldest int64
	err := d.db.QueryRowContext(ctx, oldestQuery).Scan(&oldest)
	if err == nil && oldest > d.schema {
		err = fmt.Errorf("%w: it takes one with schema %d, this one has %d: start the newer version, or restore a backup from before into a new database", ErrNewerTables, oldest, d.schema)
	}
	return err
}

// oldestQuery asks for the schema of the oldest version that can use the tables.
const oldestQuery = `SELECT oldest FROM compatibility`

// mayContract refuses to take from the tables what instances use that are heard of.
// One that comes in between ends itself with its next beat.
func (d *DB) mayContract(ctx context.Context, p *goose.Provider, files fs.FS) error {
	has, err := p.GetDBVersion(ctx)
	if err != nil || has == 0 || has >= d.schema {
		return err
	}
	var oldest int64
	for _, s := range p.ListSources() {
		if s.Version <= has {
			continue
		}
		text, err := fs.ReadFile(files, s.Path)
		if err != nil {
			return err
		}
		oldest = max(oldest, contracts(string(text)))
	}
	older, err := queryStrings(ctx, d.db.QueryContext, `SELECT id || ' (' || version || ')' FROM instances WHERE schema_version < $1 AND beat_at >= $2 ORDER BY id`,
		oldest, d.now().Add(-SilentAfter).UnixMicro())
	if err == nil && len(older) > 0 {
		err = fmt.Errorf("%w, which could not use the tables of this one (it takes schema %d): replace them by a version between, or stop them: %s", ErrOlderInstances, oldest, strings.Join(older, ", "))
	}
	return err
}

// contracts is which schema a version needs to have for using the tables after a
// migration; 0 when the migration changes nothing about this.
func contracts(migration string) (oldest int64) {
	for _, m := range regexp.MustCompile(`(?m)^UPDATE compatibility SET oldest = (\d+);`).FindAllStringSubmatch(migration, -1) {
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil { // what goose would not take either
			oldest = max(oldest, n)
		}
	}
	return oldest
}

// migrateAdvisories makes the tables of advisories on PostgreSQL, by the same text as
// in the file of the command line; on SQLite there is such a file beside the database.
// Those of a newer version stay: which can use them is told for all tables.
func (d *DB) migrateAdvisories(ctx context.Context, options []goose.ProviderOption) error {
	sub, err := fs.Sub(migrations, "migrations/advisories")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, d.db, sub, append(options, goose.WithTableName("goose_db_version_advisories"))...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	if _, err = d.db.ExecContext(ctx, newsTable); err != nil {
		return err
	}
	return d.forgetOtherServers(ctx)
}

// migrationFiles are those of the server's tables, in the words of the engine.
func (d *DB) migrationFiles() (fs.FS, error) {
	files := d.files
	if files == nil {
		sub, err := fs.Sub(serverMigrationFiles, "migrations/server")
		if err != nil {
			return nil, err
		}
		files = sub
	}
	if d.pool == nil {
		files = sqliteMigrations{files}
	}
	return files, nil
}

// sqliteMigrations are migrations, which are written for PostgreSQL, with the type of
// ids in the words of SQLite.
type sqliteMigrations struct{ fs.FS }

// Open implements fs.FS.
func (m sqliteMigrations) Open(name string) (fs.File, error) {
	f, err := m.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &migrationFile{File: f, Reader: strings.NewReader(strings.ReplaceAll(string(text),
		"BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY"))}, nil
}

// A migrationFile is a file with other content.
type migrationFile struct {
	fs.File
	*strings.Reader
}

func (f *migrationFile) Read(p []byte) (int, error) { return f.Reader.Read(p) }

// notNewer refuses to copy tables that a newer version has made, of which this one may not
// know all, and gives their version.
func (d *DB) notNewer(ctx context.Context, tx *sql.Tx) (schema int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version`).Scan(&schema)
	if err == nil && schema > d.schema {
		err = fmt.Errorf("%w (schema %d, this one has %d): use that version", ErrNewerTables, schema, d.schema)
	}
	return schema, err
}
