package jobs

import (
	"context"
	"fmt"
	"time"

	"strata/internal/store"
)

// aloneFor is how long a kind and key stays with an instance that is heard of no more.
const aloneFor = store.SilentAfter

// takeAlone gives the context to work in while nobody else in the cluster works under
// a name, and what gives it back; a nil context when another does. The context ends
// when the name is lost, as when the database could not be reached for too long.
func takeAlone(ctx context.Context, db *store.DB, holder, name string) (held context.Context, release func(), err error) {
	lease, ok, err := db.Acquire(ctx, "job "+name, holder, aloneFor)
	if err != nil || !ok {
		return nil, nil, err
	}
	held, lost := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keepAlone(held, db, lease, lost)
	}()
	return held, func() {
		lost(nil)
		<-ended
		// What can't be given back runs out.
		_ = db.Release(context.WithoutCancel(ctx), lease)
	}, nil
}

// keepAlone prolongs a lease until its work ends, and ends the work when it is lost.
func keepAlone(ctx context.Context, db *store.DB, lease store.Lease, lost context.CancelCauseFunc) {
	ticker := time.NewTicker(aloneFor / 4)
	defer ticker.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := db.Renew(ctx, lease, aloneFor)
		switch {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() == nil && time.Since(renewed) > aloneFor/2:
			lost(fmt.Errorf("broken off, as another instance may work on it now: %w", err))
			return
		}
	}
}
