package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river/rivertype"
	"golang.org/x/sync/errgroup"

	"strata/internal/source"
	"strata/internal/store"
)

// Crawls reads the catalogues and tags of registries: by HEAD, so that no manifest is
// read again that is known. What is new is due to be scanned; what is there no more is
// retired, with its history. That a list leaves something out is no proof: a proxy or a
// permission may do so, so the registry is asked for each. DB, Registries and Enqueue are
// needed.
type Crawls struct {
	DB         *store.DB
	Registries *Registries
	Enqueue    func(context.Context, ...Job) error
	// Every is how often registries are read whose settings say nothing; 0 is only when
	// it is asked for.
	Every time.Duration
	// Timeout of one crawl; 0 means 12 hours.
	Timeout time.Duration
	Log     *slog.Logger
}

// Work is that of the queue. A crawl that is broken off begins anew, and finds what is
// known already.
func (c *Crawls) Work() Work {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = 12 * time.Hour
	}
	return Work{Kind: Crawl, Do: c.Do, Timeout: timeout, MaxAttempts: 1}
}

// A crawl is one of a registry.
type crawl struct {
	*Crawls
	access *Access
	began  time.Time

	mu sync.Mutex
	// seen are the repositories that there are.
	seen map[string]bool
	// What is told of it.
	repositories, tags, fresh, retired int
	// unlisted are repositories that the catalogue leaves out though they are there.
	unlisted []string
	failures []string
	failed   int
	told     time.Time
}

// Do reads the registry whose id is the key, if it is due.
func (c *Crawls) Do(ctx context.Context, key string) error {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return &ParkedError{fmt.Errorf("registry %q: %w", key, err)}
	}
	began := c.DB.Now()
	a, err := c.Registries.Of(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil {
		return err
	}
	reg := a.Registry
	if reg.Paused || reg.Kind != store.Crawled || reg.CrawlDueAt.IsZero() || reg.CrawlDueAt.After(began) {
		return nil
	}
	run := &crawl{Crawls: c, access: a, began: began, seen: map[string]bool{}}
	err = run.all(ctx)
	if ended := run.ended(ctx, err); ended != nil && !errors.Is(ended, store.ErrNotFound) {
		err = errors.Join(err, ended)
	}
	return err
}

// atOnce is how many repositories are read at the same time.
const atOnce = 4

// all reads every repository.
func (c *crawl) all(ctx context.Context) error {
	if err := c.progress(ctx, true); err != nil {
		return err
	}
	const parallel = 8
	limit := c.access.Registry.Settings.Parallel
	if limit <= 0 {
		limit = parallel
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(min(atOnce, limit))
	heads := make(chan struct{}, limit)
	err := c.names(inner, func(names []string) error {
		for _, name := range names {
			if !c.access.Registry.Settings.Wants(name, "") || !c.first(name) {
				continue
			}
			g.Go(func() error { return c.repository(inner, name, heads) })
		}
		return inner.Err()
	})
	if failure := g.Wait(); failure != nil {
		return failure // of the database, or broken off
	}
	if err != nil {
		return err
	}
	return c.others(ctx, heads)
}

// names gives the repositories: those listed, or the catalogue.
func (c *crawl) names(ctx context.Context, give func([]string) error) error {
	listed := c.access.Registry.Settings.Repositories
	if len(listed) > 0 && !slices.ContainsFunc(listed, func(s string) bool { return strings.Contains(s, "*") }) {
		return give(listed)
	}
	return source.Catalog(ctx, c.access.Host, c.access.Options, give)
}

func (c *crawl) first(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.seen[name]
	c.seen[name] = true
	return !was
}

// repository reads one repository. What fails of it is told at the end, and is no reason
// to leave out the others; the error is for what is.
func (c *crawl) repository(ctx context.Context, name string, heads chan struct{}) error {
	began := c.DB.Now()
	known, err := c.DB.Tagged(ctx, c.access.Registry.ID, name)
	if err != nil {
		return err
	}
	heard, err := c.heads(ctx, name, known, heads)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return c.retire(ctx, name)
	}
	if err != nil {
		c.fail(err)
		return nil
	}
	c.mu.Lock()
	if !c.seen[name] {
		c.unlisted = append(c.unlisted, name)
	}
	c.mu.Unlock()
	return c.keep(ctx, name, began, known, heard)
}

// retire writes down that the registry has a repository no more.
func (c *crawl) retire(ctx context.Context, name string) error {
	retired, err := c.DB.RetireRepository(ctx, c.access.Registry.ID, name, c.began)
	c.mu.Lock()
	c.retired += int(retired)
	c.mu.Unlock()
	return err
}

// A headOf is what the registry says of a tag.
type headOf struct {
	source.Head
	gone bool
	err  error
}

// heads asks for each wanted tag of a repository, and for those that were known and that
// the registry does not list.
func (c *crawl) heads(ctx context.Context, name string, known map[string]string, slots chan struct{}) (heard map[string]headOf, err error) {
	r, err := source.OpenRepository(ctx, c.access.Host+"/"+name, c.access.Options)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tags, err := r.Tags(ctx)
	if err != nil {
		return nil, err
	}
	var asked []string
	for _, tag := range tags {
		if c.access.Registry.Settings.Wants(name, tag) {
			asked = append(asked, tag)
		}
	}
	for tag := range known {
		if !slices.Contains(tags, tag) {
			asked = append(asked, tag)
		}
	}
	heard = map[string]headOf{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(cap(slots))
	for _, tag := range asked {
		g.Go(func() error {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			h, err := r.Head(ctx, tag)
			mu.Lock()
			defer mu.Unlock()
			heard[tag] = headOf{Head: h, gone: errors.Is(err, fs.ErrNotExist), err: err}
			return nil
		})
	}
	return heard, g.Wait()
}

// keep writes down what is new in a repository and what is there no more, and has the
// new scanned.
func (c *crawl) keep(ctx context.Context, name string, at time.Time, known map[string]string, heard map[string]headOf) error {
	id := c.access.Registry.ID
	var fresh []store.CrawledTag
	var lost []string
	for _, tag := range slices.Sorted(maps.Keys(heard)) {
		h := heard[tag]
		switch {
		case h.gone:
			if known[tag] != "" {
				lost = append(lost, tag)
			}
		case h.err != nil:
			c.fail(h.err)
		case known[tag] != string(h.Digest):
			fresh = append(fresh, store.CrawledTag{Name: tag, Digest: string(h.Digest), MediaType: h.MediaType})
		}
	}
	due, err := c.DB.SeenTags(ctx, id, name, c.access.Registry.Settings.Owner(name), at, fresh)
	if err != nil {
		return err
	}
	retired, err := c.DB.RetireTags(ctx, id, name, at, lost)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.repositories++
	c.tags += len(heard)
	c.fresh += len(due)
	c.retired += int(retired)
	c.mu.Unlock()
	if err := c.progress(ctx, false); err != nil {
		return err
	}
	return c.Enqueue(ctx, scanJobs(due, ForCrawling)...)
}

func scanJobs(manifests []int64, p Priority) []Job {
	out := make([]Job, len(manifests))
	for i, id := range manifests {
		out[i] = Job{Kind: Scan, Key: strconv.FormatInt(id, 10), Priority: p}
	}
	return out
}

// others asks for the repositories that the catalogue has no more: those that are not
// there are retired. Those that the filters leave out now stay as they are.
func (c *crawl) others(ctx context.Context, heads chan struct{}) error {
	names, err := c.DB.LiveRepositories(ctx, c.access.Registry.ID)
	if err != nil {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(min(atOnce, cap(heads)))
	for _, name := range names {
		if !c.seen[name] && c.access.Registry.Settings.Wants(name, "") {
			g.Go(func() error { return c.repository(inner, name, heads) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if n := len(c.unlisted); n > 0 {
		c.fail(fmt.Errorf("the catalogue leaves out %d repositories that are there, %s for one: is a proxy broken, or have the credentials lost a permission", n, slices.Min(c.unlisted)))
	}
	return nil
}

// fail remembers what could not be read, the first few in words.
func (c *crawl) fail(err error) {
	const most = 5
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
	if len(c.failures) < most {
		c.failures = append(c.failures, err.Error())
	}
}

// tellEvery is how often a crawl tells how far it is.
const tellEvery = 2 * time.Second

// progress tells how far it is. The error is for a registry that was deleted or paused.
func (c *crawl) progress(ctx context.Context, always bool) error {
	c.mu.Lock()
	due := always || time.Since(c.told) >= tellEvery
	if due {
		c.told = time.Now()
	}
	text := c.text()
	c.mu.Unlock()
	if !due {
		return nil
	}
	err := c.DB.CrawlProgress(ctx, c.access.Registry.ID, text)
	if errors.Is(err, store.ErrNotFound) {
		return &ParkedError{errors.New("the registry was paused or deleted meanwhile")}
	}
	return err
}

func (c *crawl) text() string {
	text := fmt.Sprintf("%d repositories, %d tags read, %d new, %d retired", c.repositories, c.tags, c.fresh, c.retired)
	if c.failed > 0 {
		text += fmt.Sprintf(", %d could not be read", c.failed)
	}
	return text
}

// ended writes down how it went. What was broken off stays due.
func (c *crawl) ended(ctx context.Context, failure error) error {
	reg := c.access.Registry
	reason := strings.Join(c.failures, "\n")
	if failure != nil {
		reason = failure.Error()
	}
	switch {
	case errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely):
		reason = "cancelled"
		ctx = context.WithoutCancel(ctx)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		ctx = context.WithoutCancel(ctx)
	case ctx.Err() != nil:
		return nil // this instance stops
	}
	next := time.Time{}
	if every := reg.Settings.Every(c.Every); every > 0 {
		next = c.began.Add(every)
	}
	const again = 5 * time.Minute // a registry that is down is asked again sooner
	if failure != nil && reason != "cancelled" && (next.IsZero() || next.After(c.DB.Now().Add(again))) {
		next = c.DB.Now().Add(again)
	}
	if c.Log != nil && failure == nil { // a failure is told by the queue
		told := []any{"registry", reg.Name, "repositories", c.repositories, "tags", c.tags, "new", c.fresh, "retired", c.retired, "took", c.DB.Now().Sub(c.began)}
		if c.failed > 0 {
			told = append(told, "failed", c.failed, "error", reason)
		}
		c.Log.InfoContext(ctx, "registry read", told...)
	}
	return c.DB.CrawlEnded(ctx, reg.ID, c.began, failure == nil, reason, c.text(), next)
}
