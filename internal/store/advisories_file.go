package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations/advisories/*.sql
var migrations embed.FS

// lockPoll is how often a waiting update looks whether the other is done.
const lockPoll = 100 * time.Millisecond

// A draft is the next state of an advisory database: a file beside the one that
// readers have, which takes its place when all is in it, or goes.
type draft struct {
	path string // that readers have
	temp string
	lock *os.File
	db   *sql.DB
}

// openDraft waits for other updates of the file, removes what interrupted ones
// left, and copies the present state, if there is one and keep is set.
func openDraft(ctx context.Context, path string, keep bool, log *slog.Logger) (*draft, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := lockFile(ctx, path+".lock", log)
	if err != nil {
		return nil, err
	}
	d := &draft{path: path, lock: lock}
	if err := d.prepare(ctx, keep); err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

func (d *draft) prepare(ctx context.Context, keep bool) error {
	if err := d.removeStale(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(d.path), filepath.Base(d.path)+".new-*")
	if err != nil {
		return err
	}
	d.temp = f.Name()
	if keep {
		err = copyInto(f, d.path)
	}
	// Temporary files are for their owner only; the database is for readers.
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return d.open(ctx)
}

// removeStale removes drafts of updates that were killed. No other is at work:
// we hold the lock.
func (d *draft) removeStale() error {
	entries, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(globEscape(filepath.Base(d.path))+".new-*", e.Name()); ok {
			if err := os.Remove(filepath.Join(filepath.Dir(d.path), e.Name())); err != nil && !missing(err) {
				return err
			}
		}
	}
	return nil
}

// globEscape makes a name match itself only.
func globEscape(name string) string {
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		switch name[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, name[i])
	}
	return string(out)
}

func copyInto(to *os.File, path string) error {
	from, err := os.Open(path)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

// open opens the draft for one writer. It is no one else's, and worthless when
// it breaks, so nothing need reach the disk before publish.
func (d *draft) open(ctx context.Context) error {
	db, err := sql.Open("sqlite", sqliteURI(d.temp,
		"_pragma=journal_mode(TRUNCATE)", "_pragma=synchronous(OFF)", "_pragma=locking_mode(EXCLUSIVE)",
		"_pragma=temp_store(MEMORY)", "_pragma=cache_size(-65536)", "_pragma=trusted_schema(OFF)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	d.db = db
	return migrate(ctx, db)
}

// migrate brings the tables to the form we know, in an empty file too.
func migrate(ctx context.Context, db *sql.DB) error {
	version, err := schemaVersion(ctx, db)
	switch {
	case err != nil:
		return err
	case version == advisorySchema:
		return nil
	case version > advisorySchema:
		return fmt.Errorf("%w (schema %d, want %d): use that one, or remove the file", errNewer, version, advisorySchema)
	}
	sub, err := fs.Sub(migrations, "migrations/advisories")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// schemaVersion is 0 for a database without tables of ours.
func schemaVersion(ctx context.Context, db *sql.DB) (int, error) {
	tables, err := queryStrings(ctx, db.QueryContext, `SELECT name FROM sqlite_master WHERE name = 'goose_db_version'`)
	if err != nil || len(tables) == 0 {
		return 0, err
	}
	var version int
	err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version`).Scan(&version)
	return version, err
}

// errNewer is when a database has tables we don't know.
var errNewer = errors.New("made by a newer strata")

// damaged tells that an error means that the file is no SQLite database, or no
// whole one.
func damaged(err error) bool {
	const corrupt, notADatabase, shortRead = 11, 26, 522 // https://www.sqlite.org/rescode.html
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == corrupt || e.Code()&0xff == notADatabase || e.Code() == shortRead)
}

// publish puts the draft in the place of what readers open next; after it has
// returned, a crash of the machine finds the new state.
func (d *draft) publish() error {
	err := errors.Join(d.db.Close(), removeJournal(d.temp), syncPath(d.temp))
	d.db = nil
	if err != nil {
		return errors.Join(err, d.discard())
	}
	if err := os.Rename(d.temp, d.path); err != nil {
		return errors.Join(err, d.discard())
	}
	d.temp = ""
	return errors.Join(syncPath(filepath.Dir(d.path)), d.discard())
}

// discard removes the draft, if it was not published, and lets others update.
func (d *draft) discard() error {
	var errs []error
	if d.db != nil {
		errs = append(errs, d.db.Close())
		d.db = nil
	}
	if d.temp != "" {
		errs = append(errs, os.Remove(d.temp), removeJournal(d.temp))
		d.temp = ""
	}
	if d.lock != nil {
		// Closing gives the lock back; the file stays, since another may wait on it.
		errs = append(errs, d.lock.Close())
		d.lock = nil
	}
	return errors.Join(errs...)
}

// removeJournal removes the empty file that SQLite keeps for the next
// transaction, once the database is closed.
func removeJournal(path string) error {
	if err := os.Remove(path + "-journal"); err != nil && !missing(err) {
		return err
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lockFile waits for the lock that all updates of one database take.
func lockFile(ctx context.Context, path string, log *slog.Logger) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		got, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if got {
			return f, nil
		}
		if !told {
			log.Warn("another update is at work, waiting for it", "lock", path)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another update is at work (it holds %s): %w", path, context.Cause(ctx)), f.Close())
		case <-time.After(lockPoll):
		}
	}
}
