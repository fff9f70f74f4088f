// Command strata scans container images, layer by layer. It alone reads flags,
// environment and configuration files, prints, and ends the process; what it
// does is in the packages below internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"strata/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the process at once
	}()
	// A reader that goes away is an error of writing like others, so that what is
	// to be cleaned up is cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(ctx, newApp(), os.Args[1:]))
}

// run runs the command line and returns the exit code. Every error is printed
// here, and nowhere else.
func run(ctx context.Context, a *app, args []string) int {
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, syscall.EPIPE): // there is no one to tell
		return exitError
	case ctx.Err() != nil: // whatever it broke off, and whatever that said of it
		fmt.Fprintln(a.stderr, "strata: interrupted")
		return exitError
	}
	fmt.Fprintf(a.stderr, "strata: %s\n", message(err))
	return exitError
}

// message is an error in lines fit for a terminal: errors may quote images.
func message(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, report.Safe(line))
		}
	}
	return strings.Join(lines, "\n  ")
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "strata",
		Short: "See what is in every layer of a container image, what is wrong with it, and what fixes it",
		Long: `Strata scans container images layer by layer: the packages that each layer
brings, also those that later layers shadow or remove, and the vulnerabilities
in them, with the layer and the instruction that brought them.

` + exitHelp + `

Every flag can also be set by an environment variable STRATA_FLAG_NAME, or in
strata.yaml (in the working directory, or else in ~/.config/strata) by its name:
--fail-on high is STRATA_FAIL_ON=high, or the line "fail-on: high". A flag beats
the environment, which beats the file. What may be given several times is
separated by commas or line ends in a variable, and a list in the file.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.applySettings(cmd)
		},
	}
	root.PersistentFlags().String("config", "", "settings `FILE` (default strata.yaml, where there is one)")
	root.PersistentFlags().BoolP("verbose", "v", false, "tell more on standard error")
	root.PersistentFlags().BoolP("quiet", "q", false, "tell nothing but results and errors")
	root.PersistentFlags().String("cache-dir", "", "`FOLDER` of the advisories and of what is known of layers (default strata in the user's cache folder)")
	root.SetVersionTemplate("strata {{.Version}}\n")
	root.AddCommand(newScanCommand(a), newPolicyCommand(a), newVEXCommand(a), newSBOMCommand(a), newLicensesCommand(a), newDBCommand(a), newFixCommand(a), newImpactCommand(a), newDemoCommand(a), newInitCommand(a), newServeCommand(a), newHealthCommand(a), newAdminCommand(a))
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetUsageFunc(usage)
	root.SetHelpCommand(newHelpCommand())
	root.SetFlagErrorFunc(wrongFlag)
	return root
}

// version is that of the module, or of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
