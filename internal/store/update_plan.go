package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"strata/internal/advisory"
)

const (
	// fewRecords is how many changed records are fetched one by one, where the
	// mirror has them so, rather than with the whole archive.
	fewRecords = 300
	// fetchers is how many are fetched at once.
	fetchers = 8
	// maxVanish is how many records may leave a list before we look whether the
	// archive lacks them too: a list cut short is no reason to forget.
	maxVanish = 50
	// keepErrors is how many errors of single records a summary has.
	keepErrors = 5
)

// A plan is what an update has found to do for one ecosystem.
type plan struct {
	ecosystem string
	// stored are the feed's rows at the last update.
	stored map[string]string
	// listed are the mirror's rows now, with their times; nil when the mirror
	// has no list.
	listed map[string]string
	// changed are the ids to read, sorted.
	changed []string
	// vanished are the ids to drop, sorted.
	vanished []string
	archive  *advisory.Archive
	// single are the records that were fetched one by one.
	single map[string]fetched
	err    error
	// taken is called once the plan's files are no longer needed; others may be fetched
	// then.
	taken func()
}

// A fetched is a record read from the mirror, or why it could not be.
type fetched struct {
	id     string
	record advisory.Record
	err    error
}

// prepare makes the plans, some ahead of the one being applied, in order. Every
// plan must be taken.
func (u *update) prepare(ctx context.Context, ecosystems []string, feeds map[string]map[string]string) <-chan *plan {
	queue := make(chan chan *plan, len(ecosystems))
	slots := make(chan struct{}, prepareAhead)
	go func() {
		defer close(queue)
		for _, e := range ecosystems {
			// In order, so that the plan that is next always has its slot.
			slots <- struct{}{}
			ready := make(chan *plan, 1)
			queue <- ready
			go func() {
				p := &plan{ecosystem: e, stored: feeds[e], taken: func() { <-slots }}
				p.err = u.plan(ctx, p)
				ready <- p
			}()
		}
	}()
	out := make(chan *plan)
	go func() {
		defer close(out)
		for ready := range queue {
			out <- <-ready
		}
	}()
	return out
}

// gathered waits until all plans are made: what they need of the mirror is here then.
// So the files of all of them are here at once, each bounded by package advisory.
func gathered(plans <-chan *plan) <-chan *plan {
	var all []*plan
	for p := range plans {
		p.taken()
		p.taken = func() {}
		all = append(all, p)
	}
	out := make(chan *plan, len(all))
	for _, p := range all {
		out <- p
	}
	close(out)
	return out
}

// plan compares the mirror with what is stored and fetches what changed.
func (u *update) plan(ctx context.Context, p *plan) error {
	changes, err := u.mirror.Modified(ctx, p.ecosystem)
	switch {
	case missing(err):
		return u.planWithoutList(ctx, p)
	case err != nil:
		return err
	case len(changes) == 0:
		return errors.New("modified_id.csv is empty")
	}
	p.listed = make(map[string]string, len(changes))
	for _, c := range changes {
		// Of an id listed twice the newest counts.
		p.listed[c.ID] = max(p.listed[c.ID], formatTime(c.Modified))
	}
	for id, modified := range p.listed {
		if p.stored[id] != modified {
			p.changed = append(p.changed, id)
		}
	}
	for id := range p.stored {
		if _, ok := p.listed[id]; !ok {
			p.vanished = append(p.vanished, id)
		}
	}
	slices.Sort(p.changed)
	slices.Sort(p.vanished)
	return u.fetch(ctx, p)
}

// planWithoutList takes the whole archive.
func (u *update) planWithoutList(ctx context.Context, p *plan) (err error) {
	if p.archive, err = u.mirror.Archive(ctx, p.ecosystem); err != nil {
		return err
	}
	for i := range p.archive.Len() {
		p.changed = append(p.changed, p.archive.ID(i))
	}
	slices.Sort(p.changed)
	p.changed = slices.Compact(p.changed)
	for _, id := range slices.Sorted(maps.Keys(p.stored)) {
		if _, ok := p.archive.Lookup(id); !ok {
			p.vanished = append(p.vanished, id)
		}
	}
	return nil
}

func (u *update) fetch(ctx context.Context, p *plan) error {
	whole := len(p.changed) > fewRecords || len(p.stored) == 0 && len(p.changed) > 0
	if !whole {
		p.single = map[string]fetched{}
		var unknown bool
		for _, f := range u.fetchSingle(ctx, p.ecosystem, p.changed) {
			switch {
			case missing(f.err):
				// This mirror has only archives, or the record is in none.
				unknown = true
			case f.err != nil && !errors.Is(f.err, errUnreadable):
				return f.err
			default:
				p.single[f.id] = f
			}
		}
		whole = unknown
	}
	if !whole && len(p.vanished) <= maxVanish {
		return nil
	}
	var err error
	if p.archive, err = u.mirror.Archive(ctx, p.ecosystem); err != nil {
		return err
	}
	if len(p.vanished) > maxVanish {
		p.vanished = slices.DeleteFunc(p.vanished, func(id string) bool {
			_, there := p.archive.Lookup(id)
			return there
		})
	}
	return nil
}

// fetchSingle reads records from their own files. When the first has none, it
// doesn't ask for the others: they are then missing too.
func (u *update) fetchSingle(ctx context.Context, ecosystem string, ids []string) []fetched {
	out := make([]fetched, len(ids))
	if len(ids) == 0 {
		return out
	}
	one := func(i int) {
		out[i] = fetched{id: ids[i]}
		b, err := u.mirror.Record(ctx, ecosystem, ids[i])
		if err != nil {
			out[i].err = err
			return
		}
		// An unreadable record is no failure of the mirror.
		r, err := advisory.Parse(b)
		if err == nil && r.ID != ids[i] {
			err = fmt.Errorf("holds the record %q", r.ID)
		}
		out[i].record, out[i].err = r, unreadable(ids[i], err)
	}
	one(0)
	if missing(out[0].err) {
		return out[:1]
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range fetchers {
		wg.Go(func() {
			for i := range next {
				one(i)
			}
		})
	}
	for i := range ids[1:] {
		next <- i + 1
	}
	close(next)
	wg.Wait()
	return out
}

// errUnreadable marks the error of a single record, which is reported and
// doesn't fail its ecosystem.
var errUnreadable = errors.New("unreadable")

func unreadable(id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s.json: %w: %w", id, errUnreadable, err)
}

// records reads all changed records, in parallel, in no order. The caller must
// drain the channel; after a cancelled context it closes early.
func (p *plan) records(ctx context.Context) <-chan fetched {
	out := make(chan fetched, 64)
	next := make(chan string, 64)
	go func() {
		defer close(next)
		for _, id := range p.changed {
			select {
			case next <- id:
			case <-ctx.Done():
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for id := range next {
				out <- p.read(id)
			}
		})
	}
	go func() {
		wg.Wait()
		close(out)
	}()
	return out
}

func (p *plan) read(id string) fetched {
	if f, ok := p.single[id]; ok {
		return f
	}
	if p.archive == nil {
		return fetched{id: id, err: fmt.Errorf("%s: the mirror has no such record", id)}
	}
	i, ok := p.archive.Lookup(id)
	if !ok {
		return fetched{id: id, err: fmt.Errorf("%s: listed, but the archive lacks it", id)}
	}
	r, err := p.archive.Read(i)
	return fetched{id: id, record: r, err: err}
}

// close frees what the plan holds.
func (p *plan) close() error {
	defer p.taken()
	if p.archive == nil {
		return nil
	}
	return p.archive.Close()
}
