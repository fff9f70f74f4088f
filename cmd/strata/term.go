package main

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/term"
)

// isTerminal tells whether what is written to w is seen on a terminal.
func isTerminal(w io.Writer) bool {
	fd, ok := descriptor(w)
	return ok && term.IsTerminal(fd)
}

// terminalWidth is the width in columns of the terminal that w is; 0, which
// stands for the report's own default, where it is none or does not tell.
func terminalWidth(w io.Writer) int {
	fd, ok := descriptor(w)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return 0
	}
	return max(width, 0)
}

// descriptor is the file descriptor behind a writer.
func descriptor(w io.Writer) (int, bool) {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	return int(f.Fd()), true
}

// checkColor tells whether --color is what useColor knows.
func checkColor(mode string) error {
	if !slices.Contains([]string{"auto", "always", "never"}, mode) {
		return fmt.Errorf("--color %s: want auto, always or never", mode)
	}
	return nil
}

// useColor decides on colours for w: by --color when it is always or never, else
// by the environment, else by whether w is a terminal that can show them.
//
// NO_COLOR with any value turns them off (https://no-color.org), CLICOLOR_FORCE
// other than 0 on, and CLICOLOR=0 off (https://bixense.com/clicolors); NO_COLOR
// beats both.
func useColor(w io.Writer, mode string, env func(string) string) bool {
	switch mode {
	case "always":
		return true
	case "never":
		return false
	}
	switch {
	case env("NO_COLOR") != "":
		return false
	case env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0":
		return true
	case env("CLICOLOR") == "0", env("TERM") == "dumb":
		return false
	}
	return isTerminal(w)
}

// A console is standard error shared by the log and by progress bars: while bars
// are shown, what is written goes above them.
type console struct {
	io.Writer

	mu    sync.Mutex
	above io.Writer // nil while no bars are shown
}

// newConsole shares w.
func newConsole(w io.Writer) *console { return &console{Writer: w} }

// Write implements io.Writer. Writers of whole lines come out whole.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.above != nil {
		if n, err := c.above.Write(p); err == nil {
			return n, nil
		}
	}
	return c.Writer.Write(p)
}

// Fd is the descriptor of the writer shared, an invalid one when it has none.
func (c *console) Fd() uintptr {
	if f, ok := c.Writer.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// divert sends what is written to w from now on; nil ends it.
func (c *console) divert(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.above = w
}
