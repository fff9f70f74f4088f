package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"strata/internal/policy"
	"strata/internal/report"
)

func newPolicyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "List, show, check and try policies",
		Long: `A policy is a set of rules, each with a condition over findings, packages,
licences, layers or the image, and what it does: fail, warn or ignore. Some come
with the program; your own are YAML files, or stand in strata.yaml.
docs/policy.md has the guide.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyListCommand(a), newPolicyShowCommand(a), newPolicyCheckCommand(a), newPolicyFieldsCommand(a), newPolicyTryCommand(a))
	return cmd
}

func newPolicyListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the policies that come with the program, and those of strata.yaml",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			loader, err := policy.NewLoader()
			if err != nil {
				return err
			}
			policies, err := loader.Settings(a.settings.path, a.settings.text)
			if err != nil {
				return err
			}
			for _, name := range policy.ReadyNames() {
				p, err := loader.Ready(name)
				if err != nil {
					return err
				}
				policies = append(policies, p)
			}
			return a.listPolicies(policies)
		},
	}
}

func (a *app) listPolicies(policies []policy.Policy) error {
	for i, p := range policies {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintf(a.stdout, "%s  %s\n", report.Safe(p.Name), counted(len(p.Rules), "rule"))
		for _, line := range wrap(report.Safe(p.Description), helpWidth-2) {
			fmt.Fprintf(a.stdout, "  %s\n", line)
		}
	}
	return nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// wrap breaks a text into lines of at most so many characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func newPolicyShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Print a policy that comes with the program, to begin one's own with",
		Example: "  strata policy show strict > my-policy.yaml",
		Args:    oneArgument("name"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := policy.ReadyText(args[0])
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}

func newPolicyCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE...]",
		Short:   "Check policy files, or those of strata.yaml",
		Example: "  strata policy check policies/*.yaml strata.yaml",
		RunE: func(_ *cobra.Command, args []string) error {
			loader, err := policy.NewLoader()
			if err != nil {
				return err
			}
			if len(args) == 0 && a.settings.path == "" {
				return errors.New("no strata.yaml is in force here: name the FILE to check")
			}
			if len(args) == 0 {
				args = []string{a.settings.path}
			}
			var errs []error
			for _, path := range args {
				policies, err := checkPolicies(loader, path, path == a.settings.path || filepath.Base(path) == settingsFile)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				for _, p := range policies {
					fmt.Fprintf(a.stdout, "%s: %s, %s\n", report.Safe(path), report.Safe(p.Name), counted(len(p.Rules), "rule"))
				}
			}
			return errors.Join(errs...)
		},
	}
}

func checkPolicies(loader *policy.Loader, path string, settings bool) ([]policy.Policy, error) {
	text, err := readBounded(path, policy.MaxFile)
	if err != nil {
		return nil, err
	}
	if settings {
		policies, err := loader.Settings(path, text)
		if err == nil && len(policies) == 0 {
			err = fmt.Errorf("%s: has neither rules nor policies", path)
		}
		return policies, err
	}
	return loader.Load(path, text)
}

func newPolicyFieldsCommand(a *app) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "fields [VARIABLE]",
		Short: "List what rules can read: the fields of finding, package, license, layer and image",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if markdown {
				_, err := fmt.Fprint(a.stdout, policy.FieldsMarkdown())
				return err
			}
			return a.listFields(args)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as Markdown, which docs/policy.md has")
	return cmd
}

func (a *app) listFields(only []string) error {
	var names []string
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range policy.Fields() {
		if !slices.Contains(names, f.Of) {
			names = append(names, f.Of)
		}
		if len(only) == 0 || only[0] == f.Of {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.Type, f.Doc)
		}
	}
	if len(only) > 0 && !slices.Contains(names, only[0]) {
		return fmt.Errorf("no variable is called %q; there are %s", only[0], strings.Join(names, ", "))
	}
	return w.Flush()
}

// newPolicyTryCommand makes the command that decides anew over a saved report, or over
// the images of a server.
func newPolicyTryCommand(a *app) *cobra.Command {
	o := &tryOptions{}
	cmd := &cobra.Command{
		Use:   "try [flags] [REPORT.json]",
		Short: "Decide anew over a saved report, or over the images of a server",
		Example: `  strata scan -f json=report.json app:1.2
  strata policy try --policy strict report.json
  strata policy try --policy shop.yaml --server https://strata.example`,
		Long: `Decide anew over a report that strata scan -f json wrote, as a scan with these
flags would. What waivers and VEX had set aside stays so; what rules of a policy
had ignored is asked for again.

Without a report, try one policy on the images of a server (--server), before it
is saved there: how many it would fail, and which verdicts of the server would
change. The waivers and VEX documents of the server count, not those of this
folder. Nothing is kept, and the exit code is 0 whatever is decided.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.tryPolicies(args[0], &o.scanOptions)
			}
			for _, name := range []string{"fail-on", "baseline", "waivers", "vex", "ignore-file"} {
				if cmd.Flags().Changed(name) {
					return fmt.Errorf("--%s goes with a report, not with --server", name)
				}
			}
			return a.tryOnServer(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Report", o.reportFlags)
	o.policyOptions.flags(f)
	flagGroup(f, "Server", o.serverFlags)
	return cmd
}

func (a *app) tryPolicies(path string, o *scanOptions) error {
	o.started = a.now()
	outputs, err := o.checkReport()
	if err != nil {
		return err
	}
	decider, err := a.decider(&o.policyOptions)
	if err != nil {
		return err
	}
	r, err := readReport(path)
	if err != nil {
		return err
	}
	if r.Filtered != nil {
		return errFiltered(path)
	}
	r.Undecided()
	if err := readBaseline(decider, o.baseline, nil); err != nil {
		return err
	}
	if err := a.decide(decider, r); err != nil {
		return err
	}
	reports := []*report.Report{r}
	if err := a.write(outputs, reports, o); err != nil {
		return err
	}
	return o.result(reports)
}

// readReport reads a report that -f json wrote.
func readReport(path string) (*report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
