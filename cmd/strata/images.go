package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/sbom"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// imageOptions are the flags of commands that read an image.
type imageOptions struct {
	sourceOptions
	baseOptions
	licenseOptions

	timeout  time.Duration
	memory   byteSize
	parallel int
	noCache  bool
}

// defaultMemory is the default of --memory.
const defaultMemory = 512 << 20

func (o *imageOptions) flags(f *pflag.FlagSet) {
	flagGroup(f, "Where the image is", o.sourceOptions.flags)
	flagGroup(f, "Base image", o.baseOptions.flags)
	flagGroup(f, "Licences", o.licenseOptions.flags)
	flagGroup(f, "Work", o.workFlags)
}

func (o *imageOptions) workFlags(f *pflag.FlagSet) {
	o.memory = defaultMemory
	f.BoolVar(&o.noCache, "no-cache", false, "read every layer anew, and keep nothing of them")
	f.DurationVar(&o.timeout, "timeout", 0, "give up after this `DURATION`, such as 10m (default none)")
	f.Var(&o.memory, "memory", "use this `SIZE` of memory at most, however large the image")
	f.IntVar(&o.parallel, "parallel", 0, "read `N` layers at the same time (default the number of processors)")
}

// check finds mistakes in the flags before any work is done.
func (o *imageOptions) check() error {
	if o.memory < 64<<20 {
		return fmt.Errorf("--memory %s: want at least 64MiB", &o.memory)
	}
	if o.timeout < 0 {
		return fmt.Errorf("--timeout %s: want a time to come", o.timeout)
	}
	if o.parallel < 0 {
		return fmt.Errorf("--parallel %d: want a number of layers, or 0 for the number of processors", o.parallel)
	}
	_, err := o.table()
	return err
}

// limit puts the limits of time and memory into effect.
func (o *imageOptions) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	tuneMemory(o.memory)
	if o.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("gave up after --timeout %s", o.timeout))
}

// reports reads what the reference names and holds it against the advisories:
// one report for each image, without a verdict.
func (a *app) reports(ctx context.Context, ref string, o *imageOptions, adv *advisoryOptions) (reports []*report.Report, err error) {
	classes, err := o.table()
	if err != nil {
		return nil, err
	}
	results, err := a.inventories(ctx, ref, o)
	if err != nil {
		return nil, timeoutCause(ctx, err)
	}
	db, from, err := a.openAdvisoriesFor(ctx, adv, ecosystemsOf(results))
	if err != nil {
		return nil, timeoutCause(ctx, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, res := range results {
		r, err := a.matched(ctx, res, db, from, classes)
		if err != nil {
			return nil, timeoutCause(ctx, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// matched holds a scanned image against the advisories.
func (a *app) matched(ctx context.Context, res *scan.Result, db *store.Advisories, from origin, classes license.Classes) (*report.Report, error) {
	found, err := match.Find(ctx, &res.Inventory, db, match.Options{Now: a.now})
	if err != nil {
		return nil, err
	}
	s := scannedOf(res, &found)
	s.Advisories, s.Problems, s.Classes = from.advisories, from.problems, classes
	return report.New(s), nil
}

// scannedOf is what the report of a scanned image is made of in any case.
func scannedOf(res *scan.Result, found *match.Result) report.Scanned {
	return report.Scanned{
		Tool: report.Tool{Name: "strata", Version: version()}, Image: res.Image, Layers: res.Layers, Inventory: &res.Inventory, Match: found,
	}
}

// timeoutCause names the flag rather than the mechanism.
func timeoutCause(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
	}
	return err
}

// inventories reads what the reference names: one result for each image.
func (a *app) inventories(ctx context.Context, ref string, o *imageOptions) (results []*scan.Result, err error) {
	parsed, err := source.Parse(ref)
	if err != nil {
		return nil, err
	}
	if parsed.Scheme == source.SBOM {
		return a.readSBOM(parsed.Path)
	}
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	bars := newProgress(a, a.quiet)
	defer bars.Close()
	scanner := o.scanner(a, bars)
	if parsed.Scheme == source.Dir {
		res, err := scanner.Root(ctx, parsed.Path)
		return []*scan.Result{res}, err
	}
	var cache *store.Cache
	if !o.noCache {
		cache, err = a.openCache(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, cache.Close()) }()
		scanner.Cache = cache
	}
	images, closer, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	for _, img := range images {
		res, err := scanner.Image(ctx, img)
		if err != nil {
			bars.Abort()
			return nil, err
		}
		results = append(results, res)
	}
	return results, a.recogniseBases(ctx, cache, results, &o.baseOptions, opts)
}

// scanner is one as the flags say, without a cache.
func (o *imageOptions) scanner(a *app, bars *progress) *scan.Scanner {
	return &scan.Scanner{
		Runner:   &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{Limit: int64(o.memory) / 4}},
		Observer: bars, Parallel: o.parallel, Log: a.log,
	}
}

func (a *app) openCache(ctx context.Context) (*store.Cache, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return store.OpenCache(ctx, filepath.Join(dir, "layers.db"))
}

func (a *app) readSBOM(path string) ([]*scan.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := sbom.Read(f)
	if err != nil {
		return nil, fmt.Errorf("sbom %s: %w", path, err)
	}
	img, layers := doc.Image, doc.Layers()
	img.Reference = "sbom:" + path
	if len(layers) == 0 {
		img.Layers = []image.Layer{{Index: 0, Size: -1, CreatedBy: doc.Format}}
		layers = []*inventory.Layer{{Entries: len(doc.Inventory.Packages)}}
	}
	return []*scan.Result{{Image: &img, Layers: layers, Inventory: doc.Inventory}}, nil
}
