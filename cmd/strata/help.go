package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is what --help keeps to, also on wider terminals.
const helpWidth = 80

// groupOf is the annotation of a flag that names its group in --help.
const groupOf = "group"

// flagGroup adds flags that --help lists under a title of their own.
func flagGroup(to *pflag.FlagSet, title string, define func(*pflag.FlagSet)) {
	set := pflag.NewFlagSet(title, pflag.ContinueOnError)
	set.SortFlags = false
	define(set)
	set.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{groupOf: {title}} })
	to.AddFlagSet(set)
}

// usage writes how a command is called. It is cobra's own with the flags in
// groups, and within the width of a terminal.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	call := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		call = cmd.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&b, "Usage:\n  %s\n", call)
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", cmd.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	for _, group := range flagGroups(cmd.LocalFlags(), "Flags") {
		fmt.Fprintf(&b, "\n%s:\n%s", group.Name(), group.FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(&b, "\nFlags of every command:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n`%s COMMAND --help` tells more about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// newHelpCommand is cobra's own, save that an unknown command is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Tell how a command is used",
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // settings may be what help is needed with
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			asked.InitDefaultHelpFlag() // which cobra else does for the command it runs
			asked.InitDefaultVersionFlag()
			return asked.Help()
		},
	}
}

// flagGroups are the flags by the title of their group, in the order in which
// they were defined; those without one are the rest, and come last.
func flagGroups(flags *pflag.FlagSet, rest string) []*pflag.FlagSet {
	var groups []*pflag.FlagSet
	byTitle := map[string]*pflag.FlagSet{}
	group := func(title string) *pflag.FlagSet {
		if byTitle[title] == nil {
			byTitle[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			byTitle[title].SortFlags = false
			groups = append(groups, byTitle[title])
		}
		return byTitle[title]
	}
	loose := pflag.NewFlagSet(rest, pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if title := f.Annotations[groupOf]; title != nil {
			group(title[0]).AddFlag(f)
		} else {
			loose.AddFlag(f)
		}
	})
	if loose.HasAvailableFlags() {
		groups = append(groups, loose)
	}
	return groups
}

// wrongFlag says what is wrong on the command line, and where to look it up.
func wrongFlag(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return fmt.Errorf("--%s %s: %w", bad.GetFlag().Name, bad.GetValue(), wrongValue(bad.GetFlag(), bad.Unwrap()))
	}
	return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
}

// wrongValue says what a flag wants, where its parser says what Go's packages
// did not like.
func wrongValue(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "bool":
		return errors.New("want true or false")
	case "int":
		return errors.New("want a whole number")
	case "duration":
		return errors.New("want a duration such as 90s, 10m or 24h")
	}
	return err
}

// oneArgument accepts one argument, and names what it is else.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("want one %s and got %d; see `%s --help`", what, len(args), cmd.CommandPath())
		}
		return nil
	}
}
