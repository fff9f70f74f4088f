package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"strata/internal/policy"
	"strata/internal/server"
)

// settingsFile is looked for in the working directory, then in the user's
// configuration folder.
const settingsFile = "strata.yaml"

// trustKeys are settings that a file of the working folder, which may come with a
// checkout, must not make.
var trustKeys = []string{"server", "server-token"}

// A settingsText is a settings file as it is; without text there is none.
type settingsText struct {
	path string
	text []byte
}

// policyKeys are settings that are no flags: package policy reads them.
var policyKeys = []string{"rules", "policies"}

// isDeclared tells of the settings that say what a server is to have (declared.go).
func isDeclared(key string) bool { return slices.Contains(server.DeclaredKinds(), key) }

// applySettings gives the flags that the command line leaves open the values of
// the environment, or else of the settings file, and puts those that concern the
// whole program into effect.
func (a *app) applySettings(cmd *cobra.Command) error {
	given := map[string]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
	if err := a.applyEnvironment(cmd, given); err != nil {
		return err
	}
	file, err := a.applyFile(cmd, given)
	if err != nil {
		return err
	}
	verbose, quiet := flagOn(cmd, "verbose"), flagOn(cmd, "quiet")
	switch {
	case verbose && quiet:
		return errors.New("--verbose and --quiet exclude each other")
	case verbose:
		a.logAt(slog.LevelDebug)
	case quiet:
		a.quiet = true
		a.logAt(slog.LevelError)
	}
	if file != "" && cmd.Flag("config").Value.String() == "" {
		// It may come with a checkout that is not the user's own.
		a.say("settings of %s are in force", file)
	}
	if dir := cmd.Flag("cache-dir").Value.String(); dir != "" {
		env := a.env
		a.env = func(name string) string {
			if name == "STRATA_CACHE_DIR" {
				return dir
			}
			return env(name)
		}
	}
	return nil
}

func flagOn(cmd *cobra.Command, name string) bool {
	return cmd.Flag(name).Value.String() == "true"
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "STRATA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// isSetting tells flags that are settings from those that are questions:
// STRATA_VERSION, say, is what an installer's script may well have set.
func isSetting(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" }

// notFor tells of the flags that are settings of scan alone: format and output,
// which other commands have too, but with formats of their own.
func notFor(cmd *cobra.Command, f *pflag.Flag) bool {
	return (f.Name == "format" || f.Name == "output") && cmd.Name() != "scan"
}

// opposites are flags that exclude each other: the one that is given also overrules
// the other one of a place with less say.
var opposites = map[string]string{"enforce": "warn", "warn": "enforce", "verbose": "quiet", "quiet": "verbose"}

func overruled(given map[string]bool, name string) bool { return given[name] || given[opposites[name]] }

func (a *app) applyEnvironment(cmd *cobra.Command, given map[string]bool) (err error) {
	onCommandLine := maps.Clone(given)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if overruled(onCommandLine, f.Name) || err != nil || !isSetting(f) || notFor(cmd, f) {
			return
		}
		value := a.env(envName(f.Name))
		if value == "" {
			return
		}
		given[f.Name] = true
		for _, v := range environmentValues(f, value) {
			if e := f.Value.Set(v); e != nil {
				err = fmt.Errorf("%s=%s: %w", envName(f.Name), value, wrongValue(f, e))
				return
			}
		}
	})
	return err
}

// environmentValues are those of a variable: of a flag that may be given several
// times, several, by commas or one a line. Classes of licences have commas of their own.
func environmentValues(f *pflag.Flag, value string) []string {
	if f.Value.Type() != "stringArray" {
		return []string{value}
	}
	var values []string
	for _, v := range strings.FieldsFunc(value, func(r rune) bool {
		return r == '\n' || r == '\r' || r == ',' && f.Name != "license-class"
	}) {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}

func (a *app) applyFile(cmd *cobra.Command, given map[string]bool) (string, error) {
	path, b, err := a.readSettings(cmd.Flag("config").Value.String())
	if err != nil || b == nil {
		return "", err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return "", nil
	}
	settings := doc.Content[0]
	if settings.Kind != yaml.MappingNode {
		return "", fmt.Errorf("%s:%d: want settings as `name: value`, one a line", path, settings.Line)
	}
	a.settings = settingsText{path, b}
	known := allFlags(cmd.Root())
	lines := map[string]int{}
	for i := 0; i+1 < len(settings.Content); i += 2 {
		key, value := settings.Content[i], settings.Content[i+1]
		if slices.Contains(policyKeys, key.Value) || isDeclared(key.Value) {
			continue
		}
		if !known[key.Value] {
			return "", fmt.Errorf("%s:%d: no setting is called %q; they have the names of the flags, and `strata init` writes a file with each", path, key.Line, key.Value)
		}
		if lines[key.Value] > 0 {
			return "", fmt.Errorf("%s:%d: %s is set in line %d already", path, key.Line, key.Value, lines[key.Value])
		}
		lines[key.Value] = key.Line
		if path == settingsFile && cmd.Flag("config").Value.String() == "" && slices.Contains(trustKeys, key.Value) && value.Value != "" {
			return "", fmt.Errorf("%s:%d: %s is not taken from the working folder: a checkout must not say where the token goes; give it by %s", path, key.Line, key.Value, envName(key.Value))
		}
		f := cmd.Flags().Lookup(key.Value)
		if f == nil || overruled(given, f.Name) || notFor(cmd, f) {
			continue // of another command, or overruled
		}
		if err := setFrom(f, value); err != nil {
			return "", fmt.Errorf("%s:%d: %s: %w", path, value.Line, key.Value, err)
		}
	}
	return path, nil
}

func setFrom(f *pflag.Flag, value *yaml.Node) error {
	switch value.Kind {
	case yaml.ScalarNode:
		if err := f.Value.Set(value.Value); err != nil {
			return fmt.Errorf("%q: %w", value.Value, wrongValue(f, err))
		}
		return nil
	case yaml.SequenceNode:
		for _, v := range value.Content {
			if v.Kind != yaml.ScalarNode {
				return errors.New("want a list of plain values")
			}
			if err := f.Value.Set(v.Value); err != nil {
				return fmt.Errorf("%q: %w", v.Value, wrongValue(f, err))
			}
		}
		return nil
	}
	return errors.New("want a value or a list of values")
}

// allFlags are the names of all commands' flags.
func allFlags(root *cobra.Command) map[string]bool {
	names := map[string]bool{}
	note := func(f *pflag.Flag) { names[f.Name] = isSetting(f) && f.Name != "config" }
	root.PersistentFlags().VisitAll(note)
	for _, c := range root.Commands() {
		c.Flags().VisitAll(note)
		for _, sub := range c.Commands() {
			sub.Flags().VisitAll(note)
		}
	}
	return names
}

// readSettings reads the file that was asked for, or the first that is there.
func (a *app) readSettings(asked string) (string, []byte, error) {
	if asked != "" {
		b, err := readBounded(asked, policy.MaxFile)
		if err != nil {
			return "", nil, fmt.Errorf("--config: %w", err)
		}
		return asked, b, nil
	}
	places := []string{settingsFile}
	if dir := a.env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		places = append(places, filepath.Join(dir, "strata", settingsFile))
	} else if home := a.env("HOME"); home != "" {
		places = append(places, filepath.Join(home, ".config", "strata", settingsFile))
	}
	for _, p := range places {
		b, err := readBounded(p, policy.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		return p, b, nil
	}
	return "", nil, nil
}
