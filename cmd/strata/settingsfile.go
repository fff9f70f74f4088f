package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settingsTemplate is a strata.yaml with every setting there is, commented out. It
// is made of the flags, so that it can't tell of others.
func settingsTemplate(root *cobra.Command) string {
	t := &settingsWriter{root: root, seen: map[string]bool{"config": true}}
	t.comment("Settings of Strata: each with what it does and its default. Take the # off those that you change. A flag beats " +
		"its environment variable (--fail-on is STRATA_FAIL_ON), which beats this file.")
	t.text.WriteByte('\n')
	commands := root.Commands()
	// Most are of scan; other commands share them.
	for _, c := range commands {
		if c.Name() == "scan" {
			t.command("", c)
		}
	}
	t.rules()
	t.group("Every command", root.PersistentFlags())
	for _, c := range commands {
		t.command("strata "+c.Name(), c)
		for _, sub := range c.Commands() {
			t.command("strata "+c.Name()+" "+sub.Name(), sub)
		}
	}
	return t.text.String()
}

// A settingsWriter writes each setting once.
type settingsWriter struct {
	root *cobra.Command
	text strings.Builder
	seen map[string]bool
}

func (t *settingsWriter) command(title string, c *cobra.Command) {
	if c.Hidden || c.Name() == "init" || c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
		return
	}
	own := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	own.SortFlags = false
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if t.root.PersistentFlags().Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	})
	for _, g := range flagGroups(own, "") {
		heading := g.Name()
		if title != "" {
			heading = strings.TrimSuffix(title+": "+heading, ": ")
		}
		t.group(heading, g)
	}
}

// rules is an example of a policy of one's own, which no flag has.
func (t *settingsWriter) rules() {
	t.text.WriteString("\n# ---- Rules of your own, beside those of --policy ----\n\n")
	t.comment("what a rule may look at, `strata policy fields` tells")
	for _, line := range []string{
		"rules:",
		"  - name: exploited",
		"    when: finding.kev && finding.fixable",
		"    action: fail",
		"    message: known to be exploited, and a newer version is rid of it",
	} {
		t.text.WriteString("#" + line + "\n")
	}
}

func (t *settingsWriter) group(title string, flags *pflag.FlagSet) {
	started := false
	flags.VisitAll(func(f *pflag.Flag) {
		if t.seen[f.Name] || f.Hidden || !isSetting(f) {
			return
		}
		t.seen[f.Name] = true
		if !started {
			fmt.Fprintf(&t.text, "\n# ---- %s ----\n", title)
			started = true
		}
		t.setting(f)
	})
}

func (t *settingsWriter) setting(f *pflag.Flag) {
	_, usage := pflag.UnquoteUsage(f)
	t.text.WriteByte('\n')
	t.comment(usage)
	fmt.Fprintf(&t.text, "#%s: %s\n", f.Name, settingDefault(f))
}

// settingDefault is the default in YAML.
func settingDefault(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return "[" + strings.Join(list.GetSlice(), ", ") + "]"
	}
	if f.DefValue == "" {
		return `""`
	}
	return f.DefValue
}

// comment writes a text as lines of comment, "# " before each.
func (t *settingsWriter) comment(text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > helpWidth && line != "#" {
			t.text.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	t.text.WriteString(line + "\n")
}
