package store

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

var seen = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// stack is an image with the layers.
func stack(name, tag string, config int, layers ...int) *image.Image {
	m := &image.Image{
		Reference: name + ":" + tag, Repository: name, Tag: tag, Digest: image.Digest(diffID(1000 + config)), ConfigDigest: image.Digest(diffID(config)),
		Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Created: seen, Labels: map[string]string{"a": "b"},
		History: []image.Step{{CreatedBy: "RUN x", Comment: "c", Created: seen}, {CreatedBy: "CMD y", Empty: true}},
	}
	for i, n := range layers {
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: diffID(n), Size: 5, CreatedBy: "RUN x"})
	}
	return m
}

func names(images []*image.Image) []string {
	var out []string
	for _, m := range images {
		out = append(out, m.Name())
	}
	return out
}

func TestImagesSeen(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	put := func(at time.Duration, m *image.Image) {
		t.Helper()
		for range 2 { // again is no error
			if err := c.PutImage(t.Context(), m, seen.Add(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, stack("debian", "12", 1, 1))
	put(1, stack("debian", "12", 2, 11))
	put(2, stack("debian", "11", 3, 12))
	put(3, stack("node", "20", 4, 1, 2))
	put(4, stack("other", "1", 5, 2, 1))
	put(5, stack("app", "1", 6, 1, 2, 3))
	put(6, &image.Image{Reference: "empty", ConfigDigest: "x"})
	arm := stack("debian", "12", 7, 21)
	arm.Platform.Architecture = "arm64"
	put(7, arm)

	below, err := c.ImagesBelow(t.Context(), stack("app", "2", 8, 1, 2, 3, 4))
	if diff := cmp.Diff([]string{"app:1", "node:20", "debian:12"}, names(below)); diff != "" || err != nil {
		t.Errorf("images below: %v\n%s", err, diff)
	}
	want := stack("node", "20", 4, 1, 2)
	if diff := cmp.Diff(want, below[1]); diff != "" {
		t.Errorf("image (-put +got):\n%s", diff)
	}
	of, err := c.ImagesOf(t.Context(), "debian", "linux/amd64")
	if diff := cmp.Diff([]string{"debian:11", "debian:12"}, names(of)); diff != "" || err != nil {
		t.Errorf("images of debian: %v\n%s", err, diff)
	}
	if of[1].Layers[0].DiffID != diffID(11) {
		t.Error("debian:12 is not what it named last")
	}
}

// TestImagesBelowManyBuilds: builds that change a label alone have the same layers,
// and don't hide what they stand on.
func TestImagesBelowManyBuilds(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	put := func(m *image.Image, at int) {
		t.Helper()
		if err := c.PutImage(t.Context(), m, seen.Add(time.Duration(at))); err != nil {
			t.Fatal(err)
		}
	}
	put(stack("debian", "12", 1, 1), 0)
	for i := range maxKnownImages + 10 {
		put(stack("app", "1", 10+i, 1, 2), 1+i)
	}
	below, err := c.ImagesBelow(t.Context(), stack("app", "1", 2000, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(below); n != maxOfStack+1 || below[n-1].Name() != "debian:12" {
		t.Errorf("images below: %v", names(below))
	}
	if last := image.Digest(diffID(10 + maxKnownImages + 9)); below[0].ConfigDigest != last {
		t.Error("the build seen last does not come first")
	}
}

// TestImagesAreSeenAtTheSameTime: processes that scan the same images don't
// disturb each other.
func TestImagesAreSeenAtTheSameTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	var wg sync.WaitGroup
	for range 4 {
		c := openTestCache(t, path)
		wg.Go(func() {
			for n := range 20 {
				if err := c.PutImage(t.Context(), stack("app", fmt.Sprint(n), n, 1, 2, n), seen); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := openTestCache(t, path)
	for table, want := range map[string]int{"images": 20, "image_layers": 60} {
		var n int
		if err := c.db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d rows, error %v; want %d", table, n, err, want)
		}
	}
}

// TestImagesBelowUsesIndexes: recognising a base must not read every image.
func TestImagesBelowUsesIndexes(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	rows, err := c.db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN SELECT i.image FROM image_layers l JOIN images i ON i.id = l.image AND l.position = i.layers - 1
		WHERE l.chain_id IN ('a', 'b')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		if len(detail) > 4 && detail[:4] == "SCAN" {
			t.Errorf("the query reads a whole table: %s", detail)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeImage(f *testing.F) {
	c := openTestCache(f, filepath.Join(f.TempDir(), "cache.db"))
	f.Add([]byte(`{"Reference": "a", "Layers": [{"DiffID": "sha256:1"}], "History": [{"Empty": true}], "Content": null}`), true)
	f.Add([]byte("x"), false)
	f.Fuzz(func(t *testing.T, b []byte, encoded bool) {
		if encoded {
			b = c.enc.EncodeAll(b, nil)
		}
		if m := c.decodeImage(b); m != nil {
			m.ChainIDs()
			image.RecogniseBase(m, []*image.Image{m})
		}
	})
}
