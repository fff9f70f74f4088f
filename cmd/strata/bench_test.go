package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/match"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// The benchmarks measure, on the same images in one run:
//
//	Floor  read + sha256 + decompress + walk the tar, layers in parallel
//	Cold   a scan that reads every layer, and keeps it in a cache
//	Bare   Cold without licences and classifiers: what these two add is the rest
//	Warm   a scan of an image whose layers are all known
//	Start  the program itself on an image whose layers it reads, from exec to exit
//
// scripts/bench.sh prints their ratios. The images are made of the Go
// installation that runs the benchmark, some 300 MB of programs, archives and
// text, and with ../shared at hand of a real image.

// benchImages are paths of archives on disk by name.
func benchImages(b *testing.B) map[string]string {
	b.Helper()
	dir := b.TempDir()
	images := map[string]string{}
	for name, c := range map[string]imagetest.Compression{"go-plain": imagetest.None, "go-gzip": imagetest.Gzip} {
		images[name] = writeImage(b, filepath.Join(dir, name+".tar"), c, goLayers(b))
	}
	if shared := sharedImages(b); shared != "" {
		images["node-gzip"] = "oci:" + filepath.Join(shared, "oci") + ":node-app"
		images["node-plain"] = writeImage(b, filepath.Join(dir, "node-plain.tar"), imagetest.None, plainLayers(b, images["node-gzip"]))
	}
	return images
}

func sharedImages(b *testing.B) string {
	dir, err := filepath.Abs("../../../shared/images")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// goLayers are three layers: the compiler's programs, the library, and the rest.
func goLayers(b *testing.B) [][]byte {
	b.Helper()
	var layers [][]byte
	root, err := exec.CommandContext(b.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range []string{"pkg", "src", "bin"} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		if err := w.AddFS(os.DirFS(filepath.Join(strings.TrimSpace(string(root)), dir))); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		layers = append(layers, out.Bytes())
	}
	return layers
}

// plainLayers decompresses the layers of a gzip image.
func plainLayers(b *testing.B, ref string) [][]byte {
	b.Helper()
	img, done := openImage(b, ref)
	defer done()
	layers := make([][]byte, len(img.Layers))
	err := img.Content.Each(b.Context(), img.Layers, 1, func(ctx context.Context, blob image.Blob) error {
		r, err := blob.Open(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		layers[blob.Layer.Index], err = io.ReadAll(z)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return layers
}

func writeImage(b *testing.B, path string, c imagetest.Compression, tars [][]byte) string {
	b.Helper()
	spec := imagetest.Spec{Name: "bench:1"}
	for _, t := range tars {
		spec.Layers = append(spec.Layers, imagetest.Layer{Raw: t, Compression: c})
	}
	img, err := spec.Build()
	if err != nil {
		b.Fatal(err)
	}
	if err := imagetest.WriteFile(path, imagetest.OCIArchive, img); err != nil {
		b.Fatal(err)
	}
	return path
}

func openImage(b *testing.B, ref string) (*image.Image, func()) {
	b.Helper()
	images, closer, err := source.Open(b.Context(), ref, source.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return images[0], func() { _ = closer.Close() }
}

// eachImage runs a benchmark over all images; the rate is that of the blobs.
func eachImage(b *testing.B, run func(b *testing.B, ref string)) {
	for name, ref := range benchImages(b) {
		b.Run(name, func(b *testing.B) {
			img, done := openImage(b, ref)
			var size int64
			for _, l := range img.Layers {
				size += l.Size
			}
			done()
			b.SetBytes(size)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				run(b, ref)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpuTime is what the process has used so far, on all processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkFloor(b *testing.B) {
	tuneMemory(512 << 20)
	eachImage(b, func(b *testing.B, ref string) {
		img, done := openImage(b, ref)
		defer done()
		err := img.Content.Each(b.Context(), img.Layers, runtime.GOMAXPROCS(0), func(ctx context.Context, blob image.Blob) error {
			r, err := blob.Open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			return readFloor(r)
		})
		if err != nil {
			b.Fatal(err)
		}
	})
}

var floorBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 256<<10) }}

// readFloor is the least that any honest scan must do with a layer: verify its
// digest and diff id, and see its tar entries.
func readFloor(r io.Reader) error {
	hashed := sha256.New()
	buffered, _ := floorBuffers.Get().(*bufio.Reader)
	defer floorBuffers.Put(buffered)
	buffered.Reset(io.TeeReader(r, hashed))
	plain := io.Reader(buffered)
	if head, err := buffered.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		plain = io.TeeReader(z, sha256.New())
	}
	tr := tar.NewReader(plain)
	for {
		if _, err := tr.Next(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, plain)
	return err
}

// bareAnalyzers are those of packages alone.
func bareAnalyzers() []analyzer.Analyzer {
	added := []string{"binary", "release-file", "license", "portage-license", "crate", "nuspec"}
	return slices.DeleteFunc(analyzer.Default(), func(a analyzer.Analyzer) bool { return slices.Contains(added, a.Name()) })
}

// scanOnce does what `strata scan` does up to the report: open, look into the
// cache, read, keep, merge, match.
func scanOnce(b *testing.B, ref, dir string, analyzers []analyzer.Analyzer) {
	b.Helper()
	cache, err := store.OpenCache(b.Context(), filepath.Join(dir, "layers.db"))
	if err != nil {
		b.Fatal(err)
	}
	db, err := store.OpenAdvisories(filepath.Join(dir, advisoriesFile))
	if err != nil {
		b.Fatal(err)
	}
	img, done := openImage(b, ref)
	defer done()
	res, err := (&scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzers, Memory: &analyzer.Memory{}}, Cache: cache}).Image(b.Context(), img)
	if err != nil {
		b.Fatal(err)
	}
	if len(res.Inventory.Packages) == 0 {
		b.Fatal("nothing found")
	}
	if _, err := match.Find(b.Context(), &res.Inventory, db, match.Options{}); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(cache.Close(), db.Close()); err != nil {
		b.Fatal(err)
	}
}

// benchAdvisories makes a folder with the advisories to match against: the real
// feeds where they are, else the starter set.
func benchAdvisories(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	mirror := advisory.StarterMirror()
	if feeds, err := filepath.Abs("../../../shared/feeds/osv"); err == nil {
		if m, err := advisory.OpenMirror(feeds, advisory.MirrorOptions{}); err == nil {
			mirror = m
		}
	}
	if _, err := store.UpdateAdvisories(b.Context(), filepath.Join(dir, advisoriesFile), mirror, store.UpdateOptions{}); err != nil {
		b.Fatal(err)
	}
	return dir
}

func BenchmarkCold(b *testing.B) { benchmarkCold(b, analyzer.Default) }

func BenchmarkBare(b *testing.B) { benchmarkCold(b, bareAnalyzers) }

// benchmarkCold makes the analyzers anew for each scan, as the program does.
func benchmarkCold(b *testing.B, analyzers func() []analyzer.Analyzer) {
	tuneMemory(512 << 20)
	dir := benchAdvisories(b)
	eachImage(b, func(b *testing.B, ref string) {
		if err := os.RemoveAll(filepath.Join(dir, "layers.db")); err != nil {
			b.Fatal(err)
		}
		scanOnce(b, ref, dir, analyzers())
	})
}

func BenchmarkWarm(b *testing.B) {
	dir := benchAdvisories(b)
	known := map[string]bool{}
	eachImage(b, func(b *testing.B, ref string) {
		if !known[ref] {
			b.StopTimer()
			scanOnce(b, ref, dir, analyzer.Default())
			known[ref] = true
			b.StartTimer()
		}
		scanOnce(b, ref, dir, analyzer.Default())
	})
}

// BenchmarkStart runs what ships: what it does once a process counts too.
func BenchmarkStart(b *testing.B) {
	program := filepath.Join(b.TempDir(), "strata")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	dir := benchAdvisories(b)
	eachImage(b, func(b *testing.B, ref string) {
		cmd := exec.CommandContext(b.Context(), program, "scan", "--quiet", "--no-cache", "--offline", "--allow-incomplete", "--cache-dir", dir, "-f", "json", ref)
		cmd.Stdout = io.Discard
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	})
}
