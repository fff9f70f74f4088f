package store

import (
	"context"
	"errors"
	"testing"

	"strata/internal/advisory"
)

// A sync of the starter set can be read; a second instance finds the first at it; what
// is broken off changes nothing.
func TestSyncAdvisories(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		if s := syncedStatus(t, db); s.Records != 0 {
			t.Errorf("%d records before the first sync", s.Records)
		}
		if _, ok, err := db.Acquire(ctx, syncLease, "other", SilentAfter); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if _, err := db.SyncAdvisories(ctx, "me", advisory.StarterMirror(), UpdateOptions{}); !errors.Is(err, ErrBusy) {
			t.Errorf("while another syncs: %v", err)
		}
		if _, err := db.SyncAdvisories(ctx, "other", advisory.StarterMirror(), UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		s := syncedStatus(t, db)
		if s.Records == 0 || !s.Starter || s.Vulnerabilities == 0 {
			t.Errorf("status %+v", s)
		}
		broken, cancel := context.WithCancel(ctx)
		_, err := db.SyncAdvisories(broken, "me", advisory.StarterMirror(), UpdateOptions{Progress: func(Progress) { cancel() }})
		if err == nil {
			t.Error("a sync that was broken off has no error")
		}
		if again := syncedStatus(t, db); again.Records != s.Records || !again.Oldest.Equal(s.Oldest) {
			t.Errorf("after a broken sync %+v, before %+v", again, s)
		}
	})
}

func syncedStatus(t *testing.T, db *DB) AdvisoryStatus {
	t.Helper()
	a, err := db.Advisories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
