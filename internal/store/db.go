package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/zstd"
)

// DB is the database of `strata serve`: SQLite for one instance, PostgreSQL for
// any number. Every statement is one text for both. Its methods are safe for
// concurrent use, by any number of instances on PostgreSQL.
type DB struct {
	// db reads and writes; on SQLite it has several connections, writers wait for
	// each other.
	db *sql.DB
	// pool is what db is made of on PostgreSQL; nil on SQLite.
	pool *pgxpool.Pool
	// writing is full while a transaction writes to SQLite; nil on PostgreSQL.
	writing chan struct{}
	// path is the file on SQLite; empty on PostgreSQL.
	path string
	// alone is the lock of DBOptions.Alone, held until the database is closed.
	alone *os.File
	// files are the migrations of the server's tables, and schema the last of them.
	files  fs.FS
	schema int64
	// now is the time that rows have: that of PostgreSQL's clock, which instances share.
	now   func() time.Time
	clock clock
	// keys seal secrets; anyKey is for one that need not open what there is.
	keys   keyring
	anyKey bool
	enc    *zstd.Encoder
	dec    *zstd.Decoder

	fleet fleet
}

// DBOptions of OpenDB. The zero value is useful.
type DBOptions struct {
	// Now is written as the time of changes; by default that of PostgreSQL's clock, or
	// time.Now.
	Now func() time.Time
	// Key of the server, KeySize bytes, seals the secrets in the database; without one
	// there can be none. Former are those before it, which open what they have sealed.
	// ErrSealed when the secrets were sealed with none of them.
	Key    []byte
	Former [][]byte
	// AnyKey opens it also when the secrets were sealed with none of them, for Rekey.
	AnyKey bool
	// Alone refuses an SQLite file that another process has opened so: ErrInUse. What
	// works on it beside that, for moments, needs no such lock. Of no effect on
	// PostgreSQL, which is for any number of instances.
	Alone bool
	// MaxConns bounds the connections of this instance to PostgreSQL; 16 by default.
	MaxConns int

	// files are other migrations than the embedded ones, those of another version.
	files fs.FS
}

// OpenDB opens the database of a server and brings its tables to the form of this
// version; of several instances that start at once, one does. Tables of a newer version
// stay as they are: ErrNewerTables when this version can't use them. ErrOlderInstances
// when instances run that could not use those of this one. location is a URL
// postgres://… or the path of an SQLite file, which is made when it is not there.
func OpenDB(ctx context.Context, location string, o DBOptions) (*DB, error) {
	d := &DB{now: o.Now, anyKey: o.AnyKey, files: o.files}
	if d.now == nil {
		d.now = d.clock.now
	}
	if err := d.open(ctx, location, o); err != nil {
		return nil, fmt.Errorf("database %s: %w", redactLocation(location), errors.Join(err, d.Close()))
	}
	return d, nil
}

// IsPostgres tells a PostgreSQL URL from the path of an SQLite file.
func IsPostgres(location string) bool {
	return strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://")
}

func (d *DB) open(ctx context.Context, location string, o DBOptions) (err error) {
	if d.keys, err = newKeyring(o.Key, o.Former); err != nil {
		return err
	}
	if d.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10)); err != nil {
		return err
	}
	if d.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxCachedLayer)); err != nil {
		return err
	}
	if scheme, _, ok := strings.Cut(location, "://"); ok && !IsPostgres(location) {
		return fmt.Errorf("%s is not supported: want postgres://… or the path of an SQLite file", scheme)
	}
	if IsPostgres(location) {
		err = d.openPostgres(ctx, location, o)
	} else {
		err = d.openSQLite(location, o.Alone)
	}
	if err != nil {
		return err
	}
	if err := d.setClock(ctx); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return d.checkKey(ctx)
}

func (d *DB) openSQLite(path string, alone bool) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	d.path, d.writing = path, make(chan struct{}, 1)
	// synchronous(FULL): what was told to be kept is kept after a power cut.
	d.db, err = OpenSQLite(path, "_pragma=busy_timeout(30000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=foreign_keys(ON)", "_pragma=temp_store(MEMORY)", "_pragma=cache_size(-65536)", "_txlock=immediate")
	if err != nil {
		return err
	}
	d.db.SetMaxOpenConns(16)
	if alone { // before anything is read; the file is there by now
		d.alone, err = lockAlone(path)
	}
	return err
}

// OpenSQLite opens an SQLite file of the server, which is made when it is not there, for
// the user of the server alone. params are those of the driver ("_pragma=…").
func OpenSQLite(path string, params ...string) (*sql.DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", sqliteURI(path, params...))
}

// ErrInUse is wrapped by the error about an SQLite file that another server has.
var ErrInUse = errors.New("another strata serve (or admin restore) works on this file")

// lockAlone locks an SQLite file for one server. What instances tell each other goes
// through PostgreSQL, and what one keeps in memory another would not know to be old. The
// lock is a file beside it, as SQLite has locks of its own on the file; it stays there,
// since taking it away would let two have it.
func lockAlone(path string) (*os.File, error) {
	target, err := filepath.EvalSymlinks(path) // one file has one lock, by whatever name
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(target+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	got, err := tryLock(f)
	switch {
	case err != nil:
		err = fmt.Errorf("lock %s: %w; where the file system can't lock, put the database on a local one (--data-dir), or use PostgreSQL", f.Name(), err)
	case !got:
		err = fmt.Errorf("%w, and holds %s: stop it first; for several instances use PostgreSQL (--database postgres://…)", ErrInUse, f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close frees the database.
func (d *DB) Close() error {
	var errs []error
	if d.db != nil {
		errs = append(errs, d.db.Close())
	}
	if d.pool != nil {
		d.pool.Close()
	}
	if d.enc != nil {
		errs = append(errs, d.enc.Close())
	}
	if d.dec != nil {
		d.dec.Close()
	}
	if d.alone != nil { // last, when nothing is written any more
		errs = append(errs, d.alone.Close())
	}
	return errors.Join(errs...)
}

// Pool is the connections to PostgreSQL, for package jobs; nil on SQLite.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Path is the file of an SQLite database; empty on PostgreSQL.
func (d *DB) Path() string { return d.path }

// Ping tells whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.db.PingContext(ctx) }

// micros is a time as columns have it; nil for the zero time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// fromMicros reads what micros wrote.
func fromMicros(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64).UTC()
}

// ErrNotFound is wrapped by errors about what is not in the database.
var ErrNotFound = errors.New("not found")

// ErrConflict is wrapped by errors about what contradicts what is there: a name
// that is taken, a fence that has passed.
var ErrConflict = errors.New("conflict")
