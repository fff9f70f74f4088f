package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"strata/internal/advisory"
)

// syncLease is the name of the lease of the one instance that syncs advisories.
const syncLease = "advisories"

// ErrBusy is wrapped by errors of work that another instance is doing.
var ErrBusy = errors.New("another instance is at it")

// Advisories opens the advisories of the server, as they are now. Close frees them; on
// PostgreSQL they take a connection until then. Before the first sync there are none.
func (d *DB) Advisories(ctx context.Context) (*Advisories, error) {
	if d.pool != nil {
		return d.advisoriesPostgres(ctx)
	}
	a, err := OpenAdvisories(d.advisoriesPath())
	if !missing(err) {
		return a, err
	}
	nothing := func(ctx context.Context, _ string, _ ...any) (*sql.Rows, error) {
		return d.db.QueryContext(ctx, `SELECT 1 WHERE 1 = 0`)
	}
	return &Advisories{ask: nothing, close: func() error { return nil }, path: d.advisoriesPath()}, nil
}

// advisoriesPath is the file of advisories beside an SQLite database.
func (d *DB) advisoriesPath() string {
	return filepath.Join(filepath.Dir(d.path), filepath.Base(d.path)+".advisories")
}

func (d *DB) advisoriesPostgres(ctx context.Context) (*Advisories, error) {
	tx, err := d.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("advisories: %w", err)
	}
	end := func() error {
		if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
			return err
		}
		return nil
	}
	// Between what it is asked there may be much work, and it locks nothing.
	if err := d.patient(ctx, tx); err != nil {
		return nil, fmt.Errorf("advisories: %w", errors.Join(err, end()))
	}
	return &Advisories{ask: tx.QueryContext, close: end, path: "PostgreSQL"}, nil
}

// SyncAdvisories brings the advisories of the server up to date with a mirror. Readers
// see the old state or the new one, and the old one stays when it is broken off. holder
// names this instance: of several, one syncs, the others get ErrBusy. What the summary
// calls changed is matched again by MatchDue.
func (d *DB) SyncAdvisories(ctx context.Context, holder string, mirror *advisory.Mirror, o UpdateOptions) (UpdateSummary, error) {
	lease, ok, err := d.Acquire(ctx, syncLease, holder, SilentAfter)
	if err == nil && !ok {
		err = ErrBusy
	}
	if err != nil {
		return UpdateSummary{}, fmt.Errorf("sync of advisories: %w", err)
	}
	if o.Now == nil {
		o.Now = d.now
	}
	seen, err := d.newsSeen(ctx)
	if o.seen = &seen; err != nil {
		return UpdateSummary{}, fmt.Errorf("sync of advisories: %w", errors.Join(err, d.Release(ctx, lease)))
	}
	var summary UpdateSummary
	err = d.holding(ctx, lease, SilentAfter, func(ctx context.Context) error {
		if d.pool == nil {
			summary, err = UpdateAdvisories(ctx, d.advisoriesPath(), mirror, o)
		} else {
			summary, err = d.syncPostgres(ctx, lease, mirror, o)
		}
		return err
	})
	if err == nil {
		err = d.refreshScores(ctx)
	}
	if err != nil {
		return summary, fmt.Errorf("sync of advisories: %w", err)
	}
	return summary, nil
}

// holding does something while it keeps a lease alive; when the lease is lost, the
// context of the work ends.
func (d *DB) holding(ctx context.Context, l Lease, ttl time.Duration, do func(context.Context) error) error {
	work, lost := context.WithCancelCause(ctx)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(ttl / 4)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := d.Renew(work, l, ttl); errors.Is(err, ErrConflict) {
					lost(err)
					return
				}
			}
		}
	}()
	err := do(work)
	close(done)
	<-ended
	lost(nil)
	return errors.Join(err, d.Release(context.WithoutCancel(ctx), l))
}

// stillHeld makes sure, in a transaction that is about to end, that no other has the
// lease, nor gets it before the end.
func stillHeld(ctx context.Context, tx *sql.Tx, l Lease) error {
	err := changed(tx.ExecContext(ctx, `UPDATE leases SET fence = fence WHERE name = $1 AND holder = $2 AND fence = $3`, l.Name, l.Holder, l.Fence))
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("lease %s: %w: another has taken it", l.Name, ErrConflict)
	}
	return err
}

// syncPostgres is UpdateAdvisories in the tables of the server, which only syncs write.
// A mirror may be slow, and who keeps a transaction open holds up others: so all of it
// is fetched before. What is stored stays as it was seen then, as long as the lease is
// held.
func (d *DB) syncPostgres(ctx context.Context, lease Lease, mirror *advisory.Mirror, o UpdateOptions) (summary UpdateSummary, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	u := &update{mirror: mirror, o: o, now: o.Now()}
	making, err := u.look(ctx, d.db.QueryContext)
	if err != nil {
		return u.summary, err
	}
	plans := gathered(making)
	u.fetchLists(ctx)
	defer func() { err = errors.Join(err, closeAll(plans), u.closeLists()) }()
	if err := context.Cause(ctx); err != nil {
		return u.summary, err
	}
	err = inTx(ctx, d.db, func(tx *sql.Tx) error {
		if err := d.patient(ctx, tx); err != nil {
			return err
		}
		if err := u.take(ctx, func() {}, tx, plans); err != nil {
			return err
		}
		return stillHeld(ctx, tx, lease)
	})
	return u.summary, err
}
