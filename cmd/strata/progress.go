package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"strata/internal/image"
	"strata/internal/report"
)

const (
	// maxBars is how many layers have a row at the same time.
	maxBars = 8
	// barDelay is how long a scan takes before bars are shown: a warm one is over
	// before, and nothing flickers.
	barDelay = 200 * time.Millisecond
	// smallLayer and shortLayer are what a layer must reach, one of them, to get a
	// line of its own where there are no bars: images of hundreds of layers must
	// not flood a log.
	smallLayer = 1_000_000
	shortLayer = time.Second
)

// A progress tells on standard error how the layers of an image are read: by
// bars on a terminal, by lines where there is none, not at all when quiet. It
// implements scan.Observer.
type progress struct {
	now   func() time.Time
	start time.Time
	// lines is where lines go when there are no bars; nil for nowhere.
	lines io.Writer
	bars  *bars // nil when there are none

	// bytes, done, known and failed count what the layers together made.
	bytes               atomic.Int64
	done, known, failed atomic.Int64

	mu      sync.RWMutex
	reading map[layerKey]*layerProgress
	ended   bool
}

// A layerKey tells layers apart while they are read, also those of several
// images. Blobs that don't yet know which layer they are may share one.
type layerKey struct {
	index  int
	diffID image.DiffID
	digest image.Digest
}

func keyOf(l image.Layer) layerKey { return layerKey{l.Index, l.DiffID, l.Digest} }

// A layerProgress is a layer being read.
type layerProgress struct {
	layer image.Layer
	start time.Time
	bytes atomic.Int64
	// readers is how many blobs share the key.
	readers int
}

// newProgress is that of a command. Quiet tells nothing. It must be closed.
func newProgress(a *app, quiet bool) *progress {
	p := &progress{now: a.now, start: a.now(), reading: map[layerKey]*layerProgress{}}
	switch {
	case quiet:
	case isTerminal(a.stderr) && a.env("TERM") != "dumb":
		p.bars = newBars(p, a.stderr, 0)
	default:
		p.lines = a.stderr
	}
	return p
}

// LayerStarted implements scan.Observer.
func (p *progress) LayerStarted(l image.Layer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lp := p.reading[keyOf(l)]
	if lp == nil {
		lp = &layerProgress{layer: l, start: p.now()}
		p.reading[keyOf(l)] = lp
	}
	lp.readers++
}

// LayerCached implements scan.Observer.
func (p *progress) LayerCached(image.Layer) { p.known.Add(1) }

// LayerRead implements scan.Observer. It is called for every few kilobytes.
func (p *progress) LayerRead(l image.Layer, n int64) {
	p.bytes.Add(n)
	p.mu.RLock()
	lp := p.reading[keyOf(l)]
	p.mu.RUnlock()
	if lp != nil {
		lp.bytes.Add(n)
	}
}

// LayerDone implements scan.Observer. What went wrong is for the report to tell.
func (p *progress) LayerDone(l image.Layer, err error) {
	if err != nil {
		p.failed.Add(1)
	} else {
		p.done.Add(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lp := p.reading[keyOf(l)]
	if lp == nil {
		return
	}
	if lp.readers--; lp.readers == 0 {
		delete(p.reading, keyOf(l))
	}
	if p.lines != nil && !p.ended {
		p.doneLine(l, lp, err)
	}
}

// doneLine tells of a layer that was read, or that could not be.
func (p *progress) doneLine(l image.Layer, lp *layerProgress, err error) {
	n, took := lp.bytes.Load(), p.now().Sub(lp.start)
	if err == nil && n < smallLayer && took < shortLayer {
		return
	}
	verb := "read"
	if err != nil {
		verb = "failed after"
	}
	line := fmt.Sprintf("layer %s %s %s in %s%s  %s", layerName(l), verb, report.Size(n), duration(took), speed(n, took), instruction(l, 60))
	fmt.Fprintln(p.lines, strings.TrimRight(line, " "))
}

// Close ends the bars and leaves nothing of them; where there are none, it sums
// up in a line. Calls after the first, or after Abort, do nothing.
func (p *progress) Close() {
	if !p.end() || p.lines == nil {
		return
	}
	done, known, failed := p.done.Load(), p.known.Load(), p.failed.Load()
	if done+known+failed == 0 {
		return
	}
	if done+failed == 0 {
		fmt.Fprintf(p.lines, "layers: all %d known\n", known)
		return
	}
	took := p.now().Sub(p.start)
	fmt.Fprintf(p.lines, "layers: %s, %s in %s%s\n", p.tally(), report.Size(p.bytes.Load()), duration(took), speed(p.bytes.Load(), took))
}

// Abort ends as Close does, without a word: the scan was broken off.
func (p *progress) Abort() { p.end() }

// end tells whether this call was the one that ended the progress.
func (p *progress) end() bool {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if !ended && p.bars != nil {
		p.bars.close()
	}
	return !ended
}

// tally is "3 read, 2 known, 1 failed".
func (p *progress) tally() string {
	parts := []string{fmt.Sprintf("%d read", p.done.Load())}
	if n := p.known.Load(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d known", n))
	}
	if n := p.failed.Load(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n))
	}
	return strings.Join(parts, ", ")
}

// atWork are the layers being read, those that began first in front.
func (p *progress) atWork() []*layerProgress {
	p.mu.RLock()
	defer p.mu.RUnlock()
	layers := make([]*layerProgress, 0, len(p.reading))
	for _, lp := range p.reading {
		layers = append(layers, lp)
	}
	slices.SortFunc(layers, func(a, b *layerProgress) int {
		return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.layer.Index, b.layer.Index))
	})
	return layers
}

// headline is the first row of the bars: what all layers together came to.
func (p *progress) headline(columns int) string {
	took := p.now().Sub(p.start)
	s := fmt.Sprintf("Layers: %s · %s%s", p.tally(), report.Size(p.bytes.Load()), speed(p.bytes.Load(), took))
	if more := len(p.atWork()) - maxBars; more > 0 {
		s += fmt.Sprintf(" · %d more at work", more)
	}
	return runewidth.Truncate(s, columns, "…")
}

// row is that of a layer being read: its number, a bar, what was read of how
// much, how fast, and the instruction that made it.
func (p *progress) row(lp *layerProgress, columns int) string {
	n := lp.bytes.Load()
	size := report.Size(n)
	if lp.layer.Size > 0 {
		size += " / " + report.Size(lp.layer.Size)
	}
	width := min(max(columns/5, 8), 30)
	s := fmt.Sprintf("%4s  %s  %-17s %-11s  ", layerName(lp.layer), fraction(n, lp.layer.Size, width), size,
		strings.TrimPrefix(speed(n, p.now().Sub(lp.start)), ", "))
	return strings.TrimRight(runewidth.Truncate(s+instruction(lp.layer, columns), columns, "…"), " ")
}

// fraction is a bar of so many columns; a dotted one where the whole is not known.
func fraction(n, of int64, columns int) string {
	if of <= 0 {
		return strings.Repeat("·", columns)
	}
	full := int(float64(min(n, of)) / float64(of) * float64(columns))
	return strings.Repeat("█", full) + strings.Repeat("░", columns-full)
}

func layerName(l image.Layer) string {
	if l.Index == image.Unidentified {
		return "?"
	}
	return fmt.Sprint(l.Index)
}

func instruction(l image.Layer, columns int) string {
	return runewidth.Truncate(report.Safe(report.Instruction(l.CreatedBy)), columns, "…")
}

// speed is ", 120 MB/s"; empty over times too short to tell.
func speed(n int64, took time.Duration) string {
	if took < 10*time.Millisecond || n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s/s", report.Size(int64(float64(n)/took.Seconds())))
}

func duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// bars are the rows of a progress on a terminal, drawn several times a second.
type bars struct {
	container *mpb.Progress
	bar       *mpb.Bar
	show      *time.Timer
	console   *console // nil where nobody shares standard error
}

// newBars draws p on w, which is a terminal; columns is for tests, whose
// terminals don't know their width.
func newBars(p *progress, w io.Writer, columns int) *bars {
	b := &bars{}
	if c, ok := w.(*console); ok {
		b.console, w = c, c.Writer
	}
	shown := make(chan struct{})
	b.container = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(columns), mpb.WithRenderDelay(shown))
	// One bar with a row for each layer, rather than a bar for each: hundreds of
	// layers come and go, and there is one thing to end.
	b.bar = b.container.MustAdd(0,
		mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
			_, err := io.WriteString(w, p.headline(stat.AvailableWidth-1))
			return err
		}),
		mpb.BarFillerTrim(),
		mpb.BarExtender(mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
			layers := p.atWork()
			for _, lp := range layers[:min(len(layers), maxBars)] {
				if _, err := io.WriteString(w, p.row(lp, stat.AvailableWidth-1)+"\n"); err != nil {
					return err
				}
			}
			return nil
		}), false))
	b.show = time.AfterFunc(barDelay, func() {
		if b.console != nil {
			b.console.divert(b.container)
		}
		close(shown)
	})
	return b
}

// close takes the bars off the terminal.
func (b *bars) close() {
	b.show.Stop()
	if b.console != nil {
		b.console.divert(nil)
	}
	b.bar.Abort(true)
	b.container.Wait()
}
