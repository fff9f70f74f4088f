package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"strata/internal/store"
)

// A client is what is used of River's, whose type differs by the engine.
type client struct {
	insert        func(context.Context, []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	start         func(context.Context) error
	stop          func(context.Context) error
	stopAndCancel func(context.Context) error
	list          func(context.Context, *river.JobListParams) (*river.JobListResult, error)
	get           func(context.Context, int64) (*rivertype.JobRow, error)
	cancel        func(context.Context, int64) (*rivertype.JobRow, error)
	retry         func(context.Context, int64) (*rivertype.JobRow, error)
	close         func() error
	// exec changes rows of River's tables, where it has no way to.
	exec func(ctx context.Context, query string, args ...any) (rows int64, err error)
}

// Migrate brings River's tables to the form of this version, as New does. Those of a newer
// version stay as they are: whether this one can use them is told by the store's, which
// opened db.
func Migrate(ctx context.Context, db *store.DB) error {
	c, err := openClient(ctx, db, &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = c.close()
	}
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// openClient makes a client and the tables of River.
func openClient(ctx context.Context, db *store.DB, c *river.Config) (made client, err error) {
	if db.Pool() != nil {
		// Instances that start together would make the tables twice.
		err := db.Locked(ctx, "queue", func(ctx context.Context) (err error) {
			made, err = postgresClient(ctx, db, c)
			return err
		})
		made.exec = func(ctx context.Context, query string, args ...any) (int64, error) {
			tag, err := db.Pool().Exec(ctx, query, args...)
			return tag.RowsAffected(), err
		}
		return made, err
	}
	// A file of its own: River writes all the time, and SQLite has one writer.
	file, err := store.OpenSQLite(db.Path()+"-jobs", "_pragma=busy_timeout(30000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(NORMAL)", "_txlock=immediate")
	if err != nil {
		return client{}, err
	}
	file.SetMaxOpenConns(1)
	if made, err = sqliteClient(ctx, file, c); err != nil {
		return client{}, errors.Join(err, file.Close())
	}
	made.close = file.Close
	made.exec = func(ctx context.Context, query string, args ...any) (int64, error) {
		r, err := file.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	}
	return made, nil
}

func postgresClient(ctx context.Context, db *store.DB, config *river.Config) (client, error) {
	driver := riverpgxv5.New(db.Pool())
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: config.Logger})
	if err != nil {
		return client{}, err
	}
	c, err := river.NewClient(driver, config)
	if err != nil {
		return client{}, err
	}
	return bind(ctx, migrator, c)
}

func sqliteClient(ctx context.Context, file *sql.DB, config *river.Config) (client, error) {
	driver := riversqlite.New(file)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: config.Logger})
	if err != nil {
		return client{}, err
	}
	c, err := river.NewClient(driver, config)
	if err != nil {
		return client{}, err
	}
	return bind(ctx, migrator, c)
}

func bind[TTx any](ctx context.Context, migrator *rivermigrate.Migrator[TTx], c *river.Client[TTx]) (client, error) {
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return client{}, fmt.Errorf("tables: %w", err)
	}
	return client{
		insert: c.InsertMany, start: c.Start, stop: c.Stop, stopAndCancel: c.StopAndCancel,
		list: c.JobList, get: c.JobGet, cancel: c.JobCancel, retry: c.JobRetry,
		close: func() error { return nil },
	}, nil
}

// quiet tells River's own doings to those only who want to know everything.
type quiet struct{ slog.Handler }

// Handle implements slog.Handler.
func (h quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		r.Level = slog.LevelDebug
	}
	if !h.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{h.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name)} }
