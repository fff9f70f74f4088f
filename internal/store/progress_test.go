package store

import (
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		for _, q := range []string{
			`INSERT INTO registries (id, name, url, kind, settings, created_at, updated_at, crawl_progress) VALUES (1, 'a', 'x', 'crawled', '{}', 0, 0, '3 of 4'), (2, 'b', 'y', 'crawled', '{}', 0, 0, '')`,
			`INSERT INTO repositories (id, registry, name, seen_at) VALUES (1, 1, 'team/web', 0)`,
			`INSERT INTO manifests (id, repository, digest, state, found_at, scanned_at) VALUES (7, 1, 'sha256:aa', 'scanned', 0, 1000), (8, 1, 'sha256:bb', 'parked', 0, 1000), (9, 1, 'sha256:cc', 'due', 0, NULL)`,
		} {
			if _, err := db.db.ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.Progress(t.Context())
		if err != nil || len(got) != 2 || got[0] != (RegistryProgress{Registry: "a", Crawl: "3 of 4", Due: 1, Scanned: 1, Parked: 1}) || got[1] != (RegistryProgress{Registry: "b"}) {
			t.Errorf("%+v, %v", got, err)
		}
		first, err := db.ScannedAfter(t.Context(), time.UnixMicro(1), 0, 1)
		if err != nil || len(first) != 1 || first[0].ID != 7 || first[0].Repository != "a/team/web" {
			t.Fatalf("%+v, %v", first, err)
		}
		rest, err := db.ScannedAfter(t.Context(), first[0].At, first[0].ID, 10)
		if err != nil || len(rest) != 1 || rest[0].Digest != "sha256:bb" || rest[0].State != "parked" {
			t.Errorf("%+v, %v", rest, err)
		}
		totals, err := db.ServerTotals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]int64{}
		for _, total := range totals {
			if total.Name == "manifests" {
				states[total.LabelValue] = total.Value
			}
		}
		if len(states) != 3 || states["due"] != 1 {
			t.Errorf("%v", states)
		}
	})
}
