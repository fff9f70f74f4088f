package jobs

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

const reportPicture = `
-- layer0/etc/os-release --
ID=debian
VERSION_ID=12
-- layer0/var/lib/dpkg/status --
Package: openssl
Status: install ok installed
Version: 3.0.1-1
Architecture: amd64

-- layer1/app/node_modules/lodash/package.json --
{"name":"lodash","version":"4.17.4","license":"MIT"}
-- layer2/app/node_modules/.wh.lodash --
`

// starterAdvisories are those that come with Strata, in a file.
func starterAdvisories(t *testing.T) *store.Advisories {
	t.Helper()
	path := filepath.Join(t.TempDir(), "advisories.db")
	if _, err := store.UpdateAdvisories(t.Context(), path, advisory.StarterMirror(), store.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	db, err := store.OpenAdvisories(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// The report of the server is the report of the command line, byte by byte.
func TestReportsAreThoseOfTheCommandLine(t *testing.T) {
	advisories := starterAdvisories(t)
	onEngines(t, func(t *testing.T, location string) {
		db := openDB(t, location)
		img := pictureImage(t, reportPicture)
		scanner := scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default()}, Cache: db, Claim: db.ClaimLayer}
		res, err := scanner.Image(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		found, err := match.Find(t.Context(), &res.Inventory, advisories, match.Options{Now: db.Now})
		if err != nil {
			t.Fatal(err)
		}
		want := report.New(report.Scanned{Tool: report.Tool{Name: "strata", Version: "1"}, Image: res.Image, Layers: res.Layers, Inventory: &res.Inventory, Match: &found})
		id, err := db.PutImage(t.Context(), store.Contents{Image: img, Inventory: &res.Inventory, AnalyzerSet: analyzer.SetVersion})
		if err != nil {
			t.Fatal(err)
		}
		reports := &Reports{DB: db, Cache: &Layers{DB: db}, Version: "1",
			Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
				return advisories, report.Advisories{}, nil
			}}
		for range 2 { // from the database, and from memory
			got, err := reports.Report(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Findings) == 0 {
				t.Error("no findings: nothing is compared")
			}
			if w, g := jsonText(t, want), jsonText(t, got); w != g {
				t.Errorf("want:\n%s\ngot:\n%s", w, g)
			}
		}
	})
}

func jsonText(t *testing.T, r *report.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLayersAreBounded(t *testing.T) {
	db, err := store.OpenDB(t.Context(), filepath.Join(t.TempDir(), "strata.db"), store.DBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cache := &Layers{DB: db, Limit: 8000}
	img := pictureImage(t, reportPicture)
	scanner := scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default()}, Cache: cache}
	if _, err := scanner.Image(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, l := range img.Layers {
			if got, err := cache.Layer(t.Context(), l.DiffID, analyzer.SetVersion); err != nil || got.DiffID != l.DiffID {
				t.Errorf("%v, %v", got, err)
			}
		}
	}
	if cache.size > cache.Limit || len(cache.held) != cache.order.Len() || len(cache.held) == 0 {
		t.Errorf("%d bytes in %d layers, of at most %d", cache.size, len(cache.held), cache.Limit)
	}
}

// pictureImage is the image of a picture, in a layout on disk.
func pictureImage(t *testing.T, picture string) *image.Image {
	t.Helper()
	spec, err := imagetest.Parse([]byte(picture))
	if err != nil {
		t.Fatal(err)
	}
	built, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := imagetest.WriteOCILayout(dir, built); err != nil {
		t.Fatal(err)
	}
	images, closer, err := source.Open(t.Context(), "oci:"+dir, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closer.Close() })
	return images[0]
}
