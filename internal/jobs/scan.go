package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river/rivertype"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// Scans scans what manifests stand for. DB, Registries and Runner are needed.
type Scans struct {
	DB         *store.DB
	Registries *Registries
	// Runner analyses layers; its Memory is shared by all scans of this instance.
	Runner *analyzer.Runner
	// Instance is the id of this one, as the queue has it: what it has claimed is given to
	// others when it is heard of no more.
	Instance string
	// Cache of layers; the database itself when nil.
	Cache scan.Cache
	// Parallel is how many layers of an image are read at once; 0 means 2.
	Parallel int
	// MaxAttempts before a manifest is parked; 0 means DefaultAttempts.
	MaxAttempts int
	// Timeout of one scan; 0 means an hour.
	Timeout time.Duration
	// Backoff is how long to wait after an attempt has failed; by default Backoff.
	Backoff func(attempt int) time.Duration
	// Then is told of the images that were scanned, to have them matched and judged.
	Then func(ctx context.Context, images []int64) error
	Log  *slog.Logger
}

// How long a manifest stays with an instance that is heard of no more, and how often it
// is heard of.
const (
	claimFor  = store.SilentAfter
	keepEvery = 2 * time.Second
)

// Work is that of the queue.
func (s *Scans) Work() Work {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = time.Hour
	}
	// The attempts that count are those of the row; the queue gives up later.
	return Work{Kind: Scan, Do: s.Do, Timeout: timeout, MaxAttempts: s.maxAttempts() + 2, Together: true}
}

func (s *Scans) maxAttempts() int {
	if s.MaxAttempts > 0 {
		return s.MaxAttempts
	}
	return DefaultAttempts
}

// Do scans the manifest whose id is the key, unless it is not due or another instance
// has it. How it ended is written in its row; the error is for the queue.
func (s *Scans) Do(ctx context.Context, key string) error {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return &ParkedError{fmt.Errorf("manifest %q: %w", key, err)}
	}
	m, err := s.DB.ClaimManifest(ctx, id, s.Instance, claimFor)
	if err != nil || m == nil {
		return err
	}
	if m.Attempts > s.maxAttempts() {
		reason := "given up: each time the instance that scanned it ended before the scan did"
		return s.ended(ctx, m, store.ScanOutcome{State: "parked", Reason: reason}, errors.New(reason))
	}
	held, stop := s.keep(ctx, m)
	outcome, err := s.scan(held, m)
	lost := context.Cause(held)
	stop()
	switch {
	case errors.Is(lost, store.ErrConflict):
		return fmt.Errorf("manifest %d: %w", id, lost)
	case errors.Is(err, store.ErrConflict): // seen as the image was written
		return err
	case err == nil:
		return s.done(ctx, m, outcome)
	case errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely):
		return s.ended(ctx, m, store.ScanOutcome{State: "parked", Reason: "cancelled", MediaType: outcome.MediaType}, err)
	case errors.Is(ctx.Err(), context.Canceled): // this instance stops
		return errors.Join(err, s.DB.ScanHandedBack(context.WithoutCancel(ctx), m))
	}
	if store.DiskFull(err) {
		return s.handBack(ctx, m, err)
	}
	return s.failed(ctx, m, outcome, err)
}

// handBack gives up a claim as if it had not been, as soon as the database takes that: a
// disk that is full is to use up no attempts, however long it is. It passes the reason on.
func (s *Scans) handBack(ctx context.Context, m *store.ClaimedManifest, reason error) error {
	const again = time.Second
	giveUp := s.DB.ScanHandedBack
	for {
		err := giveUp(ctx, m)
		if errors.Is(err, store.ErrConflict) { // another was there first, when there was room
			giveUp = s.DB.ScanNotTried
			continue
		}
		if err == nil || ctx.Err() != nil {
			return reason
		}
		if !store.Unavailable(err) {
			return errors.Join(reason, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// keep lets the claim be prolonged until stop; the context ends when another has it.
func (s *Scans) keep(ctx context.Context, m *store.ClaimedManifest) (held context.Context, stop func()) {
	held, lost := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(keepEvery)
		defer ticker.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-ticker.C:
			}
			if err := s.DB.KeepManifest(held, m, claimFor); errors.Is(err, store.ErrConflict) {
				lost(err)
			}
		}
	}()
	return held, func() { lost(nil); <-ended }
}

// done writes down a scan that went well, and has its images matched.
func (s *Scans) done(ctx context.Context, m *store.ClaimedManifest, o store.ScanOutcome) error {
	if err := s.ended(ctx, m, o, nil); store.DiskFull(err) {
		return s.handBack(ctx, m, err)
	} else if err != nil {
		return err
	}
	if s.Then == nil || len(o.Images) == 0 {
		return nil
	}
	return s.Then(ctx, o.Images)
}

// ended writes down how a scan ended, also when the job was broken off, and passes the
// reason on.
func (s *Scans) ended(ctx context.Context, m *store.ClaimedManifest, o store.ScanOutcome, reason error) error {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := s.DB.ScanEnded(ctx, m, o)
	if err == nil && o.State != "due" {
		err = s.DB.ForgetScanAuthorization(ctx, m.ID)
	}
	return errors.Join(reason, err)
}

// failed has a scan tried again later, or gives it up.
func (s *Scans) failed(ctx context.Context, m *store.ClaimedManifest, o store.ScanOutcome, reason error) error {
	o.Reason = reason.Error()
	if m.Attempts >= s.maxAttempts() {
		o.State = "parked"
		return s.ended(ctx, m, o, &ParkedError{reason})
	}
	backoff := s.Backoff
	if backoff == nil {
		backoff = Backoff
	}
	o.State, o.RetryAt = "due", s.DB.Now().Add(backoff(m.Attempts))
	return s.ended(ctx, m, o, reason)
}

// scan reads what a manifest stands for. With an error, the outcome has what could be
// kept all the same.
func (s *Scans) scan(ctx context.Context, m *store.ClaimedManifest) (store.ScanOutcome, error) {
	a, err := s.access(ctx, m)
	if err != nil {
		return store.ScanOutcome{}, err
	}
	ref := a.Host + "/" + m.Repository
	images, closer, err := source.Open(ctx, "registry:"+ref+"@"+m.Digest, a.Options)
	if err != nil {
		return s.unopened(ctx, a, m, err)
	}
	defer closer.Close()
	if len(images) == 0 {
		return store.ScanOutcome{State: "other", Reason: "it has no image for the platforms that are scanned"}, nil
	}
	outcome := store.ScanOutcome{State: "scanned"}
	var incomplete error
	for _, img := range images {
		img.Reference, img.Tag = ref+"@"+m.Digest, m.Tag
		if m.Tag != "" {
			img.Reference = ref + ":" + m.Tag
		}
		id, lacks, err := s.image(ctx, m, img)
		if err != nil {
			return outcome, err
		}
		outcome.Images = append(outcome.Images, id)
		if incomplete == nil {
			incomplete = lacks
		}
	}
	return outcome, incomplete
}

func (s *Scans) access(ctx context.Context, m *store.ClaimedManifest) (*Access, error) {
	a, err := s.Registries.Of(ctx, m.Registry)
	if err != nil {
		return nil, err
	}
	given, err := s.DB.ScanAuthorization(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	if given != "" {
		a.Authorised(given)
	}
	a.Options.AllPlatforms, a.Options.Wants = true, func(p image.Platform) bool { return wantedPlatform(p, a.Registry.Settings.Platforms) }
	return a, nil
}

// unopened tells apart what is no image, what is gone, and what failed.
func (s *Scans) unopened(ctx context.Context, a *Access, m *store.ClaimedManifest, err error) (store.ScanOutcome, error) {
	if errors.Is(err, source.ErrNotImage) {
		return store.ScanOutcome{State: "other", Reason: err.Error()}, nil
	}
	if ctx.Err() != nil {
		return store.ScanOutcome{}, err
	}
	// The error may be about what is below an index: only the registry knows.
	r, openErr := source.OpenRepository(ctx, a.Host+"/"+m.Repository, a.Options)
	if openErr != nil {
		return store.ScanOutcome{}, err
	}
	defer r.Close()
	if _, headErr := r.Head(ctx, m.Digest); errors.Is(headErr, fs.ErrNotExist) {
		return store.ScanOutcome{State: "gone", Reason: "the registry has it no more"}, nil
	}
	return store.ScanOutcome{}, err
}

// wantedPlatform tells whether images for a platform are scanned by a registry's
// settings: all where they name none, and those of which it is not known what they are
// for, or for which variant.
func wantedPlatform(have image.Platform, platforms []string) bool {
	text := have.String()
	return len(platforms) == 0 || text == "" || slices.ContainsFunc(platforms, func(p string) bool {
		return text == p || strings.HasPrefix(text, p+"/") || strings.HasPrefix(p, text+"/")
	})
}

// image scans one image and keeps what is in it. lacks tells which layer could not be
// had.
func (s *Scans) image(ctx context.Context, m *store.ClaimedManifest, img *image.Image) (id int64, lacks, err error) {
	const parallel = 2
	cache := s.Cache
	if cache == nil {
		cache = s.DB
	}
	// A Scanner remembers layers: each image gets its own.
	scanner := &scan.Scanner{Runner: s.Runner, Cache: cache, Log: s.Log, Parallel: s.Parallel, Claim: s.DB.ClaimLayer}
	if scanner.Parallel == 0 {
		scanner.Parallel = parallel
	}
	res, err := scanner.Image(ctx, img)
	if err != nil {
		return 0, nil, err
	}
	for i, l := range res.Layers {
		if l == nil && lacks == nil {
			lacks = fmt.Errorf("%s: layer %d: %s", img.Platform, i, problemOf(res, i))
		}
	}
	below, err := s.DB.ImagesBelow(ctx, img)
	if err != nil {
		return 0, nil, err
	}
	if img.Base = image.RecogniseBase(img, below); img.Base != nil && img.Base.Repository == "" && img.Base.Reference != "" {
		if ref, err := source.Parse("registry:" + img.Base.Reference); err == nil { // an annotation may be anything
			img.Base.Repository, img.Base.Tag = ref.Name()
		}
	}
	id, err = s.DB.PutImage(ctx, store.Contents{Image: img, Inventory: &res.Inventory, AnalyzerSet: analyzer.SetVersion, Layers: res.Layers, Incomplete: lacks != nil, Claim: m})
	return id, lacks, err
}

func problemOf(res *scan.Result, layer int) string {
	for i := range res.Inventory.Problems {
		if p := &res.Inventory.Problems[i]; p.Layer == layer && p.Incomplete {
			return p.Message
		}
	}
	return "could not be read"
}
