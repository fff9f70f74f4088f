package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/internal/image"
	"strata/internal/scan"
)

var _ scan.Observer = (*progress)(nil)

// testProgress is a progress whose clock goes on by step with every look at it.
func testProgress(step time.Duration) *progress {
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var mu sync.Mutex
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(step)
		return clock
	}
	return &progress{now: now, start: now(), reading: map[layerKey]*layerProgress{}}
}

func testLayer(i int, size int64) image.Layer {
	return image.Layer{Index: i, DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", i)), Size: size, CreatedBy: fmt.Sprintf("RUN /bin/sh -c make step%d # buildkit", i)}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := testProgress(2 * time.Second)
	p.lines = &out

	big, evil := testLayer(3, 212_000_000), testLayer(4, 5)
	evil.CreatedBy = "RUN \x1b[2Jclear"
	p.LayerCached(testLayer(0, 10))
	p.LayerStarted(big)
	p.LayerRead(big, 200_000_000)
	p.LayerRead(big, 12_000_000)
	p.LayerDone(big, nil)
	p.LayerStarted(evil)
	p.LayerDone(evil, errors.New("bad gzip"))
	p.Close()
	p.Close()

	const want = `layer 3 read 212 MB in 2.0s, 106 MB/s  RUN make step3
layer 4 failed after 0 B in 2.0s  RUN \x1b[2Jclear
layers: 1 read, 1 known, 1 failed, 212 MB in 10.0s, 21 MB/s
`
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestProgressLinesDoNotFlood(t *testing.T) {
	var out bytes.Buffer
	p := testProgress(time.Microsecond)
	p.lines = &out
	for i := range 501 {
		l := testLayer(i, 100)
		p.LayerStarted(l)
		p.LayerRead(l, 100)
		p.LayerDone(l, nil)
	}
	p.Close()
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "501 read") {
		t.Errorf("want one line over 501 small layers, got\n%s", out.String())
	}
}

func TestProgressSaysNothing(t *testing.T) {
	tests := map[string]func() (*progress, *bytes.Buffer){
		"when quiet": func() (*progress, *bytes.Buffer) {
			var out bytes.Buffer
			return newProgress(&app{stderr: &out, now: time.Now, env: noEnv}, true), &out
		},
		"after an abort": func() (*progress, *bytes.Buffer) {
			var out bytes.Buffer
			p := newProgress(&app{stderr: &out, now: time.Now, env: noEnv}, false)
			p.Abort()
			return p, &out
		},
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			p, out := start()
			l := testLayer(0, 10_000_000)
			p.LayerStarted(l)
			p.LayerRead(l, 10_000_000)
			p.LayerDone(l, errors.New("no"))
			p.Close()
			if out.Len() > 0 {
				t.Errorf("said %q", out.String())
			}
		})
	}
	t.Run("when there is nothing to say", func(t *testing.T) {
		var out bytes.Buffer
		newProgress(&app{stderr: &out, now: time.Now, env: noEnv}, false).Close()
		if out.Len() > 0 {
			t.Errorf("said %q", out.String())
		}
	})
}

func noEnv(string) string { return "" }

// TestProgressUnidentified: two blobs that don't know which layer they are share
// a row until both are read.
func TestProgressUnidentified(t *testing.T) {
	p := testProgress(time.Millisecond)
	l := image.Layer{Index: image.Unidentified, Size: -1}
	p.LayerStarted(l)
	p.LayerStarted(l)
	p.LayerRead(l, 7)
	p.LayerDone(l, nil)
	if rows := p.atWork(); len(rows) != 1 || rows[0].bytes.Load() != 7 {
		t.Fatalf("after one of two: %d rows", len(rows))
	}
	if row := p.row(p.atWork()[0], 80); !strings.HasPrefix(row, "   ?  ····") || strings.Contains(row, "/ ") {
		t.Errorf("row %q", row)
	}
	p.LayerDone(l, nil)
	p.LayerDone(l, nil) // one too many
	if rows := p.atWork(); len(rows) != 0 {
		t.Errorf("after both: %d rows", len(rows))
	}
}

func TestProgressRow(t *testing.T) {
	p := testProgress(time.Second)
	l := testLayer(12, 200_000_000)
	p.LayerStarted(l)
	p.LayerRead(l, 50_000_000)
	lp := p.atWork()[0]
	p.now = func() time.Time { return lp.start.Add(2 * time.Second) }
	for columns, want := range map[int]string{
		100: "  12  █████░░░░░░░░░░░░░░░  50 MB / 200 MB    25 MB/s      RUN make step12",
		40:  "  12  ██░░░░░░  50 MB / 200 MB    25 MB…",
	} {
		if got := p.row(lp, columns); got != want {
			t.Errorf("at %d columns %q, want %q", columns, got, want)
		}
	}
}

// TestBars draws on a screen of our own and looks at it while layers are read and
// after the end.
func TestBars(t *testing.T) {
	for name, end := range map[string]func(*progress){"closed": (*progress).Close, "aborted": (*progress).Abort} {
		t.Run(name, func(t *testing.T) {
			s := &screen{}
			c := newConsole(s)
			p := testProgress(time.Millisecond)
			p.bars = newBars(p, c, 80)

			for i := range maxBars + 3 {
				l := testLayer(i, 1_000_000)
				p.LayerStarted(l)
				p.LayerRead(l, 500_000)
			}
			p.LayerCached(testLayer(90, 1))
			s.await(t, func(lines []string) bool {
				return len(lines) == 1+maxBars && strings.HasPrefix(lines[0], "Layers: 0 read, 1 known · 5.5 MB") && strings.HasSuffix(lines[0], "3 more at work")
			})
			if !strings.Contains(s.lines()[1], "500 kB / 1.0 MB") || !strings.Contains(s.lines()[1], "RUN make step0") {
				t.Errorf("row %q", s.lines()[1])
			}

			fmt.Fprintln(c, "a line of the log")
			for i := range maxBars + 3 {
				p.LayerDone(testLayer(i, 1_000_000), nil)
			}
			s.await(t, func(lines []string) bool {
				return len(lines) == 2 && lines[0] == "a line of the log" && strings.HasPrefix(lines[1], "Layers: 11 read, 1 known")
			})

			end(p)
			p.Close()
			fmt.Fprintln(c, "a line after the end")
			if got := s.lines(); len(got) != 2 || got[0] != "a line of the log" || got[1] != "a line after the end" {
				t.Errorf("left on the screen: %q", got)
			}
		})
	}
}

// TestBarsOfAShortScan: a scan that is over in no time shows nothing.
func TestBarsOfAShortScan(t *testing.T) {
	s := &screen{}
	p := testProgress(time.Millisecond)
	p.bars = newBars(p, s, 80)
	p.LayerCached(testLayer(0, 1))
	p.Close()
	if s.written > 0 {
		t.Errorf("%d bytes were written to the terminal", s.written)
	}
}

func TestProgressConcurrently(t *testing.T) {
	s := &screen{}
	p := testProgress(time.Microsecond)
	p.bars = newBars(p, s, 80)
	var wg sync.WaitGroup
	for i := range 501 {
		wg.Go(func() {
			l := testLayer(i, 1000)
			p.LayerStarted(l)
			for range 10 {
				p.LayerRead(l, 100)
			}
			p.LayerDone(l, nil)
		})
	}
	wg.Wait()
	if p.bytes.Load() != 501_000 || p.done.Load() != 501 || len(p.atWork()) != 0 {
		t.Errorf("%d bytes of %d layers, %d at work", p.bytes.Load(), p.done.Load(), len(p.atWork()))
	}
	p.Abort()
	if got := s.lines(); len(got) != 0 {
		t.Errorf("left on the screen: %q", got)
	}
}

func TestLayerReadIsCheap(t *testing.T) {
	p := testProgress(time.Microsecond)
	l := testLayer(0, 1<<40)
	p.LayerStarted(l)
	if n := testing.AllocsPerRun(1000, func() { p.LayerRead(l, 1) }); n > 0 {
		t.Errorf("LayerRead allocates %v times", n)
	}
}

func BenchmarkLayerRead(b *testing.B) {
	p := testProgress(time.Microsecond)
	l := testLayer(0, 1<<40)
	p.LayerStarted(l)
	for b.Loop() {
		p.LayerRead(l, 1)
	}
}

// A screen is a terminal that understands what progress bars need: new lines,
// going up, and clearing to the end.
type screen struct {
	mu      sync.Mutex
	rows    []string
	row     int
	written int
}

var escape = regexp.MustCompile("^\x1b\\[([0-9]*)([A-Z])")

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += len(p)
	text := string(p)
	for text != "" {
		switch text[0] {
		case '\n':
			s.at()
			s.row++
			text = text[1:]
		case '\x1b':
			m := escape.FindStringSubmatch(text)
			if m == nil {
				return 0, fmt.Errorf("escape sequence unknown to the test: %q", text[:min(len(text), 10)])
			}
			s.do(m[2], m[1])
			text = text[len(m[0]):]
		default:
			n := strings.IndexAny(text, "\n\x1b")
			if n < 0 {
				n = len(text)
			}
			*s.at() += text[:n]
			text = text[n:]
		}
	}
	return len(p), nil
}

func (s *screen) do(command, argument string) {
	n, _ := strconv.Atoi(argument)
	switch command {
	case "A":
		s.row = max(s.row-n, 0)
	case "J":
		s.rows = s.rows[:min(s.row, len(s.rows))]
	}
}

func (s *screen) at() *string {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, "")
	}
	return &s.rows[s.row]
}

// lines are what a person sees.
func (s *screen) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.FieldsFunc(strings.Join(s.rows, "\n"), func(c rune) bool { return c == '\n' })
}

// await waits until the screen looks as it should.
func (s *screen) await(t *testing.T, ok func([]string) bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok(s.lines()) {
		if time.Now().After(deadline) {
			t.Fatalf("the screen stays at\n%s", strings.Join(s.lines(), "\n"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestUseColor(t *testing.T) {
	tests := []struct {
		name, mode string
		env        map[string]string
		want       bool
	}{
		{"no terminal", "auto", nil, false},
		{"always", "always", map[string]string{"NO_COLOR": "1"}, true},
		{"never", "never", map[string]string{"CLICOLOR_FORCE": "1"}, false},
		{"forced", "auto", map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{"forced by no", "auto", map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"NO_COLOR beats CLICOLOR_FORCE", "auto", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := useColor(io.Discard, tt.mode, func(k string) string { return tt.env[k] }); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNoTerminal(t *testing.T) {
	for name, w := range map[string]io.Writer{"a buffer": &bytes.Buffer{}, "a console over a buffer": newConsole(&bytes.Buffer{})} {
		if isTerminal(w) || terminalWidth(w) != 0 {
			t.Errorf("%s is taken for a terminal", name)
		}
	}
}
