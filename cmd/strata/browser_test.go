package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// accessibility finds what is wrong with a page for people: see there.
//
//go:embed testdata/accessibility.js
var accessibility string

// A browser is Debian's Chromium, with one page.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu      sync.Mutex
	console []string
}

// otherHost is a name of this machine for the browser, which is none of a loopback: it is told
// less by pages that have no TLS.
const otherHost = "strata.test"

// startBrowser starts one for a server.
func startBrowser(t *testing.T, base string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program(t, "chromium")))
	options = append(options, chromedp.Flag("host-resolver-rules", "MAP "+otherHost+" 127.0.0.1"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root has none of
	}
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocated)
	t.Cleanup(end)
	b := &browser{t: t, ctx: ctx, base: base}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "debug" { // advice of the browser's
				continue
			}
			b.mu.Lock()
			b.console = append(b.console, fmt.Sprintf("%s: %s", m.Type, m.Text))
			b.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		for _, m := range b.takeConsole() {
			t.Errorf("the console says: %s", m)
		}
	})
	return b
}

func (b *browser) takeConsole() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.console
	b.console = nil
	return out
}

// do lets the browser do something, for a while at most.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\nthe page at %s says:\n%.3000s", what, err, b.address(), b.text())
	}
}

// open goes to a page of the server.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.base+path))
}

// click clicks what has a name as people see it: a link, a button, a summary.
func (b *browser) click(name string) {
	b.t.Helper()
	b.do("click "+name, chromedp.Click(fmt.Sprintf(`//*[self::a or self::button or self::summary][normalize-space(.)=%q or @aria-label=%q]`, name, name)))
}

// fill writes into the field with a label.
func (b *browser) fill(label, text string) {
	b.t.Helper()
	field := fmt.Sprintf(`//label[starts-with(normalize-space(.), %q)]//*[self::input or self::textarea or self::select]`, label)
	b.do("fill in "+label, chromedp.SetValue(field, text))
}

// tick ticks the box whose label begins with a name.
func (b *browser) tick(name string) {
	b.t.Helper()
	b.do("tick "+name, chromedp.Click(fmt.Sprintf(`//label[starts-with(normalize-space(.), %q)]//input[@type="checkbox"]`, name)))
}

// sees waits until the page says something.
func (b *browser) sees(text string) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(b.text(), text) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page at %s does not say %q, but:\n%.3000s", b.address(), text, b.text())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// text is what people can read on the page.
func (b *browser) text() string { return evaluate[string](b, `document.body?.innerText ?? ""`) }

// address is where the browser is, without the server.
func (b *browser) address() string {
	return strings.TrimPrefix(evaluate[string](b, `location.href`), b.base)
}

func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.80s: %v", script, err)
	}
	return v
}

// A look is how a page is shown.
type look struct {
	name          string
	width, height int64
	dark          bool
}

func looks() []look {
	return []look{{"light", 1400, 900, false}, {"dark", 1400, 900, true}, {"phone", 390, 844, false}}
}

// look shows the page that is open in one way, and finds what is wrong with it. Where
// STRATA_UI_SCREENSHOTS names a folder, a picture of it is left there.
func (b *browser) look(path string, l look) {
	b.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	b.do("look", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		return t.Call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
	}), chromedp.EmulateViewport(l.width, l.height))
	for _, w := range evaluate[[]string](b, accessibility) {
		b.t.Errorf("%s (%s): %s", path, l.name, w)
	}
	for _, m := range b.takeConsole() {
		b.t.Errorf("%s (%s): the console says: %s", path, l.name, m)
	}
	dir := os.Getenv("STRATA_UI_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		name := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(path, "-"), "-")
		name = name[:min(len(name), 80)]
		err = os.WriteFile(filepath.Join(dir, name+"."+l.name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
