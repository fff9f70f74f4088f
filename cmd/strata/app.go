package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// An app is what commands have of the world around them, so that tests can run
// them in process.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// env looks an environment variable up; empty when it is not set.
	env func(string) string
	now func() time.Time
	log *slog.Logger
	// quiet keeps to results and errors.
	quiet bool
	// settings is the file that is in force; it may have policies too.
	settings settingsText
}

// say tells what is going on, on standard error.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// newApp is that of the process.
func newApp() *app {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: newConsole(os.Stderr), env: os.Getenv, now: time.Now}
	a.logAt(slog.LevelInfo)
	return a
}

// logAt makes the log tell what is of the level or graver.
func (a *app) logAt(level slog.Level) {
	a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
		if attr.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{} // whoever reads a command's log sees when it came
		}
		return attr
	}}))
}

// cacheDir is where the layers known and the advisories are kept:
// STRATA_CACHE_DIR, or strata in the user's cache folder (XDG Base Directory
// Specification).
func (a *app) cacheDir() (string, error) {
	if dir := a.env("STRATA_CACHE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := a.env("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "strata"), nil
	}
	if home := a.env("HOME"); home != "" {
		return filepath.Join(home, ".cache", "strata"), nil
	}
	return "", errors.New("no place for the cache: neither STRATA_CACHE_DIR, XDG_CACHE_HOME nor HOME is set; give --cache-dir")
}

// Exit codes, as in `strata --help`.
const (
	exitPass       = 0
	exitError      = 1
	exitViolated   = 2
	exitIncomplete = 3
)

// exitHelp explains the exit codes wherever a command has them.
const exitHelp = `Exit codes:
  0  passed
  1  error
  2  policy violated (--exit-code N replaces the 2)
  3  incomplete: a layer or the advisories could not be had
     (--allow-incomplete accepts it)`

// An exitCode ends the process with a code for which all there is to say has
// been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
